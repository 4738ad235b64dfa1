"""Fill an image cache: hash, decode in threads, append pixels and then their records."""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import OnError, Progress
from bench.core.errors import DataError, PlaceBenchError
from bench.core.files import read_file
from bench.core.machine import flush_to_disk
from bench.data.faults import Skipped
from bench.data.records import Journal, JournalContent, Record

BATCH = 64
"""Decoded arrays that are put on disk together: what a kill costs at most, per worker thread."""


@dataclass(frozen=True)
class Item:
    """One array to decode: its id (for messages), the files it is made of, and other content it
    depends on."""

    id: str
    paths: tuple[str, ...]
    extra: bytes = b""


Decode = Callable[[int, tuple[bytes, ...]], np.ndarray]
"""(item number, content of its files) -> uint8 array of the store's shape; raises DataError for a
corrupt file."""


class Inventory:
    """What is known of every item: its key, its state on disk, its record; `missing` lists those to
    hash or decode."""

    def __init__(
        self, items: Sequence[Item], journal: JournalContent, states: list[bytes] | None = None
    ) -> None:
        self.items = items
        self.journal = journal
        self.keys = [_item_key(item) for item in items]
        self.states = states or [_state(item.paths) for item in items]
        self.records = [
            journal.find(key, state) for key, state in zip(self.keys, self.states, strict=True)
        ]
        self.missing = [number for number, record in enumerate(self.records) if record is None]

    @property
    def slots(self) -> set[int]:
        """Return the slots that the items stand in."""
        return {record.slot for record in self.records if record is not None}

    def leave_out(self, lost: frozenset[int]) -> None:
        """Count the items that stand in `lost` slots among the missing."""
        self.journal.lost = lost
        self.records = [
            None if record is None or record.slot in lost else record for record in self.records
        ]
        self.missing = [number for number, record in enumerate(self.records) if record is None]


def _item_key(item: Item) -> bytes:
    """Return a hash of what an item is made of: the names of its files and its other content."""
    names = "\0".join(item.paths).encode()
    return hashlib.blake2b(names + b"\0\0" + item.extra, digest_size=16).digest()


def _state(paths: tuple[str, ...]) -> bytes:
    """Return the sizes and modification times of files as 8 bytes; a missing file has a state of
    its own."""
    parts = []
    for path in paths:
        try:
            # Ten thousand of these open a store; Path.stat doubles the time.
            info = os.stat(path)  # noqa: PTH116
            parts.append(f"{info.st_size} {info.st_mtime_ns}")
        except (OSError, ValueError):  # ValueError: a null character in the name
            parts.append("missing")
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).digest()


