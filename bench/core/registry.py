"""One small registry: decorator, duplicates refused, lazy discovery, did-you-mean, plug-ins."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import unquote

from bench.core.declaring import check_name, current_plugin, importing, refuse
from bench.core.errors import PlaceBenchError, SettingError, UnknownNameError

T = TypeVar("T")
ENTRY_POINT_GROUP = "place_bench.plugins"
_registries: list[Registry[Any]] = []


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
    settings. `check` yields what is wrong with a declaration by itself, when it is registered;
    `check_together` what is wrong with it among all others, when the plug-ins are imported.
    """

    def __init__(
        self,
        kind: str,
        configure: Callable[[T, str, dict[str, str]], T] | None = None,
        check: Callable[[str, T], Iterable[PlaceBenchError]] | None = None,
        check_together: Callable[[T], Iterable[PlaceBenchError]] | None = None,
    ) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        self._schemes: dict[str, Scheme[T]] = {}
        self._plugins: dict[str, str] = {}
        self._configure = configure
        self._check = check
        self._check_together = check_together
        _registries.append(self)

    def add(self, name: str, item: T) -> T:
        """Register `item` under `name`; raise PlaceBenchError for a name that is none or is taken,
        and for a declaration that is wrong."""
        check_name(self.kind, name)
        if name in self._items:
            refuse(
                PlaceBenchError(
                    f"{self.kind} '{name}' is registered twice.", "Rename one of the two."
                )
            )
            return item
        for fault in self._check(name, item) if self._check else ():
            refuse(fault)
        self._items[name] = item
        self._plugins[name] = current_plugin()
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
        self._plugins[f"{scheme}:"] = current_plugin()

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
        names = [*self._items, *(f"{other}:NAME" for other in self._schemes)]
        raise UnknownNameError(f"unknown {self.kind} '{name}'.", suggest(name, names))

    def schemes(self) -> dict[str, Scheme[T]]:
        """Return the schemes, sorted by name."""
        discover()
        return dict(sorted(self._schemes.items()))

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        discover()
        return sorted(self._items)

    def of_plugins(self) -> dict[str, str]:
        """Return the names that plug-ins registered, and which of them did."""
        return {
            name: self._plugins[name] for name in sorted(self._items) if self._plugins.get(name)
        }

    def plugin_of(self, name: str) -> str:
        """Return the plug-in that registered a name or the scheme of it; "" where none did."""
        scheme = f"{name.partition(':')[0]}:"
        return self._plugins.get(name) or self._plugins.get(scheme, "")

    def registered(self, plugin: str) -> list[str]:
        """Return the names and schemes (`scheme:`) that a plug-in registered."""
        return sorted(name for name, source in self._plugins.items() if source == plugin)

    def forget(self, plugin: str) -> None:
        """Take back what a plug-in registered."""
        for name in self.registered(plugin):
            del self._plugins[name]
            self._items.pop(name, None)
            self._schemes.pop(name.removesuffix(":"), None)

    def faults_together(self, name: str) -> Iterable[PlaceBenchError]:
        """Return what is wrong with a declaration among all others."""
        return self._check_together(self._items[name]) if self._check_together else ()

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


def suggest(name: str, options: Iterable[object]) -> str:
    """Return 'Did you mean ...?' with the nearest of `options`, and the list of all."""
    names = sorted(str(option) for option in options)
    return f"{nearest(name, names)}Known: {', '.join(names) or 'none'}."


def nearest(name: str, options: Sequence[str]) -> str:
    """Return 'Did you mean ...? ' with the nearest of `options`; "" where none is near."""
    near = difflib.get_close_matches(name, options, n=3, cutoff=0.4)
    return f"Did you mean {' or '.join(near)}? " if near else ""


_state = {"discovered": False, "loading": False}


def discover() -> None:
    """Import every declaration once: built-in packages, then installed entry points.

    A declaration module imports neither torch nor pandas at its top, so that listing stays under
    half a second. Built-in: every sub-package of `backbones` and `tasks`, and every module of
    `tasks.datasets`.
    """
    if _state["discovered"]:
        return
    _state["discovered"] = True
    importlib.import_module("bench.data.annotations")
    for package in ("tasks", "backbones"):
        _import_subpackages(package)
    _import_modules("tasks.datasets")
    entries = list(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP))
    for entry in entries:
        name = f"'{entry.name}' ({entry.value})"
        with importing(name, "does not import", "Mend it, or uninstall its package."):
            entry.load()
    if entries and not _state["loading"]:
        check_plugins()


def _import_subpackages(package: str) -> None:
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if info.ispkg:
            importlib.import_module(f"{package}.{info.name}")


def _import_modules(package: str) -> None:
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not info.ispkg and not info.name.startswith("_"):
            importlib.import_module(f"{package}.{info.name}")


def load_plugins(paths: Sequence[Path]) -> None:
    """Import several files (`--plugin FILE`), then check what they declared against each other and
    everything else."""
    if not paths:
        return
    _state["loading"] = True
    try:
        for path in paths:
            load_plugin(path)
            check_registered(str(Path(path).resolve()))
    finally:
        _state["loading"] = False
    check_plugins()


def check_registered(plugin: str) -> None:
    """Refuse a plug-in that registers nothing."""
    if not any(registry.registered(plugin) for registry in _registries):
        refuse(
            PlaceBenchError(
                f"plug-in {plugin} registers nothing.",
                "Decorate with @dataset or @backbone, or call task(...).",
            )
        )


def load_plugin(path: Path) -> None:
    """Import one file that registers datasets, tasks or backbones; raise PlaceBenchError naming its
    line where that fails, and take back what it registered."""
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
        with importing(str(path), "failed", "Mend that line."):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        for registry in _registries:
            registry.forget(str(path))
        raise


def check_plugins() -> None:
    """Refuse what plug-ins declared where it does not fit what else is declared."""
    discover()
    for registry in _registries:
        for name, plugin in registry.of_plugins().items():
            with importing(plugin, "failed", "Mend it."):
                for fault in registry.faults_together(name):
                    refuse(fault)
