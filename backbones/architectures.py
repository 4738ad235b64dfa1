"""Architectures, where plug-ins import them from."""

from backbones.shared.encoders.architectures import (
    ARCHITECTURES,
    Architecture,
    architecture_name,
    fixed_architecture,
    requested_architecture,
    resolve_architecture,
)

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "architecture_name",
    "fixed_architecture",
    "requested_architecture",
    "resolve_architecture",
]
