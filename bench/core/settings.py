"""Frozen settings: typed fields with ranges, and `key=value` overrides."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from weakref import WeakKeyDictionary

from bench.core.errors import SettingError, UnknownNameError
from bench.core.registry import suggest

S = TypeVar("S")
_SHOWN = 60
"""Characters of a wrong value that an error repeats."""


# ------------------------------------------------------------------------------------------- ranges
@dataclass(frozen=True)
class Range:
    """The numbers a setting may have, written beside its type: `lr: Annotated[float, Range(0, 1)]`.

    An end that is open is not allowed itself. A number that is not finite never is.
    """

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False
    multiple_of: int = 1

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below and (self.multiple_of == 1 or value % self.multiple_of == 0)

    def __str__(self) -> str:
        low = f"{'above' if self.low_open else 'at least'} {self.low:.12g}"
        high = f"{'below' if self.high_open else 'at most'} {self.high:.12g}"
        if self.multiple_of != 1:
            return f"{low}, {high} and a multiple of {self.multiple_of}"
        return f"{low} and {high}"


@dataclass(frozen=True)
class Length:
    """How many values a tuple may have: `Annotated[tuple[Width, ...], Length(1, 8)]`."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


Count = Annotated[int, Range(1, 1_000_000)]
"""A number of things of which there is at least one."""
Side = Annotated[int, Range(16, 4096)]
"""The side of a square image in pixels."""
Width = Annotated[int, Range(1, 65_536)]
"""Channels of a map or units of a layer."""
Layers = Annotated[int, Range(1, 128)]
"""Layers of a network."""
Rate = Annotated[float, Range(0, 10, low_open=True)]
"""A learning rate."""
Decay = Annotated[float, Range(0, 10)]
"""A weight decay."""
Norm = Annotated[float, Range(0, 1e6, low_open=True)]
"""The norm at which gradients are cut."""
Share = Annotated[float, Range(0, 1)]
"""A part of a whole, nothing and all of it included."""
Inside = Annotated[float, Range(0, 1, low_open=True, high_open=True)]
"""A part of a whole that is neither nothing nor all of it."""
Dropout = Annotated[float, Range(0, 1, high_open=True)]
"""The probability that a unit is dropped."""
Weight = Annotated[float, Range(0, 1e6)]
"""The weight of a part of a loss; 0 leaves it out."""
Scale = Annotated[float, Range(0, 1e6, low_open=True)]
"""A factor on scores, or a temperature that divides them."""
Betas = tuple[
    Annotated[float, Range(0, 1, high_open=True)], Annotated[float, Range(0, 1, high_open=True)]
]
"""Adam's two decay rates."""
Seed = Annotated[int, Range(0, 2**32 - 1)]
"""What random numbers are drawn from (numpy's global generator takes 32 bits)."""


class CheckedSettings:
    """Base of a settings dataclass: every field is checked against its type and range when one is
    made, whether by hand, by `dataclasses.replace` or by `override`.

    A subclass with a `__post_init__` of its own calls this one first.
    """

    def __post_init__(self) -> None:
        check_fields(self)


_BEFORE = "before"
_SAME: Any = object()


def later(default: Any, before: Any = _SAME) -> Any:
    """Return the default of a setting that came after results and checkpoints had been kept.

    These were made as with the value `before` (the default, unless it is given): at that value the
    setting stands in no key, so that they are still found.
    """
    value = default if before is _SAME else before
    return dataclasses.field(default=default, metadata={_BEFORE: value})


def keyed(settings: Any) -> dict[str, Any]:
    """Return the fields of a settings dataclass that belong into a key: all but those of `later`
    that have the value of before, and what its class has in `moved`.

    `moved: ClassVar[Mapping[str, Any]]` names fields that results were kept with before they became
    those of a derived class: all others have the value there in their keys, and are still found.
    """
    values_before = before(settings)
    fields = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    told = {
        name: value
        for name, value in fields.items()
        if name not in values_before or value != values_before[name]
    }
    return {**getattr(type(settings), "moved", {}), **told}


def before(settings: Any) -> dict[str, Any]:
    """Return what a record without the fields of `later` was made with: field -> value."""
    return {
        field.name: field.metadata[_BEFORE]
        for field in dataclasses.fields(settings)
        if _BEFORE in field.metadata
    }


