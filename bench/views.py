"""Which results a written view was made from, so that a stale or missing one is made again by
whoever comes next, and only then. Imports nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.cell import digest
from bench.results import ResultStore
from bench.storage import write_atomically

FILE = ".views.json"
"""Beside the views: per view, the state of the store it shows and the hashes of its files."""
VERSION = 1
"""Raise when the same results give another page or picture."""


def state_of(store: ResultStore, task: str) -> str:
    """Return a hash of everything a task's views show: its results and its failed cells."""
    results = [record for record in store.records().values() if record.get("task") == task]
    failed = [record for record in store.failures().values() if record.get("task") == task]
    return digest([VERSION, results, failed])


def is_fresh(folder: Path, view: str, state: str) -> bool:
    """Tell whether a view was made from this state and its files are as they were written."""
    entry = _notes(folder).get(view)
    if not isinstance(entry, dict) or entry.get("state") != state:
        return False
    files = entry.get("files")
    return isinstance(files, dict) and all(
        _file_state(folder / name) == kept for name, kept in files.items()
    )


def note(folder: Path, view: str, state: str, files: Iterable[Path]) -> None:
    """Remember that a view was made from this state as these files."""
    notes = _notes(folder)
    notes[view] = {"state": state, "files": {path.name: _file_state(path) for path in files}}
    write_atomically(folder / FILE, json.dumps(notes, sort_keys=True, indent=1) + "\n")


def _notes(folder: Path) -> dict[str, Any]:
    try:
        notes = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # not made yet, or damaged: every view is made again
    return notes if isinstance(notes, dict) else {}


def _file_state(path: Path) -> str:
    """Return size and content of a view as a hash; "" where it is not there."""
    return digest(path.read_bytes().hex()) if path.is_file() else ""
