"""A tiny network of every method."""

from __future__ import annotations

from backbones.shared.pretraining.vision_language import VisionLanguageMethod
from tests.support.methods import build
from tests.support.pairs import (
    PLACE_TINY,
    TINY,
)


def tiny(method: str, architecture: str = "resnet", **changes: str) -> VisionLanguageMethod:
    return build(method, architecture, **(PLACE_TINY if method == "place" else TINY), **changes)
