"""Settings of methods, where plug-ins import them from."""

from backbones.shared.pretraining.declare import method_spec
from backbones.shared.pretraining.settings import DEMO, MethodSettings, S, resolve_settings
from bench.contracts import BackboneSpec

__all__ = [
    "DEMO",
    "MethodSettings",
    "S",
    "resolve_settings",
    "settings_type_of",
]


def settings_type_of(spec: BackboneSpec) -> type[MethodSettings]:
    """Return the settings class that a method declares."""
    return method_spec(spec).settings
