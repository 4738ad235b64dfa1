"""Append-only store of results, and the provenance each carries."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.cells.prediction_files import content_hash, pack_predictions, unpack_predictions
from bench.cells.result_lines import DamagedLine, Lines, pack_line, read_lines
from bench.contracts import Predictions
from bench.core.checked import Checked, file_state
from bench.core.errors import PlaceBenchError
from bench.core.files import read_file
from bench.core.machine import flush_to_disk
from bench.core.naming import SCORED
from bench.core.storage import held, sweep, write_atomically, writing

PREDICTIONS = "hash:predictions"
"""Field of a record: the hash of its file of predictions."""
AGAIN = "Run the task again: the cell is made again."
_SOUND = Checked()

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


def is_submitted(record: Mapping[str, Any]) -> bool:
    """Say whether a result is of predictions that were made elsewhere."""
    return str(record.get("backbone", "")).startswith(f"{SCORED}:")


def again(record: Mapping[str, Any]) -> str:
    """Return how a result whose predictions are damaged is made again."""
    return "Score its file again, with --force." if is_submitted(record) else AGAIN


class ResultStore:
    """Results of one folder: `results.jsonl` (one flat record a line, the last of a key counts) and
    `predictions/<key>.npz`.

    Several processes may use one folder: a record is appended under a lock in one write,
    predictions are renamed into place before it, and `claim` gives a cell to one process at a time.
    A record carries its own checksum and the hash of its predictions. What was changed since does
    not count, and is named once (`warn`).
    """

    def __init__(self, root: Path, *, warn: bool = True) -> None:
        self.root = Path(root)
        self.path = self.root / "results.jsonl"
        self.warn = warn

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the newest finished record per key."""
        lines = self._lines().sound
        return {line.key: line.record for line in lines if line.record["status"] == "done"}

    def failures(self) -> dict[str, dict[str, Any]]:
        """Return the newest record of every key whose last run failed."""
        last = {line.key: line.record for line in self._lines().sound}
        return {key: record for key, record in last.items() if record["status"] == "failed"}

    def damaged(self) -> list[DamagedLine]:
        """Return the lines that do not count, without those whose key has a sound later one."""
        return self._lines().damaged

    def _lines(self) -> Lines:
        lines = read_lines(self.path)
        for line in lines.damaged if self.warn else ():
            _warn(line.sentence, line.content)
        return lines

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record with its checksum; it is on the disk when this returns."""
        line = pack_line(record)
        with (
            held(self.root / "locks" / "results.lock"),
            writing(self.path),
            self.path.open("a+b") as file,
        ):
            file.write(line if _ends_clean(file) else b"\n" + line)
            flush_to_disk(file)

    def finish(self, record: Mapping[str, Any], predictions: Predictions) -> dict[str, Any]:
        """Keep the predictions of a cell, then its record with their hash; return that record."""
        digest = self.save_predictions(str(record["key"]), predictions)
        finished = {**record, PREDICTIONS: digest}
        self.append(finished)
        return finished

    def save_predictions(self, key: str, predictions: Predictions) -> str:
        """Keep the per-image predictions of a cell (compressed) and return the hash of the file."""
        content = pack_predictions(predictions)
        write_atomically(self.predictions_path(key), content)
        return content_hash(content)

    def load_predictions(self, result: str | Mapping[str, Any]) -> Predictions:
        """Return the kept predictions of a result, given as its record or its key.

        Raise PlaceBenchError where they are gone, damaged, or not those that the record was made
        from.
        """
        record = self.records().get(result, {"key": result}) if isinstance(result, str) else result
        path = self.predictions_path(str(record["key"]))
        if not path.exists():
            raise PlaceBenchError(
                f"the predictions of {record['key']} are missing: {path}.", again(record)
            )
        content = read_file(path, "table", PlaceBenchError)
        expected = record.get(PREDICTIONS)
        if expected and content_hash(content) != expected:
            raise PlaceBenchError(
                f"predictions {path} are not those of their record.", again(record)
            )
        return unpack_predictions(content, path)

    def fault(self, record: Mapping[str, Any]) -> str:
        """Return what is wrong with the predictions of a result, "" where nothing is; a file that
        does not change is read once in a process."""
        path = self.predictions_path(str(record["key"]))
        state = file_state(path)
        number = int(str(record.get(PREDICTIONS) or "0"), 16)
        if state and number in _SOUND.parts(path, state):
            return ""
        try:
            self.load_predictions(record)
        except PlaceBenchError as error:
            return str(error.args[0])
        if state:
            _SOUND.add(path, state, frozenset({number}))
        return ""

    def finished(self, keys: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Return the records (of `keys`, else all) whose predictions are whole."""
        records = self.records()
        if keys is not None:
            records = {key: records[key] for key in keys if key in records}
        return {key: record for key, record in records.items() if not self.fault(record)}

    def predictions_path(self, key: str) -> Path:
        """Return where the predictions of a cell are kept."""
        return self.root / "predictions" / f"{key}.npz"

    def work_dir(self, key: str) -> Path:
        """Return the folder a running cell keeps its checkpoints in."""
        return self.root / "work" / key

    def tidy(self) -> None:
        """Remove what dead processes left: temporary files, and work folders of finished cells."""
        sweep(self.root / "predictions", self.root / "leaderboards")
        finished = self.records()
        for folder in (self.root / "work").glob("*"):
            if folder.name not in finished:
                continue
            with self.claim(folder.name, wait=False) as ours:
                if ours:
                    shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def claim(self, key: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold the cell `key`; yields False where another process holds it and `wait` is off."""
        with held(self.root / "locks" / f"{key}.lock", wait=wait) as ours:
            yield ours


@functools.cache
def _warn(sentence: str, content: bytes) -> None:
    """Log what is wrong with a line of this content, once in a process."""
    logging.getLogger("place-bench").warning("%s", sentence)


def _ends_clean(file: Any) -> bool:
    file.seek(0, os.SEEK_END)
    if file.tell() == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


@functools.cache
def provenance() -> dict[str, str]:
    """Return git revision, package versions, interpreter and platform of this process."""
    facts = {
        "git_revision": git_revision(),
        "version:python": platform.python_version(),
        "platform": platform.machine(),
    }
    for package in _PACKAGES:
        try:
            facts[f"version:{package}"] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[f"version:{package}"] = "absent"
    return facts


@functools.cache
def git_revision() -> str:
    """Return the commit of the checkout this package runs from, '+changes' where it is dirty,
    'unknown' outside git."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        """Return what git prints for a command on this checkout."""
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
