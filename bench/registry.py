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
from pathlib import Path
from typing import Generic, TypeVar

from bench.errors import PlaceBenchError, UnknownNameError

T = TypeVar("T")
ENTRY_POINT_GROUP = "place_bench.plugins"


class Registry(Generic[T]):
    """Map names to declarations of one kind; fills itself on first use."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> T:
        """Register `item` under `name`; a second registration of a name is refused."""
        if name in self._items:
            raise PlaceBenchError(f"{self.kind} '{name}' is registered twice.", "Rename one of the two.")
        self._items[name] = item
        return item

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate a declaration: `@DATASETS.register("siim")`."""
        return lambda item: self.add(name, item)

    def get(self, name: str) -> T:
        """Return the declaration of `name`; raise UnknownNameError with the nearest names."""
        discover()
        if name not in self._items:
            raise UnknownNameError(f"unknown {self.kind} '{name}'.", suggest(name, self._items))
        return self._items[name]

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        discover()
        return sorted(self._items)

    def __contains__(self, name: str) -> bool:
        discover()
        return name in self._items

    def items(self) -> Iterator[tuple[str, T]]:
        """Iterate over (name, declaration), sorted by name."""
        return ((name, self._items[name]) for name in self.names())


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

    A declaration module imports neither torch nor pandas at its top, so that listing stays under half a second.
    Built-in: every sub-package of `backbones` and `tasks`, and every module of `tasks.datasets`.
    """
    if _state["discovered"]:
        return
    _state["discovered"] = True
    for package in ("tasks", "backbones"):
        _import_subpackages(package)
    _import_modules("tasks.datasets")
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            entry.load()
        except ImportError as error:
            raise PlaceBenchError(f"plug-in '{entry.name}' ({entry.value}) does not import: {error}.") from error


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
        raise PlaceBenchError(f"plug-in file {path} does not exist.", "Give the path of a Python file.")
    name = f"place_bench_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    discover()
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PlaceBenchError(f"plug-in file {path} is not a Python file.", "Its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise PlaceBenchError(f"plug-in {path} failed: {type(error).__name__}: {error}.") from error
