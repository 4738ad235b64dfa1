"""`place-bench data list|verify|path|make-demo`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench.commands.listing import entry
from bench.contracts import DATASETS, TASKS, CheckResult, Dataset
from bench.core.errors import DataError, PlaceBenchError
from bench.core.paths import check_cache, check_out
from bench.core.progress import default_progress
from bench.data.indexing import naming, read_index
from bench.data.roots import (
    DataRoot,
    DemoSize,
    data_kind,
    demo_path,
    demo_root,
    find_dataset,
    is_demo,
)


def locate(dataset: Dataset, data_root: Path | None) -> DataRoot | None:
    """Return where a dataset is now, real files first, then a demo already rendered; None where
    there is neither."""
    variable = os.environ.get("PLACE_BENCH_DATA")
    root = data_root or (Path(variable) if variable else None)
    folder = find_dataset(dataset, root) if root else None
    if folder is None and dataset.has_demo and not data_root and is_demo(demo_path(dataset)):
        folder = demo_path(dataset)
    return DataRoot(folder, data_kind(folder)) if folder else None


def list_command(data_root: Path | None) -> None:
    """Print where each dataset is found, a line each."""
    width = max(map(len, DATASETS.names()))
    for name, dataset in DATASETS.items():
        print(f"{name:<{width}}  {_where(dataset, data_root)}")
    print("\nLicence, citation and how to get one: place-bench data info NAME")


def info_command(names: Sequence[str], data_root: Path | None) -> None:
    """Print what a dataset is, where it is found, its licence, and how to get it."""
    for dataset in [DATASETS.get(name) for name in names]:
        facts = {
            "what": dataset.title,
            "found": _where(dataset, data_root),
            "how to get": dataset.how_to_get,
            "licence": dataset.licence,
            "citation": dataset.citation,
            "tasks": ", ".join(n for n, task in TASKS.items() if task.dataset == dataset.name),
        }
        print(dataset.name)
        for fact, text in facts.items():
            print(entry(f"  {fact}", text, 12))


def _where(dataset: Dataset, data_root: Path | None) -> str:
    root = locate(dataset, data_root)
    if root:
        return f"{root.kind}: {root.path}"
    return "demo is rendered when needed" if dataset.has_demo else "not found"


def verify_command(names: Sequence[str], data_root: Path | None) -> int:
    """Validate the named datasets (default: those found); return 2 where a finding is an error, or
    a dataset does not read: the others are looked at all the same."""
    marks = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}
    worst = 0
    for name in names or DATASETS.names():
        dataset = DATASETS.get(name)
        root = locate(dataset, data_root)
        if root is None:
            print(f"{name}: not found. {dataset.how_to_get}")
            worst = 2 if names else worst
            continue
        print(f"{name}: {root.kind} files in {root.path}")
        for finding in _findings(dataset, root.path):
            print(f"  {marks[finding.level]} {finding.message}")
            worst = 2 if finding.level == "error" else worst
    return worst


def _findings(dataset: Dataset, root: Path) -> list[CheckResult]:
    """Return what a validation finds, and what a run would refuse in the index, where that is not
    said yet."""
    try:
        with naming(dataset, "validate"):
            results = dataset.validate(root)
    except PlaceBenchError as error:
        results = [CheckResult("error", str(error))]
    try:
        read_index(dataset, root)
    except PlaceBenchError as error:
        if str(error) not in [result.message for result in results]:
            results = [*results, CheckResult("error", str(error))]
    return results


def path_command(name: str, data_root: Path | None) -> None:
    """Print the folder a dataset is read from; raise DataError where there is none."""
    dataset = DATASETS.get(name)
    root = locate(dataset, data_root)
    if root is None:
        hint = (
            f"Make the demo with `place-bench data make-demo {name}`. " if dataset.has_demo else ""
        )
        raise DataError(f"dataset '{name}' is not on this machine.", f"{hint}{dataset.how_to_get}")
    print(root.path)


def make_demo_command(
    names: Sequence[str],
    out: Path | None,
    studies: int | None,
    size: int | None,
    seed: int,
    workers: int,
    *,
    force: bool = False,
) -> None:
    """Render demos into `out/<dataset>` or into the cache, and print the folders.

    Raise DataError where another demo is there already, unless `force`.
    """
    progress = default_progress()
    check_out(out) if out else check_cache()
    for name in names or [name for name, dataset in DATASETS.items() if dataset.has_demo]:
        dataset = DATASETS.get(name)
        if not dataset.has_demo:
            raise PlaceBenchError(f"dataset '{name}' has no demo.", dataset.how_to_get)
        root = demo_root(
            dataset,
            DemoSize(studies or 0, size or DemoSize.size, seed),
            out=out / name if out else None,
            workers=workers,
            progress=progress,
            force=force,
        )
        print(root.path)
