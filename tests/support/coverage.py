"""How much of an encoder its file filled."""

from __future__ import annotations

from backbones.shared.encoders.base import LoadedBackbone
from bench.contracts import ImageEncoder


def filled(encoder: ImageEncoder) -> float:
    """Return the share of the weights that came from the file, which has to be known."""
    assert isinstance(encoder, LoadedBackbone) and encoder.coverage is not None
    return encoder.coverage.fraction
