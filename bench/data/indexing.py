"""The index of a dataset as a run uses it: read, checked the same way for every dataset, faults
left out and listed."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contracts import Annotation, Dataset, OnError, Progress
from bench.core.errors import DataError, PlaceBenchError
from bench.data.faults import Skipped, collecting
from bench.data.index_checks import checked
from bench.data.notes import note, notes

if TYPE_CHECKING:
    import pandas as pd

SAID = 4
"""How many counts that disagree a run says in full."""
_NAMES = ("image_id", "study_id", "path")
"""Columns of an index by which a fault names what it leaves out."""


def read_index(
    dataset: Dataset, root: Path, on_error: OnError = "stop", progress: Progress | None = None
) -> tuple[pd.DataFrame, tuple[Skipped, ...]]:
    """Return the index of a dataset and what was left out of it.

    Every image has an id of its own, a patient, and a path inside `root`, in the spelling it has on
    disk. With `on_error="skip"` what is at fault is listed and left out; else the first fault
    raises DataError. What the dataset notes beside its index (`bench.data.notes`) is said, and so
    are counts other than the published ones.
    """
    root = Path(root)
    with collecting(on_error) as faults:
        with naming(dataset, "index"):
            made = dataset.index(root)
        index = checked(dataset, made, root)
    left = index[~_at_fault(index, faults)].reset_index(drop=True)
    if left.empty:
        reason = f", e.g. {faults[0].path}: {faults[0].reason}" if faults else "."
        raise DataError(f"no image is left: {len(faults)} were skipped{reason}", "Check the data.")
    noted = notes(made)
    note(left, left_out=noted.left_out, unmatched=noted.unmatched, facts=noted.facts)
    if progress is not None:
        _say(dataset, left, root, progress)
    return left, tuple(_per_image(faults, index))


@contextmanager
def naming(
    dataset: Dataset, method: str, annotation: Annotation[Any] | None = None
) -> Iterator[None]:
    """Turn what `dataset.<method>` raises unforeseen into one sentence with the file and line that
    raised it; likewise what `annotation.<method>` raises on a dataset."""
    try:
        yield
    except PlaceBenchError:
        raise
    except Exception as error:  # a plug-in's code raises anything; where it did is what helps
        frames = traceback.extract_tb(error.__traceback__)
        homes = {_file_of(dataset)}
        if annotation is not None:
            homes.add(_file_of(annotation))
        inside = [frame for frame in frames if frame.filename in homes]
        frame = (inside or frames)[-1]
        reason = " ".join(str(error).split())[:200].rstrip(".")
        title = f"dataset '{dataset.name}'"
        title += f", annotation '{annotation.name}'" if annotation is not None else ""
        raise DataError(
            f"{title}: {method}() fails in {frame.filename}, line {frame.lineno}: "
            f"{type(error).__name__}: {reason}.",
            "Mend that line, or the file it reads.",
        ) from error


def _file_of(declared: Dataset | Annotation[Any]) -> str:
    import inspect

    return inspect.getsourcefile(type(declared)) or ""


def _at_fault(index: pd.DataFrame, faults: Sequence[Skipped]) -> pd.Series:
    import pandas as pd

    names = {fault.id for fault in faults if fault.id}
    wrong = pd.Series(False, index=index.index)
    for column in _NAMES:
        if names and column in index:
            wrong |= index[column].astype(str).isin(names)
    return wrong


def _per_image(faults: Sequence[Skipped], index: pd.DataFrame) -> Iterator[Skipped]:
    """Yield one entry per image that a fault leaves out; a fault whose image is not in the index
    any more stands for itself."""
    if not faults:
        return
    images: dict[str, list[str]] = defaultdict(list)
    for column in [name for name in _NAMES if name in index]:
        for name, image in zip(index[column].astype(str), index["image_id"], strict=True):
            images[name].append(str(image))
    seen = set()
    for skipped in faults:
        for image in dict.fromkeys(images.get(skipped.id, [skipped.id])):
            if (image, skipped.reason) not in seen:
                seen.add((image, skipped.reason))
                yield replace(skipped, id=image)


def _say(dataset: Dataset, index: pd.DataFrame, root: Path, progress: Progress) -> None:
    noted = notes(index)
    for title, counts in (("left out", noted.left_out), ("without counterpart", noted.unmatched)):
        parts = [f"{count} {reason}" for reason, count in counts.items() if count]
        if parts:
            progress.say(f"{dataset.name}: {title}: {', '.join(parts)}.")
    with naming(dataset, "counts"):
        findings = dataset.counts(index, root)
    messages = [finding.message for finding in findings if finding.level != "ok"]
    for message in messages[:SAID]:
        progress.say(f"{dataset.name}: {message}")
    if len(messages) > SAID:
        rest = len(messages) - SAID
        progress.say(f"{dataset.name}: {rest} more: place-bench data verify {dataset.name}")
