"""ImageNet weights: the usual starting point, from a file or a local hub cache; never downloaded,
never silently random."""

from __future__ import annotations

from backbones.imagenet.files import check_settings, find_weights
from backbones.imagenet.settings import ImageNetSettings
from backbones.shared.encoders.architectures import architecture_name
from bench.contracts import Backbone, BackboneRequest, backbone, images_only


@backbone(
    "imagenet",
    title="Supervised on ImageNet",
    architecture=architecture_name,
    licence="that of the weights file (timm's: Apache-2.0)",
    citation="Wightman, PyTorch image models, 2019",
    source="https://github.com/huggingface/pytorch-image-models",
    weights_file=find_weights,
    check=check_settings,
    settings_type=ImageNetSettings,
    why_no_text=images_only,
)
def build(request: BackboneRequest) -> Backbone:
    """Return an encoder with ImageNet weights (`backbone.weights=PATH`, or timm's from a local
    Hugging Face cache)."""
    from backbones.imagenet.model import load

    return load(request)
