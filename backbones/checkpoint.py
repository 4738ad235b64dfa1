"""Checkpoints, where plug-ins import them from."""

from backbones.shared.pretraining.checkpoint import (
    T,
    load_method,
    method_class,
    read_card,
    save_method,
)

__all__ = [
    "T",
    "load_method",
    "method_class",
    "read_card",
    "save_method",
]
