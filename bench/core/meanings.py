"""What every setting means: the string under its field, read from the source. Imports no torch."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bench.core.errors import SettingError
from bench.core.settings import Length, Range, field_hints


@dataclass(frozen=True)
class Explained:
    """One setting: its default (None also where it has none), what it may be, and what it means.

    `meaning` is "" where nothing stands under the field, or its source cannot be read.
    """

    name: str
    default: Any
    allowed: str
    meaning: str


def explain(settings: type[Any]) -> tuple[Explained, ...]:
    """Return the fields of a settings dataclass, those of the class before those of its bases;
    raise SettingError for a class that is none."""
    if not dataclasses.is_dataclass(settings):
        raise SettingError(f"the settings {settings.__name__} are not a dataclass.")
    hints = field_hints(settings)
    meaning = meanings(settings)
    fields = sorted(dataclasses.fields(settings), key=lambda field: _depth(settings, field.name))
    return tuple(
        Explained(
            name=field.name,
            default=_default(field),
            allowed=allowed(hints[field.name]),
            meaning=meaning.get(field.name, ""),
        )
        for field in fields
    )


def _depth(settings: type[Any], name: str) -> int:
    """Return how far up among the bases of a class a field was first declared."""
    depths = [
        depth for depth, cls in enumerate(settings.__mro__) if name in inspect.get_annotations(cls)
    ]
    return max(depths, default=0)


def meanings(settings: type[Any]) -> dict[str, str]:
    """Return the string under each field of a class or of those it is based on; a field that a
    subclass only gives another default keeps what its base says."""
    meaning: dict[str, str] = {}
    for cls in reversed(settings.__mro__):
        meaning.update(_strings_under_fields(cls))
    return meaning


def shown(value: Any) -> str:
    """Return a value as `--set` takes it, numbers to six digits."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        return ",".join(map(shown, value))
    return str(value)


# --------------------------------------------------------------------------------- from the source
@lru_cache(maxsize=256)
def _strings_under_fields(cls: type[Any]) -> dict[str, str]:
    node = _class_node(cls)
    told = {}
    for field, below in zip(node.body, node.body[1:], strict=False) if node else ():
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = _string(below)
            if text:
                told[field.target.id] = " ".join(text.split())
    return told


def _string(statement: ast.stmt) -> str:
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
        return ""
    return statement.value.value if isinstance(statement.value.value, str) else ""


def _class_node(cls: type[Any]) -> ast.ClassDef | None:
    """Return where a class is defined; None for one whose source is not at hand."""
    module = inspect.getmodule(cls)
    try:
        tree = _tree(module) if module else None
    except (OSError, TypeError, SyntaxError):  # made by code, in a console, or of a changed file
        return None
    if tree is None:
        return None
    path = cls.__qualname__.replace("<locals>.", "")
    nodes = [node for name, node in _classes(tree, "") if name == path]
    return nodes[-1] if nodes else None


@lru_cache(maxsize=256)
def _tree(module: types.ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def _classes(node: ast.AST, path: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield every class inside a node with its name, dotted where classes or functions hold it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{path}{child.name}"
            if isinstance(child, ast.ClassDef):
                yield name, child
            yield from _classes(child, f"{name}.")
        else:
            yield from _classes(child, path)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return None if field.default_factory is dataclasses.MISSING else field.default_factory()


# ---------------------------------------------------------------------------------- what it may be
def allowed(hint: Any, ranges: tuple[Any, ...] = ()) -> str:
    """Return what a field of this type may be, in words."""
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is typing.Annotated:
        return allowed(arguments[0], (*ranges, *hint.__metadata__))
    if origin in (typing.Union, types.UnionType):
        kinds = [allowed(member, ranges) for member in arguments if member is not type(None)]
        if type(None) in arguments:
            kinds.append("none")
        return ", or ".join(kinds)
    if origin is typing.Literal:
        return _one_of([shown(value) for value in arguments])
    if origin is tuple:
        return _several(arguments, ranges)
    if hint is bool:
        return "true or false"
    if hint in (int, float):
        number = "a whole number" if hint is int else "a number"
        limits = [str(limit) for limit in ranges if isinstance(limit, Range)]
        return ", ".join([number, *limits])
    return "text" if hint is str else getattr(hint, "__name__", str(hint))


def _one_of(words: list[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _several(arguments: tuple[Any, ...], ranges: tuple[Any, ...]) -> str:
    """Return what a tuple may hold; its values are separated by commas."""
    of_one = allowed(arguments[0])
    lengths = [str(length) for length in ranges if isinstance(length, Length)]
    if Ellipsis not in arguments:
        lengths = [str(len(arguments))]
    count = lengths[0] if lengths else "any number of"
    if of_one == "text":
        return f"{count} words, separated by commas"
    return f"{count} values, separated by commas, each {of_one}"
