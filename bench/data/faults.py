"""Faults of single rows, images and reports: each stops the run, or is left out and listed."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from bench.contracts import OnError, Skipped
from bench.core.errors import DataError
from bench.core.storage import write_atomically

_list: ContextVar[list[Skipped] | None] = ContextVar("skipped", default=None)


@contextmanager
def collecting(on_error: OnError) -> Iterator[list[Skipped]]:
    """Decide what `fault` does inside: stop ("stop"), or add to the list that is yielded
    ("skip")."""
    faults: list[Skipped] = []
    token = _list.set(faults if on_error == "skip" else None)
    try:
        yield faults
    finally:
        _list.reset(token)


def fault(error: DataError, name: str = "", path: Path | str = "") -> None:
    """Stop with `error`; where faults are skipped, list it and return, so that the caller goes on
    without the row.

    `name` is an `image_id`, `study_id` or `path` of the index: every image of that name is left
    out, whatever other rows say of it. `path` is the file at fault.
    """
    faults = _list.get()
    if faults is None:
        raise error
    faults.append(Skipped(name, str(path), str(error.args[0])))


def write_list(skipped: Sequence[Skipped], folder: Path, dataset: str) -> Path:
    """Write what was left out as `<dataset>-<hash>.csv` (image_id, file, reason) and return its
    path; the same list has the same name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image_id", "file", "reason"))
    writer.writerows((item.id, item.path, item.reason) for item in skipped)
    digest = hashlib.blake2b(text.getvalue().encode(), digest_size=4).hexdigest()
    target = folder / f"{dataset}-{digest}.csv"
    if not target.is_file():
        write_atomically(target, text.getvalue())
    return target
