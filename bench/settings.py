"""Frozen settings with typed `key=value` overrides."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from bench.errors import SettingError
from bench.registry import suggest

S = TypeVar("S")


def parse_pairs(pairs: Sequence[str], form: str = "--set key=value") -> dict[str, str]:
    """Parse `["lr=1e-3", "seed=2"]` into a dict; raise SettingError on a word without '='."""
    parsed = {}
    for pair in pairs:
        key, sep, value = pair.partition("=")
        if not sep or not key.strip():
            raise SettingError(f"'{pair}' is not of the form key=value.", f"Write {form}.")
        parsed[key.strip()] = value.strip()
    return parsed


def override(settings: S, changes: Mapping[str, Any]) -> S:
    """Return `settings` with `changes`; strings are parsed by the field's type, unknown keys
    refused."""
    hints = typing.get_type_hints(type(settings))
    known = {field.name for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    parsed = {}
    for key, value in changes.items():
        if key not in known:
            raise SettingError(
                f"unknown setting '{key}' of {type(settings).__name__}.", suggest(key, known)
            )
        parsed[key] = _parse(key, value, hints[key]) if isinstance(value, str) else value
    return dataclasses.replace(settings, **parsed)  # type: ignore[type-var]


def _parse(key: str, text: str, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if text.lower() in ("none", "") and type(None) in arguments:
            return None
        return _parse(key, text, next(a for a in arguments if a is not type(None)))
    if origin is typing.Literal:
        return _choice(key, text, arguments)
    if origin is tuple:
        return tuple(
            _parse(key, part.strip(), arguments[0]) for part in text.split(",") if part.strip()
        )
    if hint is bool:
        return _boolean(key, text)
    try:
        return hint(text)
    except (TypeError, ValueError) as error:
        raise SettingError(f"setting '{key}' wants {hint.__name__}, found '{text}'.") from error


def _choice(key: str, text: str, options: tuple[Any, ...]) -> Any:
    for option in options:
        if str(option) == text:
            return option
    raise SettingError(
        f"setting '{key}' is '{text}'.", f"Choose one of {', '.join(map(str, options))}."
    )


def _boolean(key: str, text: str) -> bool:
    words = {
        "true": True,
        "1": True,
        "yes": True,
        "on": True,
        "false": False,
        "0": False,
        "no": False,
        "off": False,
    }
    if text.lower() not in words:
        raise SettingError(f"setting '{key}' wants true or false, found '{text}'.")
    return words[text.lower()]


def parse_list(text: str, kind: Callable[[str], S], option: str) -> tuple[S, ...]:
    """Parse `0.1,1.0` into a tuple without repeats; raise SettingError naming the option on a word
    of another type."""
    try:
        return tuple(dict.fromkeys(kind(part.strip()) for part in text.split(",") if part.strip()))
    except ValueError as error:
        raise SettingError(
            f"{option} '{text}' is not a comma-separated list: {error}.",
            f"Write e.g. {option} a,b.",
        ) from error
