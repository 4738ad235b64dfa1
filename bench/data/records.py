"""The journal of the image cache: fixed, checked records, appended; mended only where damaged."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.core.checked import file_state

_LAYOUT = np.dtype(
    [
        ("key", "V16"),
        ("state", "V8"),
        ("content", "V16"),
        ("slot", "<i8"),
        ("version", "<u4"),
        ("pixels", "<u4"),
        ("pad", "V4"),
        ("check", "<u4"),
    ]
)
_WITH_CHECKSUM = 1
"""Version of a record that holds the checksum of its slot; earlier ones have zeros there."""


class Record(NamedTuple):
    """Item `key` in `state` on disk had `content`, which stands in `slot`, whose CRC-32 is
    `pixels` (None in a record of an earlier version)."""

    key: bytes
    state: bytes
    content: bytes
    slot: int
    pixels: int | None

    def pack(self) -> bytes:
        """Return the 64 bytes of the record, its own CRC-32 last."""
        version = 0 if self.pixels is None else _WITH_CHECKSUM
        fields = (
            self.key,
            self.state,
            self.content,
            self.slot.to_bytes(8, "little"),
            version.to_bytes(4, "little"),
            (self.pixels or 0).to_bytes(4, "little"),
            bytes(4),
        )
        body = b"".join(fields)
        return body + zlib.crc32(body).to_bytes(4, "little")


class JournalContent:
    """What a journal says: the last record of each item, the slot of each content, the checksum of
    each slot.

    `damaged` counts the whole records that were left out, `torn` says whether the last is cut short
    (by a kill, or because another process is just writing it). Slots in `lost` do not hold what was
    written: no record is found for them.
    """

    def __init__(self, records: Sequence[Record], damaged: int = 0, *, torn: bool = False) -> None:
        self.records = records
        self.damaged = damaged
        self.torn = torn
        self.lost: frozenset[int] = frozenset()
        self._by_key = {record.key: record for record in records}
        self.slots = {record.content: record.slot for record in records}
        self.checksums = {
            record.slot: record.pixels for record in records if record.pixels is not None
        }

    @property
    def unchecked(self) -> set[int]:
        """Return the slots of which no record has a checksum."""
        return set(self.slots.values()) - self.checksums.keys()

    @property
    def unsound(self) -> bool:
        """Say whether the journal or a slot has to be mended."""
        return bool(self.damaged or self.torn or self.lost or self.unchecked)

    def find(self, key: bytes, state: bytes) -> Record | None:
        """Return the record of an item, or None where there is none for this state of its files."""
        record = self._by_key.get(key)
        if record is None or record.state != state or record.slot in self.lost:
            return None
        return record

    def sound_slot(self, content: bytes) -> int | None:
        """Return the slot of a content that was decoded before and is not lost."""
        slot = self.slots.get(content)
        return None if slot in self.lost else slot


class Journal:
    """A journal file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> JournalContent:
        """Read the whole records; one that is damaged or cut short is left out (its item is decoded
        again)."""
        data = self.path.read_bytes() if file_state(self.path) else b""
        size = _LAYOUT.itemsize
        rows = np.frombuffer(data[: len(data) // size * size], _LAYOUT)
        starts = range(0, len(rows) * size, size)
        checks = [zlib.crc32(data[start : start + size - 4]) for start in starts]
        whole = rows[np.array(checks, np.uint32) == rows["check"]]
        names = ("key", "state", "content", "slot", "version", "pixels")
        columns = (whole[name].tolist() for name in names)
        records = [
            Record(key, state, content, slot, pixels if version == _WITH_CHECKSUM else None)
            for key, state, content, slot, version, pixels in zip(*columns, strict=True)
        ]
        return JournalContent(records, len(rows) - len(records), torn=len(data) % size > 0)

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
                """Write records; they are on the disk when this returns."""
                file.write(b"".join(record.pack() for record in records))
                file.flush()
                os.fsync(file.fileno())

            yield append