def check_fields(settings: Any) -> None:
    """Raise SettingError for a field of a dataclass whose value is not of its type or outside its
    range, naming key, value and range."""
    hints = field_hints(type(settings))
    for field in dataclasses.fields(settings):
        check_value(field.name, getattr(settings, field.name), hints[field.name])


_HINTS: WeakKeyDictionary[type, Mapping[str, Any]] = WeakKeyDictionary()
"""What `field_hints` returned before: reading the types of a class takes longer than all checks."""


def field_hints(cls: type) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields with what is annotated beside them."""
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls, include_extras=True)
    return _HINTS[cls]


def check_value(key: str, value: Any, hint: Any) -> None:
    """Raise SettingError where `value` is not of the type `hint` or outside a Range or Length
    beside it."""
    hint, ranges = _plain(hint)
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        members = [member for member in arguments if member is not type(None)]
        if value is not None or len(members) == len(arguments):
            _check_union(key, value, members)
    elif origin is typing.Literal:
        if value not in arguments:
            raise _no_choice(key, value, arguments)
    elif origin is tuple:
        _check_tuple(key, value, arguments, ranges)
    elif hint in (int, float):
        _check_number(key, value, hint, ranges)
    elif origin is Mapping:
        if not isinstance(value, Mapping):
            raise _wrong_type(key, value, dict)
        for name, entry in value.items():
            check_value(key, name, arguments[0])
            check_value(key, entry, arguments[1])
    elif hint in (bool, str) and not isinstance(value, hint):
        raise _wrong_type(key, value, hint)


def _check_union(key: str, value: Any, hints: Sequence[Any]) -> None:
    """Raise a fault where the value is of none of several types."""
    faults = []
    for hint in hints:
        try:
            check_value(key, value, hint)
        except SettingError as error:
            faults.append(error)
    if len(faults) == len(hints):
        raise _of_no_type(key, value, hints, faults)


def _plain(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type without what is annotated beside it, and that."""
    if typing.get_origin(hint) is Annotated:
        return typing.get_args(hint)[0], hint.__metadata__
    return hint, ()


def _check_tuple(key: str, value: Any, arguments: tuple[Any, ...], ranges: tuple[Any, ...]) -> None:
    if not isinstance(value, tuple):
        raise _wrong_type(key, value, tuple)
    for length in ranges:
        if isinstance(length, Length) and not length.low <= len(value) <= length.high:
            raise _wrong_length(key, value, str(length))
    if Ellipsis in arguments:
        arguments = (arguments[0],) * len(value)
    elif len(value) != len(arguments):
        raise _wrong_length(key, value, str(len(arguments)))
    for entry, hint in zip(value, arguments, strict=True):
        check_value(key, entry, hint)


def _check_number(key: str, value: Any, hint: type, ranges: tuple[Any, ...]) -> None:
    allowed = (int, float) if hint is float else (int,)
    if not isinstance(value, allowed) or isinstance(value, bool):
        raise _wrong_type(key, value, hint)
    finite = isinstance(value, int) or math.isfinite(value)
    limits: list[Range | None] = [limit for limit in ranges if isinstance(limit, Range)]
    for limit in limits or [None]:
        if finite and (limit is None or value in limit):
            continue
        expected = "whole number" if hint is int else "finite number"
        if limit is not None:
            expected += f", {limit}"
        text = _shown(f"{value:g}" if isinstance(value, float) else value)
        raise SettingError(f"setting '{key}' is {text}.", f"It must be a {expected}.")


def _wrong_type(key: str, value: Any, hint: type) -> SettingError:
    return SettingError(f"setting '{key}' wants {hint.__name__}, found '{_shown(value)}'.")


def _of_no_type(
    key: str, value: Any, hints: Sequence[Any], faults: Sequence[SettingError]
) -> SettingError:
    """Return the fault of a value of none of several types: a text names them all, a number has
    that of the first, which may be its range."""
    if len(hints) == 1 or not isinstance(value, str):
        return faults[0]
    wanted = " or ".join(map(_said, hints))
    return SettingError(f"setting '{key}' wants {wanted}, found '{_shown(value)}'.")


