"""Append-only store of results, and the provenance each carries."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import io
import json
import logging
import os
import platform
import subprocess
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contracts import Predictions
from bench.errors import PlaceBenchError
from bench.files import read_file
from bench.machine import flush_to_disk
from bench.storage import held, write_atomically, writing

CHECKSUM = "checksum"
"""Field of a stored record: what all its other fields give."""
PREDICTIONS = "hash:predictions"
"""Field of a record: the hash of its file of predictions."""
_AGAIN = "Run the task again: the cell is made anew."
_MADE_AGAIN = "The next run of its task makes it again."
_NEEDED = frozenset(
    {
        "task",
        "backbone",
        "architecture",
        "backbone_settings",
        "label_fraction",
        "seed",
        "title",
        "evaluator_version",
        "hash:checkpoint",
    }
)
"""Fields without which a result can stand in no table."""
_DAMAGE = (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error, RecursionError)
_logger = logging.getLogger("place-bench")

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
        self._warned: set[str] = set()

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
        for line in self.lines():
            if line.fault:
                self._warn(line.fault)
            else:
                yield line.record

    def lines(self) -> Iterator[Line]:
        """Yield every line of the store, with what is wrong with it; raise PlaceBenchError where
        the store is no file."""
        if not os.path.lexists(self.path):
            return
        content = read_file(self.path, "table", PlaceBenchError)
        for number, line in enumerate(content.split(b"\n"), start=1):
            if line.strip():
                yield _parse(line, f"{self.path} line {number}")

    def _warn(self, sentence: str) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            _logger.warning("%s", sentence)

    def finished(self) -> dict[str, dict[str, Any]]:
        """Return the records whose predictions are at hand and sound; say what is wrong with the
        others, which have to be made again."""
        sound = {}
        for key, record in self.records().items():
            fault = self.fault(record)
            if fault:
                self._warn(f"{record.get('title', key)}: {fault}")
            else:
                sound[key] = record
        return sound

    def fault(self, record: Mapping[str, Any]) -> str:
        """Return what is wrong with the predictions of a record; "" where they are sound."""
        try:
            self._read_predictions(str(record["key"]), str(record.get(PREDICTIONS, "")))
        except PlaceBenchError as error:
            return str(error.args[0])
        return ""

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record with its checksum; it is on the disk when this returns."""
        sealed = {name: value for name, value in record.items() if name != CHECKSUM}
        sealed[CHECKSUM] = _checksum(sealed)
        line = json.dumps(sealed, ensure_ascii=False, sort_keys=True).encode() + b"\n"
        with (
            held(self.root / "locks" / "results.lock"),
            writing(self.path),
            self.path.open("a+b") as file,
        ):
            file.write(line if _ends_clean(file) else b"\n" + line)
            flush_to_disk(file)

    def save_predictions(self, key: str, predictions: Predictions) -> str:
        """Keep the per-image predictions of a cell (compressed, written to a temporary name first);
        return the hash of the file, which belongs into the record (`hash:predictions`)."""
        import numpy as np

        table = {
            f"table:{name}": _plain(column.to_numpy()) for name, column in predictions.table.items()
        }
        arrays = {f"array:{name}": value for name, value in predictions.arrays.items()}
        buffer = io.BytesIO()
        extra = np.array(json.dumps(dict(predictions.extra)))
        np.savez_compressed(buffer, extra=extra, **table, **arrays)  # type: ignore[arg-type]
        content = buffer.getvalue()
        write_atomically(self.predictions_path(key), content)
        return _hash(content)

    def load_predictions(self, key: str, expected: str = "") -> Predictions:
        """Return the kept predictions of a cell.

        `expected` is the hash that the cell's record names ("" in records that name none). Raise
        PlaceBenchError naming the file where it is missing, damaged or another.
        """
        import numpy as np
        import pandas as pd

        content = self._read_predictions(key, expected)
        path = self.predictions_path(key)
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                columns = {name: file[name] for name in file.files}
            table = {n.removeprefix("table:"): columns[n] for n in columns if n[:6] == "table:"}
            arrays = {n.removeprefix("array:"): columns[n] for n in columns if n[:6] == "array:"}
            extra = json.loads(str(columns["extra"]))
            frame = pd.DataFrame(table)
        except _DAMAGE as error:
            raise _damaged(path, f"{type(error).__name__}") from error
        absent = [name for name in ("image_id", "patient_id") if name not in frame]
        if absent:
            raise _damaged(path, f"it has no column {' and '.join(absent)}")
        return Predictions(frame, arrays, extra)

    def _read_predictions(self, key: str, expected: str) -> bytes:
        path = self.predictions_path(key)
        if not os.path.lexists(path):
            raise PlaceBenchError(f"the predictions of {key} are missing: {path}.", _AGAIN)
        content = read_file(path, "table", PlaceBenchError)
        if expected and _hash(content) != expected:
            raise _damaged(path, "it is not the file that the result was measured on")
        return content

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


@dataclass(frozen=True)
class Line:
    """One line of a store: its record, or the sentence that says why it is left out."""

    record: dict[str, Any]
    fault: str = ""


def _parse(line: bytes, where: str) -> Line:
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return Line({}, f"{where} is torn or damaged and is left out. {_MADE_AGAIN}")
    if not isinstance(record, dict):
        return Line({}, f"{where} holds no record and is left out.")
    checksum = record.pop(CHECKSUM, None)
    if checksum is not None and checksum != _checksum(record):
        return Line({}, f"{where} was changed after it was written and is left out. {_MADE_AGAIN}")
    if not isinstance(record.get("key"), str) or record.get("status") not in ("done", "failed"):
        return Line({}, f"{where} holds no result and is left out. {_MADE_AGAIN}")
    lacking = sorted(_NEEDED - record.keys()) if record["status"] == "done" else []
    if checksum is None and lacking and any(name in record for name in _NEEDED):
        return Line({}, f"{where} lacks {', '.join(lacking)} and is left out. {_MADE_AGAIN}")
    return Line(record)


def _checksum(record: Mapping[str, Any]) -> str:
    """Return a checksum of a record, whatever the order of its fields."""
    return _hash(json.dumps(record, ensure_ascii=False, sort_keys=True).encode())


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _damaged(path: Path, reason: str) -> PlaceBenchError:
    return PlaceBenchError(f"the predictions in {path} are damaged: {reason}.", _AGAIN)


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
