"""Where a dataset lives: the licensed files where there are some, else the embedded demo."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.contracts import DataKind, Dataset, Progress
from bench.core.errors import DataError, NotMadeError
from bench.core.paths import cache_home
from bench.core.progress import Silent
from bench.core.storage import held, writing
from bench.data.text import is_hidden, read_json

DEMO_MARK = "DEMO.json"
"""Stands in a demo folder while it is rendered: an interrupted one may be rendered over, real data
never."""
Want = Literal["auto", "real", "demo"]


@dataclass(frozen=True)
class DemoSize:
    """How large a demo is rendered; `studies=0` means the dataset's own default."""

    studies: int = 0
    size: int = 256
    seed: int = 0


@dataclass(frozen=True)
class DataRoot:
    """The folder of one dataset and what kind of data it holds."""

    path: Path
    kind: DataKind


def resolve_root(
    dataset: Dataset,
    data_root: Path | None = None,
    data: Want = "auto",
    *,
    demo: DemoSize | None = None,
    workers: int = 2,
    progress: Progress | None = None,
    make: bool = True,
) -> DataRoot:
    """Find the files of `dataset`; render its demo where that is what is asked for, or all there
    is.

    `data_root` (else `$PLACE_BENCH_DATA`) holds a folder named after the dataset, or is that
    folder. `data="auto"` takes real files where found; without any root, or where
    `$PLACE_BENCH_DATA` lacks the dataset, the demo, saying so. An explicit `data_root` without the
    dataset is an error, never a demo. Raise DataError with how to get the data; without `make`
    NotMadeError in place of rendering a demo.
    """
    progress = progress or Silent()
    if data == "demo":
        return demo_root(dataset, demo, workers=workers, progress=progress, make=make)
    variable = os.environ.get("PLACE_BENCH_DATA")
    root = data_root or (Path(variable) if variable else None)
    folder = find_dataset(dataset, root) if root else None
    if folder:
        return DataRoot(folder, data_kind(folder))
    if data == "real" or data_root or not dataset.has_demo:
        raise _missing(dataset, root)
    where = f"not found under {root} ($PLACE_BENCH_DATA)" if root else "no data root is set"
    progress.say(f"{dataset.name}: {where}; using rendered demo data, which says nothing clinical.")
    return demo_root(dataset, demo, workers=workers, progress=progress, make=make)


def _missing(dataset: Dataset, given: Path | None) -> DataError:
    if given is None:
        message = f"no data for '{dataset.name}': neither --data-root nor $PLACE_BENCH_DATA is set."
    else:
        folders = ", ".join(f"{name}/" for name in _folders(dataset))
        message = (
            f"data root {given} does not hold '{dataset.name}' (looked for "
            f"{_looked_for(dataset)} in its folders {folders})."
        )
    return DataError(message, f"How to get it: {dataset.how_to_get}")


def _folders(dataset: Dataset) -> tuple[str, ...]:
    return tuple(dict.fromkeys((dataset.name, *dataset.folders)))


