"""Settings of methods, where plug-ins import them from."""

from backbones.shared.pretraining.settings import (
    DEMO,
    MethodSettings,
    S,
    resolve_settings,
    settings_type_of,
)

__all__ = [
    "DEMO",
    "MethodSettings",
    "S",
    "resolve_settings",
    "settings_type_of",
]
