"""One small registry: decorator, duplicates refused, lazy discovery, did-you-mean, plug-ins."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import unquote

from bench.core.errors import PlaceBenchError, SettingError, UnknownNameError

T = TypeVar("T")
ENTRY_POINT_GROUP = "place_bench.plugins"


@dataclass(frozen=True)
class Scheme(Generic[T]):
    """A family of names: `declare` makes the declaration of `scheme:rest` from its rest; `title`
    and `example` are for people."""

    declare: Callable[[str], T]
    title: str = ""
    example: str = ""


class Registry(Generic[T]):
    """Map names to declarations of one kind; fills itself on first use.

    Beside plain names, `scheme:rest` is declared by its scheme when it is asked for, and where the
    kind has a `configure`, `name?key=value&key=value` is the declaration of `name` with these
    settings.
    """

    def __init__(
        self, kind: str, configure: Callable[[T, str, dict[str, str]], T] | None = None
    ) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        self._schemes: dict[str, Scheme[T]] = {}
        self._configure = configure

    def add(self, name: str, item: T) -> T:
        """Register `item` under `name`; a second registration of a name is refused."""
        if name in self._items:
            raise PlaceBenchError(
                f"{self.kind} '{name}' is registered twice.", "Rename one of the two."
            )
        self._items[name] = item
        return item

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate a declaration: `@DATASETS.register("siim")`."""
        return lambda item: self.add(name, item)

    def add_scheme(
        self, scheme: str, declare: Callable[[str], T], *, title: str = "", example: str = ""
    ) -> None:
        """Register all names `scheme:rest`; a second registration of a scheme is refused."""
        if scheme in self._schemes:
            raise PlaceBenchError(
                f"{self.kind} scheme '{scheme}:' is registered twice.", "Rename one of the two."
            )
        self._schemes[scheme] = Scheme(declare, title, example)

    def get(self, name: str) -> T:
        """Return the declaration of `name`; raise UnknownNameError with the nearest names."""
        discover()
        if name in self._items:
            return self._items[name]
        base, mark, query = name.partition("?")
        if mark and self._configure is not None:
            return self._configure(self.get(base), name, parse_query(name, query))
        scheme, colon, rest = name.partition(":")
        if colon and scheme in self._schemes:
            return self._schemes[scheme].declare(rest)
        known = [*self._items, *(f"{other}:NAME" for other in self._schemes)]
        raise UnknownNameError(f"unknown {self.kind} '{name}'.", suggest(name, known))

    def schemes(self) -> dict[str, Scheme[T]]:
        """Return the schemes, sorted by name."""
        discover()
        return dict(sorted(self._schemes.items()))

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        discover()
        return sorted(self._items)

    def __contains__(self, name: str) -> bool:
        discover()
        base = name.partition("?")[0] if self._configure else name
        return base in self._items or (":" in base and base.partition(":")[0] in self._schemes)

    def items(self) -> Iterator[tuple[str, T]]:
        """Iterate over (name, declaration), sorted by name."""
        return ((name, self._items[name]) for name in self.names())


def parse_query(name: str, query: str) -> dict[str, str]:
    """Parse `key=value&key=value` (percent escapes are decoded: %26 is an ampersand); raise
    SettingError naming `name`."""
    settings: dict[str, str] = {}
    for pair in query.split("&"):
        key, sep, value = pair.partition("=")
        if not sep or not key or key in settings:
            reason = "occurs twice" if key in settings else "is not key=value"
            raise SettingError(f"'{pair}' in '{name}' {reason}.", "Write name?key=value&key=value.")
        settings[key] = unquote(value)
    return settings


def suggest(name: str, known: object) -> str:
    """Return 'Did you mean ...?' with the nearest of `known`, or the list of all."""
    options = sorted(str(option) for option in known)  # type: ignore[attr-defined]
    near = difflib.get_close_matches(name, options, n=3, cutoff=0.4)
    if near:
        return f"Did you mean {' or '.join(near)}? Known: {', '.join(options)}."
    return f"Known: {', '.join(options) or 'none'}."


_state = {"discovered": False}


def discover() -> None:
    """Import every declaration once: built-in packages, then installed entry points.

    A declaration module imports neither torch nor pandas at its top, so that listing stays under
    half a second. Built-in: every sub-package of `backbones` and `tasks`, and every module of
    `tasks.datasets`.
    """
    if _state["discovered"]:
        return
    _state["discovered"] = True
    importlib.import_module("bench.cells.baselines")
    importlib.import_module("bench.data.annotations")
    for package in ("tasks", "backbones"):
        _import_subpackages(package)
    _import_modules("tasks.datasets")
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            entry.load()
        except Exception as error:
            raise PlaceBenchError(
                f"plug-in '{entry.name}' ({entry.value}) does not import: "
                f"{type(error).__name__}: {error}.",
                "Mend it, or uninstall its package.",
            ) from error


def _import_subpackages(package: str) -> None:
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if info.ispkg:
            importlib.import_module(f"{package}.{info.name}")


def _import_modules(package: str) -> None:
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not info.ispkg and not info.name.startswith("_"):
            importlib.import_module(f"{package}.{info.name}")


def load_plugin(path: Path) -> None:
    """Import one file that registers datasets, tasks or backbones (`--plugin FILE`)."""
    path = Path(path).resolve()
    if not path.is_file():
        raise PlaceBenchError(
            f"plug-in file {path} does not exist.", "Give the path of a Python file."
        )
    name = f"place_bench_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    discover()
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PlaceBenchError(
            f"plug-in file {path} is not a Python file.", "Its name must end in .py."
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise PlaceBenchError(f"plug-in {path} failed: {type(error).__name__}: {error}.") from error
