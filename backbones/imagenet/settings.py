"""Settings of the encoder with ImageNet weights, `--set backbone.key=value`. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.settings import CheckedSettings


@dataclass(frozen=True)
class ImageNetSettings(CheckedSettings):
    """Which weights are read."""

    weights: str = ""
    """A local weights file of the architecture under timm's names; nothing: timm's weights in the
    local Hugging Face cache."""
