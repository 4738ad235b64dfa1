"""Build a method's network."""

from __future__ import annotations

from backbones.shared.pretraining.declare import method_settings
from backbones.shared.pretraining.trainer import build_method
from backbones.shared.pretraining.vision_language import (
    VisionLanguageMethod,
)
from tests.support.pairs import recipe

TEXTS = [
    "No pneumothorax. There is a small pleural effusion!",
    "Nodule.",
    "There is a 1.5 cm nodule in the right lung.",
]


def build(name: str, architecture: str = "resnet", **changes: str) -> VisionLanguageMethod:
    own = recipe(name, architecture=architecture, **changes)
    settings = method_settings(name, "demo", own.settings)
    return build_method(own, settings, TEXTS * 3)
