"""`file:PATH?arch=NAME`: any weights file of a timm architecture."""

from __future__ import annotations

from pathlib import Path

from backbones.external.encoder import ExternalBackbone, ExternalEncoder, apply_input
from backbones.external.settings import FileSettings, TimmSettings
from backbones.external.sources import architecture
from backbones.external.timm_models import (
    TimmMaps,
    create,
    input_spec,
    takes_one_size,
)
from bench.contracts import Backbone, BackboneRequest
from bench.core.errors import SettingError
from bench.core.settings import override


def build(rest: str, request: BackboneRequest) -> Backbone:
    """Return the encoder in a file; raise CheckpointError where the file does not fill the
    architecture."""
    settings = override(FileSettings(), request.settings)
    if not settings.arch:
        raise SettingError(
            f"file:{rest} does not say its architecture.",
            f"Write file:{rest}?arch=vit_base_patch16_224.",
        )
    timm_settings = TimmSettings(size=settings.size, key=settings.key, prefix=settings.prefix)
    model, coverage = create(settings.arch, timm_settings, Path(rest).expanduser(), request.seed)
    spec = apply_input(input_spec(model), settings)
    architecture_name = architecture("file", rest, request)
    encoder = ExternalEncoder(
        architecture_name, TimmMaps(model, settings.pool), spec, fixed_size=takes_one_size(model)
    )
    return ExternalBackbone(f"file:{rest}", encoder, coverage)
