"""The lines of a results file: each carries a version and a checksum, so that one which was changed
or torn is told from one that was written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.errors import StorageError
from bench.core.files import read_file

_MADE_AGAIN = "The next run of its task makes it again."
_VERSION_FIELD = "version:record"
_CHECK_FIELD = "checksum"
_VERSION = 2
"""Version of a record; version 1 had neither this field nor a checksum."""
_NUMBER = (int, float)
_FIRST_VERSION: Mapping[str, type | tuple[type, ...]] = {
    "task": str,
    "title": str,
    "backbone": str,
    "architecture": str,
    "backbone_settings": dict,
    "label_fraction": _NUMBER,
    "hash:checkpoint": str,
    "evaluator_version": int,
}
"""What a finished record of version 1 has to hold, since no checksum speaks for it."""
_MEASURED = ("metric:", "low:", "high:")


@dataclass(frozen=True)
class SoundLine:
    """A record as it was written."""

    number: int
    key: str
    record: dict[str, Any]


@dataclass(frozen=True)
class DamagedLine:
    """A line that does not count, and why; `record` is what can be read of it, if anything."""

    number: int
    sentence: str
    content: bytes
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lines:
    """A results file: its sound lines in order, and the damaged ones that no later line of the same
    key stands for."""

    sound: list[SoundLine]
    damaged: list[DamagedLine]


def pack_line(record: Mapping[str, Any]) -> bytes:
    """Return the line of a record, its version and checksum added."""
    facts = {name: value for name, value in record.items() if name != _CHECK_FIELD}
    facts[_VERSION_FIELD] = _VERSION
    facts[_CHECK_FIELD] = record_checksum(facts)
    return _text(facts).encode() + b"\n"


def record_checksum(record: Mapping[str, Any]) -> str:
    """Return the checksum of a record, that field itself left out."""
    facts = {name: value for name, value in record.items() if name != _CHECK_FIELD}
    return hashlib.blake2b(_text(facts).encode(), digest_size=16).hexdigest()


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, sort_keys=True)


def read_lines(path: Path) -> Lines:
    """Return the lines of a results file, none where it is not there; raise StorageError where
    something else stands in its place."""
    if not os.path.lexists(path):
        return Lines([], [])
    content = read_file(path, "table", StorageError)
    lines = [
        _read_line(number, line, path)
        for number, line in enumerate(content.split(b"\n"), start=1)
        if line.strip()
    ]
    sound = [line for line in lines if isinstance(line, SoundLine)]
    last = {line.key: line.number for line in sound}
    damaged = [
        line
        for line in lines
        if isinstance(line, DamagedLine) and line.number > last.get(str(line.record.get("key")), 0)
    ]
    return Lines(sound, damaged)


def _read_line(number: int, line: bytes, path: Path) -> SoundLine | DamagedLine:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # torn, no UTF-8, or nested without an end
        return _damaged(number, line, path, "is torn (a killed run) or damaged")
    if not isinstance(record, dict):
        return _damaged(number, line, path, "is not a record")
    fault = _fault(record)
    if fault:
        title = record.get("title") or record.get("key")
        return _damaged(number, line, path, f"({title}) {fault}", record)
    return SoundLine(number, record["key"], record)


def _damaged(
    number: int,
    line: bytes,
    path: Path,
    fault: str,
    record: Mapping[str, Any] | None = None,
) -> DamagedLine:
    sentence = f"{path} line {number} {fault} and is left out. {_MADE_AGAIN}"
    return DamagedLine(number, sentence, line, record or {})


def _fault(record: Mapping[str, Any]) -> str:
    """Return what is wrong with a record, "" where nothing is."""
    if not isinstance(record.get("key"), str):
        return "has no key that is text"
    if record.get("status") not in ("done", "failed"):
        return "has neither the status done nor failed"
    if _VERSION_FIELD in record or _CHECK_FIELD in record:
        changed = record.get(_CHECK_FIELD) != record_checksum(record)
        return "was changed after it was written" if changed else ""
    return _first_version_fault(record) if record["status"] == "done" else ""


def _first_version_fault(record: Mapping[str, Any]) -> str:
    for name, expected in _FIRST_VERSION.items():
        if not isinstance(record.get(name), expected):
            return f"lacks '{name}', or holds something else there"
    for name, value in record.items():
        if name.startswith(_MEASURED) and not isinstance(value, (*_NUMBER, type(None))):
            return f"has no number in '{name}'"
    return ""
