"""`place-bench doctor`: ready, warning or blocked, and the next action."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.cells.frame import is_here
from bench.contracts import BACKBONES, DATASETS
from bench.core.errors import PlaceBenchError, StorageError
from bench.core.machine import cores
from bench.core.paths import cache_home, check_cache, check_results, results_home

Level = Literal["ready", "warning", "blocked"]
_STYLES = {"ready": "green", "warning": "yellow", "blocked": "red"}
_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "pydicom",
    "pandas",
    "scikit-learn",
    "safetensors",
)
_MM_PACKAGES = ("onedl-mmengine", "onedl-mmcv", "onedl-mmsegmentation", "onedl-mmdetection")


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    level: Level
    found: str
    action: str = ""


def checks(data_root: Path | None = None) -> Iterator[Check]:
    """Yield every check of this machine, cheapest first."""
    yield from (_package(name) for name in _PACKAGES)
    yield from (_package(name) for name in _MM_PACKAGES)
    yield _operators()
    yield _decoders()
    yield _java()
    yield from _outsiders()
    yield _gpu()
    yield _folder("cache folder", check_cache)
    yield _folder("results folder", lambda: check_results(results_home()))
    yield _disk()
    yield from _datasets(data_root)


def _package(name: str) -> Check:
    try:
        return Check(f"package {name}", "ready", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(f"package {name}", "blocked", "not installed", "Run `make setup`.")


def _operators() -> Check:
    from bench.mm import mm_available, mmcv_is_compiled

    usable, reason = mm_available()
    if not usable:
        return Check(
            "mm operators",
            "blocked",
            reason,
            "Run `make setup`; segmentation and detection need the mm packages.",
        )
    if mmcv_is_compiled():
        return Check("mm operators", "ready", "compiled mmcv")
    stand_ins = "pure-Python stand-ins (segmentation and one-stage detection work)"
    return Check("mm operators", "ready", stand_ins)


def _decoders() -> Check:
    from bench.data.codecs import ALL_DECODERS, readable

    able, unable = readable()
    codings = f"uncompressed, {', '.join(able)}"
    if not unable:
        return Check("DICOM pixels", "ready", f"{codings} are read")
    return Check(
        "DICOM pixels",
        "ready",
        f"{codings} are read; no decoder for {', '.join(unable)}",
        f"Where your images are compressed so: `{ALL_DECODERS}`.",
    )


def _java() -> Check:
    java = shutil.which("java")
    action = (
        "Install a Java runtime (8 or newer) for METEOR and the PTB tokeniser of report metrics."
    )
    if java is None:
        return Check("Java", "warning", "not found", action)
    try:
        result = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Check("Java", "warning", f"{java} does not run: {error}", action)
    return Check("Java", "ready", (result.stderr or result.stdout).splitlines()[0])


def _outsiders() -> Iterator[Check]:
    """Yield a line for every encoder that frames tables where it is installed."""
    for name, spec in BACKBONES.items():
        if spec.frame != "outsider":
            continue
        if is_here(spec):
            yield Check(f"encoder {name}", "ready", "a row of every table")
        else:
            yield Check(f"encoder {name}", "ready", "not installed: no row of it", spec.how_to_get)


def _gpu() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("GPU", "ready", torch.cuda.get_device_name(0))
    return Check(
        "GPU",
        "warning",
        f"none; {cores()} CPU core(s)",
        "The demo profile runs; use a CUDA machine for --profile paper.",
    )


def _folder(name: str, check: Callable[[], Path]) -> Check:
    """Say which folder is used and whether it can be written."""
    try:
        return Check(name, "ready", str(check()))
    except StorageError as error:
        return Check(name, "blocked", str(error.args[0]), error.hint)


def _disk() -> Check:
    try:
        folder = cache_home()
    except StorageError as error:
        return Check("disk for caches", "blocked", str(error.args[0]), error.hint)
    while not os.path.lexists(folder):
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    if free > 10:
        return Check("disk for caches", "ready", f"{free:.0f} GiB free", "")
    level: Level = "warning" if free > 1 else "blocked"
    action = f"Free some space, or set PLACE_BENCH_CACHE to another disk (now {cache_home()})."
    return Check("disk for caches", level, f"{free:.0f} GiB free", action)


def _datasets(data_root: Path | None) -> Iterator[Check]:
    """Yield a line for every dataset that is at fault, and one for all others together."""
    from bench.commands.data import locate

    real: list[str] = []
    rendered: list[str] = []
    absent: list[str] = []
    for name, dataset in DATASETS.items():
        try:
            root = locate(dataset, data_root)
        except PlaceBenchError as error:
            yield Check(f"data {name}", "blocked", str(error.args[0]), error.hint)
            continue
        if root is not None and root.kind == "real":
            real.append(name)
        elif root or dataset.has_demo:
            rendered.append(name)
        else:
            absent.append(name)
    groups = [
        f"real files: {', '.join(real) or 'none'}",
        f"rendered when needed: {', '.join(rendered) or 'none'}",
        f"only with their files: {', '.join(absent) or 'none'}",
    ]
    action = "How to get one: place-bench data info NAME"
    yield Check("data", "ready", "; ".join(groups), action)


def doctor_command(data_root: Path | None) -> int:
    """Print the checks as a table; return 2 where something is blocked."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    results = list(checks(data_root))
    table = Table(header_style="bold")
    for column in ("check", "state", "found", "next action"):
        table.add_column(column, overflow="fold")
    for check in results:
        table.add_row(
            Text(check.name),
            Text(check.level, style=_STYLES[check.level]),
            Text(check.found),
            Text(check.action),
        )
    Console().print(table)
    blocked = sum(check.level == "blocked" for check in results)
    following = " Next: place-bench run siim_seg (three seeds; quicker with --seeds 0)"
    print(f"{blocked} blocked.{'' if blocked else following}")
    return 2 if blocked else 0