class Filler:
    """Hash, decode and append the missing items of one store; the lock is held."""

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, ...],
        inventory: Inventory,
        decode: Decode,
        on_error: OnError,
    ) -> None:
        self.folder = folder
        self.shape = shape
        self.inventory = inventory
        self.decode = decode
        self.on_error = on_error
        self.slot_bytes = int(np.prod(shape))
        self.slots = dict(inventory.journal.slots)
        self.checksums = inventory.journal.checksums | {0: zlib.crc32(bytes(self.slot_bytes))}
        written = (folder / "pixels.u8").stat().st_size // self.slot_bytes
        # behind all that was ever written: where records are lost, a reader may hold their slots
        self.next_slot = max(1, written, max(self.slots.values(), default=0) + 1)
        self.written: set[bytes] = set()
        self.skipped: list[Skipped] = []

    def fill(self, workers: int, progress: Progress, name: str) -> tuple[Skipped, ...]:
        """Put every missing item on disk; return those skipped. Raise DataError for a corrupt one
        where errors stop."""
        missing = self.inventory.missing
        self._check_space(len(missing))
        journal = Journal(self.folder / "records.bin")
        with (
            progress.track(f"decoding {name}", total=len(missing)) as advance,
            (self.folder / "pixels.u8").open("r+b") as pixels,
            journal.appending() as append,
        ):
            for batch in _batched_results(self._read, missing, workers):
                self._commit(batch, pixels, append)
                advance(len(batch))
        return tuple(self.skipped)

    def _check_space(self, count: int) -> None:
        needed = count * self.slot_bytes
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            message = (
                f"the cache of {count} images needs {needed / 1e9:.1f} GB in {self.folder}, "
                f"{free / 1e9:.1f} GB are free."
            )
            raise PlaceBenchError(
                message, "Free some space, or set PLACE_BENCH_CACHE to another disk."
            )

    def _read(self, number: int) -> tuple[int, bytes, np.ndarray | None, DataError | None]:
        """Hash one item and decode it unless its content is known (in a thread)."""
        item = self.inventory.items[number]
        try:
            blobs = _blobs(item)
            content = _content(blobs, item.extra)
            if self.inventory.journal.sound_slot(content) is not None:
                return number, content, None, None
            return number, content, self._decoded(number, blobs), None
        except DataError as error:
            return number, b"", None, error

    def _decoded(self, number: int, blobs: tuple[bytes, ...]) -> np.ndarray:
        item = self.inventory.items[number]
        try:
            pixels = self.decode(number, blobs)
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"image '{item.id}' ({_first(item)}) does not decode: "
                f"{type(error).__name__}: {error}."
            ) from error
        if pixels.shape != self.shape or pixels.dtype != np.uint8:
            raise DataError(
                f"image '{item.id}' ({_first(item)}) decodes to {pixels.dtype} "
                f"{list(pixels.shape)}; uint8 {list(self.shape)} was expected."
            )
        return pixels

    def _commit(
        self, batch: list[Any], pixels: Any, append: Callable[[list[Record]], None]
    ) -> None:
        records = []
        for number, content, decoded, error in batch:
            if error is None:
                slot = self._slot(content, decoded, pixels)
                key = self.inventory.keys[number]
                state = self.inventory.states[number]
                records.append(Record(key, state, content, slot, self.checksums[slot]))
            elif self.on_error == "skip":
                item = self.inventory.items[number]
                self.skipped.append(Skipped(item.id, _first(item), str(error)))
        flush_to_disk(pixels)
        append(records)
        failed = [error for *_, error in batch if error is not None]
        if failed and self.on_error == "stop":
            raise failed[0]

    def _slot(self, content: bytes, decoded: np.ndarray | None, pixels: Any) -> int:
        """Return where a content stands, its pixels written; in its old slot where that is lost."""
        if decoded is None or content in self.written:
            return self.slots[content]
        self.written.add(content)
        if not decoded.any():
            self.slots[content] = 0
            return 0
        slot = self.slots.get(content) or self.next_slot
        self.next_slot = max(self.next_slot, slot + 1)
        array = np.ascontiguousarray(decoded)
        pixels.seek(slot * self.slot_bytes)
        pixels.write(array.data)
        self.slots[content] = slot
        self.checksums[slot] = zlib.crc32(array.data)
        return slot


def _blobs(item: Item) -> tuple[bytes, ...]:
    """Return the content of an item's files; raise DataError naming item and file where one does
    not read."""
    try:
        return tuple(read_file(path, "image") for path in item.paths)
    except DataError as error:
        raise DataError(f"image '{item.id}': {error.args[0]}", error.hint) from error


def _content(blobs: tuple[bytes, ...], extra: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for content in (*blobs, extra):
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()


def _first(item: Item) -> str:
    return item.paths[0] if item.paths else "no file"


def _batched_results(
    work: Callable[[int], Any], numbers: Sequence[int], workers: int
) -> Iterator[list[Any]]:
    """Run `work` in threads and yield finished results in batches, keeping at most two batches of
    them in memory."""
    pool = ThreadPoolExecutor(max(1, workers))
    waiting: set[Future[Any]] = set()
    ready: list[Any] = []
    source = iter(numbers)
    try:
        while True:
            waiting.update(
                pool.submit(work, number) for number in islice(source, BATCH - len(waiting))
            )
            if not waiting:
                break
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            ready.extend(future.result() for future in done)
            if len(ready) >= BATCH:
                yield ready
                ready = []
        if ready:
            yield ready
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
