"""Checkpoints, where plug-ins import them from."""

from pathlib import Path
from typing import Any

from backbones.shared.pretraining.checkpoint import T, load_method, save_method
from backbones.shared.pretraining.declare import method_class
from bench.core.checkpoints import Checkpoint

__all__ = [
    "T",
    "load_method",
    "method_class",
    "read_card",
    "save_method",
]


def read_card(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the weights and the card of a checkpoint given as its folder or its weights file."""
    checkpoint = Checkpoint.open(path)
    return checkpoint.weights, dict(checkpoint.card)
