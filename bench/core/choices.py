"""Settings whose value names a registered part, such as a decoder, that has settings of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bench.core.errors import SettingError
from bench.core.registry import Registry


def settings_of(
    setting: str, registry: Registry[Any], chosen: str, changes: Mapping[str, str]
) -> type[Any]:
    """Return the settings class of the part `chosen` of a registry whose parts have `settings`.

    Raise UnknownNameError where there is none of that name, and SettingError for one of `changes`
    that only other parts have, naming them.
    """
    settings: type[Any] = registry.get(chosen).settings
    names = _fields(settings)
    owners: dict[str, list[str]] = {}
    for name, part in registry.items():
        for key in _fields(part.settings) - names:
            owners.setdefault(key, []).append(name)
    foreign = [key for key in changes if key in owners]
    if foreign:
        key = foreign[0]
        others = " or ".join(f"{setting}={name}" for name in owners[key])
        raise SettingError(
            f"setting '{key}' is one of {others}, and {setting} is {chosen}.",
            f"Add {others}, or leave {key} out.",
        )
    return settings


def settings_beside(registry: Registry[Any], name: str) -> tuple[str, ...]:
    """Return the settings that a part has and not every part of its registry, in their order."""
    fields = [_fields(part.settings) for _, part in registry.items()]
    shared = set.intersection(*fields)
    settings = registry.get(name).settings
    return tuple(field.name for field in dataclasses.fields(settings) if field.name not in shared)


def _fields(settings: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(settings)}
