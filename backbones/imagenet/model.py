"""An encoder with ImageNet weights."""

from __future__ import annotations

from dataclasses import replace

from backbones.imagenet.files import require_weights
from backbones.shared.encoders.architectures import requested_architecture
from backbones.shared.encoders.base import LoadedBackbone
from backbones.shared.encoders.image import build_encoder
from backbones.shared.weights.coverage import fill
from backbones.shared.weights.reading import read_weights, state_dict_of
from bench.contracts import BackboneRequest

_RESNET_MEAN = (0.485, 0.456, 0.406)
_RESNET_STD = (0.229, 0.224, 0.225)
"""ImageNet statistics, which timm's ResNets were trained with; its ViTs were trained with 0.5."""


def load(request: BackboneRequest) -> LoadedBackbone:
    """Return the encoder with its weights; raise where the file is missing or lacks one of them."""
    architecture = requested_architecture(request)
    if architecture.family == "resnet":
        architecture = replace(
            architecture, input=replace(architecture.input, mean=_RESNET_MEAN, std=_RESNET_STD)
        )
    path = require_weights(request)
    encoder = build_encoder(architecture)
    loaded = LoadedBackbone("imagenet", encoder)
    loaded.coverage = fill(
        encoder.model,
        state_dict_of(read_weights(path), path),
        path,
        f"imagenet {architecture.name}",
    )
    return loaded