def find_dataset(dataset: Dataset, root: Path) -> Path | None:
    """Return the folder of `dataset` under `root` (by name, by its known folder names, or `root`
    itself by its marker), or None.

    Raise DataError where `root` does not exist.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(
            f"data root {root} does not exist.",
            f"How to get '{dataset.name}': {dataset.how_to_get}",
        )
    for candidate in (*(root / name for name in _folders(dataset)), root):
        if candidate.is_dir() and _recognised(dataset, candidate, named=candidate != root):
            return candidate
    return None


def _recognised(dataset: Dataset, folder: Path, *, named: bool) -> bool:
    """Say whether a folder holds the dataset: by one of its markers, or by its name where it
    declares none."""
    markers = _markers(dataset)
    return any(_holds(folder, marker) for marker in markers) if markers else named


def _markers(dataset: Dataset) -> tuple[str, ...]:
    """Return the files and folders a dataset is recognised by; each may be a glob pattern."""
    markers = dataset.marker
    return tuple(filter(None, (markers,) if isinstance(markers, str) else markers))


def _looked_for(dataset: Dataset) -> str:
    return " or ".join(f"'{marker}'" for marker in _markers(dataset)) or "a folder"


def _holds(folder: Path, marker: str) -> bool:
    from bench.data.tables import find_file

    if any(sign in marker for sign in "*?["):
        return any(not is_hidden(path.name) for path in folder.glob(marker))
    return find_file(folder, marker) is not None


def data_kind(root: Path) -> DataKind:
    """Return "demo" where the folder says so (DEMO.json, be it damaged), else "real"."""
    return "demo" if is_demo(root) else "real"


def is_demo(root: Path) -> bool:
    """Say whether there is a DEMO.json in a folder, sound or not: rendered data is never taken for
    real."""
    return os.path.lexists(root / DEMO_MARK)


def read_demo_card(root: Path) -> dict[str, Any]:
    """Return what DEMO.json says; raise DataError naming it where it is damaged."""
    path = root / DEMO_MARK
    hint = "Render it again with `place-bench data make-demo --force`."
    try:
        card = read_json(path, "card")
    except DataError as error:
        raise DataError(error.args[0], hint) from error
    if not isinstance(card, dict):
        raise DataError(f"file {path} is not a JSON object.", hint)
    return card


def demo_path(dataset: Dataset, demo: DemoSize | None = None) -> Path:
    """Return the folder where a demo of this dataset and size is kept."""
    demo = demo or DemoSize()
    studies = demo.studies or dataset.demo_studies
    return (
        cache_home()
        / "demo"
        / f"{dataset.name}-{studies}-{demo.size}-{demo.seed}-v{dataset.demo_version()}"
    )


def demo_root(
    dataset: Dataset,
    demo: DemoSize | None = None,
    *,
    out: Path | None = None,
    workers: int = 2,
    progress: Progress | None = None,
    make: bool = True,
    force: bool = False,
) -> DataRoot:
    """Return the rendered demo of `dataset` in `out` (default: the cache), rendering it where it is
    missing.

    It is complete once its DEMO.json is there. Raise DataError where the dataset has no demo or
    `out` holds something else (with `force` a demo is rendered again, whatever its size; other data
    never is); without `make` NotMadeError in place of rendering.
    """
    if not dataset.has_demo:
        raise DataError(
            f"dataset '{dataset.name}' has no demo.", f"How to get it: {dataset.how_to_get}"
        )
    demo = demo or DemoSize()
    out = out or demo_path(dataset, demo)
    if not make and not is_demo(out):
        studies = demo.studies or dataset.demo_studies
        raise NotMadeError(f"{studies} demo studies of {dataset.name} are rendered first")
    with held(out.parent / f".{out.name}.lock"), writing(out):
        if force:
            _remove_demo(out)
        if is_demo(out):
            _check_same(dataset, out, demo)
        else:
            _render(dataset, out, demo, workers, progress or Silent())
    return DataRoot(out, "demo")


def _check_same(dataset: Dataset, out: Path, demo: DemoSize) -> None:
    """Raise DataError where the demo in `out` says that it is another one than `demo`."""
    asked = {
        "dataset": dataset.name,
        "studies": demo.studies or dataset.demo_studies,
        "size": demo.size,
        "seed": demo.seed,
        "renderer_version": dataset.demo_version(),
    }
    there = read_demo_card(out)
    stated = {name: there[name] for name in asked if name in there}
    if any(asked[name] != value for name, value in stated.items()):
        instead_of = {name: asked[name] for name in stated}
        raise DataError(
            f"{out} holds another demo ({_listed(stated)}); asked for was {_listed(instead_of)}.",
            "Choose another --out, or render over it with --force.",
        )


def _listed(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())


def _remove_demo(out: Path) -> None:
    """Remove a demo, also one that was begun; leave other data alone."""
    marks = (out / DEMO_MARK, out / f".{DEMO_MARK}.begun", out.parent / f".{out.name}.rendering")
    if any(os.path.lexists(mark) for mark in marks):
        shutil.rmtree(out, ignore_errors=False)
        marks[-1].unlink(missing_ok=True)


def _render(dataset: Dataset, out: Path, demo: DemoSize, workers: int, progress: Progress) -> None:
    studies = demo.studies or dataset.demo_studies
    begun = (
        out.parent / f".{out.name}.rendering"
    )  # beside the folder: what renders may insist on an empty one
    if any(_holds(out, marker) for marker in _markers(dataset)) and not begun.is_file():
        raise DataError(
            f"{out} already holds data of '{dataset.name}'.", "Choose another folder for the demo."
        )
    out.mkdir(parents=True, exist_ok=True)
    begun.touch()
    progress.say(f"rendering {studies} demo studies of {dataset.name} at {demo.size} px into {out}")
    dataset.make_demo(
        out, studies=studies, size=demo.size, seed=demo.seed, workers=workers, progress=progress
    )
    if not (out / DEMO_MARK).is_file():
        raise DataError(
            f"the demo of '{dataset.name}' wrote no {out / DEMO_MARK}.",
            "make_demo writes it last, when complete.",
        )
    begun.unlink()
