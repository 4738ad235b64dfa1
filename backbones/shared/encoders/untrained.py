"""An encoder of random weights, for the rows that are never pre-trained."""

from __future__ import annotations

from backbones.shared.encoders.architectures import requested_architecture
from backbones.shared.pretraining.checks import no_settings
from bench.contracts import Backbone, BackboneRequest


def build_untrained(name: str, request: BackboneRequest) -> Backbone:
    """Return the encoder `name` of the requested architecture; its weights depend on the seed
    alone. Raise SettingError for a setting: it takes none."""
    from backbones.shared.encoders.base import LoadedBackbone
    from backbones.shared.encoders.image import build_encoder

    no_settings(name, request)
    return LoadedBackbone(name, build_encoder(requested_architecture(request), request.seed))