def _said(hint: Any) -> str:
    """Say what is of a type."""
    hint, _ = _plain(hint)
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if typing.get_origin(hint) is Mapping:
        return f"a dict of {_said(arguments[0])} to {_said(arguments[1])}"
    return str(hint.__name__)


def _wrong_length(key: str, value: tuple[Any, ...], wanted: str) -> SettingError:
    listed = ", ".join(map(str, value)) or "nothing"
    return SettingError(
        f"setting '{key}' has {len(value)} value(s): {_shown(listed)}.",
        f"It takes {wanted}, separated by commas.",
    )


def _no_choice(key: str, value: Any, options: tuple[Any, ...]) -> SettingError:
    return SettingError(
        f"setting '{key}' is '{_shown(value)}'.", f"Choose one of {', '.join(map(str, options))}."
    )


def _shown(value: Any) -> str:
    try:
        text = str(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


# ---------------------------------------------------------------------------------------- overrides
def parse_pairs(pairs: Sequence[str], form: str = "--set key=value") -> dict[str, str]:
    """Parse `["lr=1e-3", "seed=2"]` into a dict; raise SettingError on a word without '='."""
    parsed = {}
    for pair in pairs:
        key, sep, value = pair.partition("=")
        if not sep or not key.strip():
            raise SettingError(f"'{pair}' is not of the form key=value.", f"Write {form}.")
        parsed[key.strip()] = value.strip()
    return parsed


def preset_of(presets: Mapping[str, S], protocol: str, kind: str) -> S:
    """Return what a kind of task has for a protocol; raise UnknownNameError where it has none of
    that name."""
    if protocol not in presets:
        raise UnknownNameError(
            f"unknown protocol '{protocol}' of {kind}.", suggest(protocol, presets)
        )
    return presets[protocol]


def override(settings: S, changes: Mapping[str, Any]) -> S:
    """Return `settings` with `changes`; strings are parsed by the field's type, lists become
    tuples.

    Raise SettingError for an unknown key, a value of another type, and one outside the range of its
    field.
    """
    hints = field_hints(type(settings))
    names = {field.name for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    parsed = {}
    for key, value in changes.items():
        if key not in names:
            raise SettingError(
                f"unknown setting '{key}' of {type(settings).__name__}.", suggest(key, names)
            )
        parsed[key] = _value(key, value, hints[key])
    changed = dataclasses.replace(settings, **parsed)  # type: ignore[type-var]
    check_fields(changed)
    return changed


def _value(key: str, value: Any, hint: Any) -> Any:
    if isinstance(value, str):
        return _parse(key, value, hint)
    return tuple(value) if isinstance(value, list) else value


def _parse(key: str, text: str, hint: Any) -> Any:
    hint, _ = _plain(hint)
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if text.lower() in ("none", "") and type(None) in arguments:
            return None
        members = [member for member in arguments if member is not type(None)]
        return _parse_union(key, text, members)
    if origin is typing.Literal:
        return _choice(key, text, arguments)
    if origin is tuple:
        words = [word.strip() for word in text.split(",")]
        return tuple(_parse(key, word, arguments[0]) for word in words if word)
    if hint is bool:
        return _boolean(key, text)
    try:
        return hint(text)
    except (TypeError, ValueError) as error:
        raise _wrong_type(key, text, hint) from error


def _parse_union(key: str, text: str, hints: Sequence[Any]) -> Any:
    """Return the text as the first of several types that it is one of; raise a fault where it is of
    none."""
    faults = []
    for hint in hints:
        try:
            return _parse(key, text, hint)
        except SettingError as error:
            faults.append(error)
    raise _of_no_type(key, text, hints, faults)


def _choice(key: str, text: str, options: tuple[Any, ...]) -> Any:
    for option in options:
        if str(option) == text:
            return option
    raise _no_choice(key, text, options)


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
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        return tuple(dict.fromkeys(map(kind, words)))
    except ValueError as error:
        raise SettingError(
            f"{option} '{text}' is not a comma-separated list: {error}.",
            f"Write e.g. {option} a,b.",
        ) from error
