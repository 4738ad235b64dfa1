"""Checks of a BackboneRequest shared by the builders."""

from __future__ import annotations

from bench.contracts import BackboneRequest
from bench.core.errors import SettingError


def no_settings(name: str, request: BackboneRequest) -> None:
    """Raise SettingError where a backbone that has no settings is given one."""
    if request.settings:
        raise SettingError(
            f"backbone '{name}' has no setting '{sorted(request.settings)[0]}'.",
            "Leave --set backbone.* out.",
        )
