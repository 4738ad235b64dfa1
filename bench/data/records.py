"""The journal of the image cache: fixed, checked records, appended and never rewritten."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

_LAYOUT = np.dtype(
    [
        ("key", "V16"),
        ("state", "V8"),
        ("content", "V16"),
        ("slot", "<i8"),
        ("pad", "V12"),
        ("check", "<u4"),
    ]
)


class Record(NamedTuple):
    """Item `key` in `state` on disk had `content`, which stands in `slot`."""

    key: bytes
    state: bytes
    content: bytes
    slot: int

    def pack(self) -> bytes:
        """Return the 64 bytes of the record, its CRC-32 last."""
        body = self.key + self.state + self.content + self.slot.to_bytes(8, "little") + bytes(12)
        return body + zlib.crc32(body).to_bytes(4, "little")


class Known:
    """What a journal says: the last record of each item, and the slot of each content."""

    def __init__(self, records: list[Record]) -> None:
        self._by_key = {record.key: record for record in records}
        self.slots = {record.content: record.slot for record in records}

    def find(self, key: bytes, state: bytes) -> Record | None:
        """Return the record of an item, or None where there is none for this state of its files."""
        record = self._by_key.get(key)
        return record if record is not None and record.state == state else None


class Records:
    """A journal file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Known:
        """Read the whole records; one that is cut short or damaged is left out (its item is decoded
        again)."""
        data = self.path.read_bytes() if self.path.is_file() else b""
        size = _LAYOUT.itemsize
        rows = np.frombuffer(data[: len(data) // size * size], _LAYOUT)
        sound = [
            zlib.crc32(data[start : start + size - 4]) for start in range(0, len(rows) * size, size)
        ] == rows["check"]
        rows = rows[sound] if len(rows) else rows
        columns = (rows[name].tolist() for name in ("key", "state", "content", "slot"))
        return Known([Record(*row) for row in zip(*columns, strict=True)])

    @contextmanager
    def appending(self) -> Iterator[Callable[[list[Record]], None]]:
        """Open the journal for appending; what an interrupted writer left of a record is cut off
        first."""
        with self.path.open("ab") as file:
            whole = file.tell() // _LAYOUT.itemsize * _LAYOUT.itemsize
            if whole != file.tell():
                file.truncate(whole)
                file.seek(whole)

            def append(records: list[Record]) -> None:
                file.write(b"".join(record.pack() for record in records))
                file.flush()
                os.fsync(file.fileno())

            yield append
