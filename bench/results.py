"""Append-only store of results, and the provenance each carries."""

from __future__ import annotations

import functools
import importlib.metadata
import io
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.contracts import Predictions
from bench.errors import PlaceBenchError
from bench.machine import flush_to_disk
from bench.storage import held, write_atomically, writing

_PACKAGES = (
    "torch",
    "timm",
    "transformers",
    "numpy",
    "pandas",
    "onedl-mmengine",
    "onedl-mmsegmentation",
    "pydicom",
    "place-bench",
)


class ResultStore:
    """Results of one folder: `results.jsonl` (one flat record a line, the last of a key counts) and
    `predictions/<key>.npz`.

    Several processes may use one folder: a record is appended under a lock in one write,
    predictions are renamed into place before it, and `claim` gives a cell to one process at a time.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.path = self.root / "results.jsonl"

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the newest finished record per key."""
        found = {}
        for record in self._lines():
            if record["status"] == "done":
                found[record["key"]] = record
        return found

    def failures(self) -> dict[str, dict[str, Any]]:
        """Return the newest record of every key whose last run failed."""
        last = {record["key"]: record for record in self._lines()}
        return {key: record for key, record in last.items() if record["status"] == "failed"}

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self.path.is_file():
            return
        for number, line in enumerate(self.path.read_text(encoding="utf-8").split("\n"), start=1):
            record = _parse(line, self.path, number)
            if record:
                yield record

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record; it is on the disk when this returns."""
        line = json.dumps(record, ensure_ascii=False, sort_keys=True).encode() + b"\n"
        with (
            held(self.root / "locks" / "results.lock"),
            writing(self.path),
            self.path.open("a+b") as file,
        ):
            file.write(line if _ends_clean(file) else b"\n" + line)
            flush_to_disk(file)

    def save_predictions(self, key: str, predictions: Predictions) -> Path:
        """Keep the per-image predictions of a cell (compressed, written to a temporary name first)."""
        import numpy as np

        table = {
            f"table:{name}": _plain(column.to_numpy()) for name, column in predictions.table.items()
        }
        arrays = {f"array:{name}": value for name, value in predictions.arrays.items()}
        buffer = io.BytesIO()
        extra = np.array(json.dumps(dict(predictions.extra)))
        np.savez_compressed(buffer, extra=extra, **table, **arrays)  # type: ignore[arg-type]
        target = self.predictions_path(key)
        write_atomically(target, buffer.getvalue())
        return target

    def load_predictions(self, key: str) -> Predictions:
        """Return the kept predictions of a cell; raise PlaceBenchError where they are gone."""
        import numpy as np
        import pandas as pd

        path = self.predictions_path(key)
        if not path.is_file():
            raise PlaceBenchError(
                f"the predictions of {key} are missing: {path}.",
                "Run the task with --force to make them again.",
            )
        with np.load(path, allow_pickle=False) as file:
            table = pd.DataFrame(
                {n.removeprefix("table:"): file[n] for n in file.files if n.startswith("table:")}
            )
            arrays = {
                n.removeprefix("array:"): file[n] for n in file.files if n.startswith("array:")
            }
            return Predictions(table, arrays, json.loads(str(file["extra"])))

    def predictions_path(self, key: str) -> Path:
        """Return where the predictions of a cell are kept."""
        return self.root / "predictions" / f"{key}.npz"

    def work_dir(self, key: str) -> Path:
        """Return the folder a running cell keeps its checkpoints in."""
        return self.root / "work" / key

    @contextmanager
    def claim(self, key: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold the cell `key`; yields False where another process holds it and `wait` is off."""
        with held(self.root / "locks" / f"{key}.lock", wait=wait) as ours:
            yield ours


def _parse(line: str, path: Path, number: int) -> dict[str, Any] | None:
    if not line.strip():
        return None
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        import logging

        logging.getLogger("place-bench").warning(
            "%s line %d is torn (a killed run) and is left out.", path, number
        )
        return None
    return record if isinstance(record, dict) and {"key", "status"} <= record.keys() else None


def _ends_clean(file: Any) -> bool:
    file.seek(0, os.SEEK_END)
    if file.tell() == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _plain(column: Any) -> Any:
    return column.astype(str) if column.dtype.kind not in "biuf" else column


@functools.cache
def provenance() -> dict[str, str]:
    """Return git revision, package versions, interpreter and platform of this process."""
    found = {
        "git_revision": git_revision(),
        "version:python": platform.python_version(),
        "platform": platform.machine(),
    }
    for package in _PACKAGES:
        try:
            found[f"version:{package}"] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[f"version:{package}"] = "absent"
    return found


@functools.cache
def git_revision() -> str:
    """Return the commit of the checkout this package runs from, '+changes' where it is dirty,
    'unknown' outside git."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
