"""A flat uint8 memory map of decoded images: decoded once, keyed by content and preprocessing, safe
when interrupted.

On disk, under `cache_home()/images/<name>-<key>/`, where the key stands for the preprocessing:
- `pixels.u8`: slots of one decoded array each, appended; slot 0 is all zero and shared by every
  all-zero array (empty masks);
- `records.bin`: 64-byte checked records, appended *after* their pixels are on disk: which item, in
  which state on disk (sizes and modification times), had which content and stands in which slot.
  The last record of an item counts; half a record is ignored;
- `about.json`: the preprocessing in words; `lock`: held by the one process that appends.

Slots are never rewritten, so readers need no lock. A file whose size or time changed is hashed
again; only content never seen before is decoded. Threads decode (the decoders release the GIL), so
nothing has to be picklable and no worker outlives a kill.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from bench.contracts import OnError, Progress
from bench.data.filling import Decode, Filler, Item, Plan, Skipped
from bench.data.records import Records
from bench.errors import DataError, NotMadeError, PlaceBenchError
from bench.paths import cache_home
from bench.progress import Silent

__all__ = ["Decode", "Item", "Skipped", "Store", "data_hash", "open_store"]


@dataclass(frozen=True)
class Store:
    """Decoded arrays: item i is `pixels[positions[i]]` (read-only memory map); -1 marks a skipped
    item.

    `digests[i]` is the hash of the item's content (files and extra), "" where skipped.
    """

    folder: Path
    ids: tuple[str, ...]
    pixels: np.ndarray
    positions: np.ndarray
    digests: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()

    def data_hash(self) -> str:
        """Return one hash over the (id, content) pairs, whatever their order; decodes nothing."""
        return data_hash(self)


def data_hash(*stores: Store) -> str:
    """Return a hash over the sorted (id, content) pairs of stores; decodes nothing and imports no
    torch."""
    digest = hashlib.blake2b(digest_size=16)
    for store in stores:
        digest.update(json.dumps(sorted(zip(store.ids, store.digests, strict=True))).encode())
    return digest.hexdigest()


def open_store(
    items: Sequence[Item],
    decode: Decode,
    shape: tuple[int, ...],
    *,
    name: str,
    key_parts: dict[str, Any],
    workers: int = 2,
    progress: Progress | None = None,
    on_error: OnError = "stop",
    make: bool = True,
) -> Store:
    """Return the decoded `items`, decoding those that are not in the cache yet.

    `key_parts` name the preprocessing: other parts, another store. Safe to kill and to run twice at
    once. Raise DataError naming the file of a corrupt item (`on_error="stop"`), or list it in
    `Store.skipped` ("skip"); without `make` NotMadeError where some are not decoded.
    """
    folder = _folder(name, shape, key_parts, make)
    plan = Plan(items, Records(folder / "records.bin").load())
    skipped: tuple[Skipped, ...] = ()
    if plan.missing and not make:
        raise NotMadeError(f"{len(plan.missing)} of {len(items)} images are decoded first")
    if plan.missing:
        with _exclusive(folder, progress or Silent()):
            plan = Plan(items, Records(folder / "records.bin").load())
            skipped = Filler(folder, shape, plan, decode, on_error).fill(
                workers, progress or Silent(), name
            )
        plan = Plan(items, Records(folder / "records.bin").load(), plan.states)
    return _assemble(folder, shape, items, plan, skipped)


def begun(name: str) -> bool:
    """Say whether there is a store of this name, whatever its preprocessing."""
    return any((cache_home() / "images").glob(f"{glob.escape(name)}-*/about.json"))


def _folder(name: str, shape: tuple[int, ...], key_parts: dict[str, Any], make: bool) -> Path:
    about = json.dumps({"shape": list(shape), **key_parts}, sort_keys=True)
    key = hashlib.blake2b(about.encode(), digest_size=8).hexdigest()
    folder = cache_home() / "images" / f"{name}-{key}"
    if not (folder / "about.json").is_file():
        if not make:
            raise NotMadeError("its images are decoded first")
        _create(folder, about, int(np.prod(shape)))
    return folder


def _create(folder: Path, about: str, slot_bytes: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if not (folder / "about.json").is_file():
                with (folder / "pixels.u8").open("ab") as pixels:
                    pixels.write(b"" if pixels.tell() else bytes(slot_bytes))
                (folder / "about.tmp").write_text(about)
                (folder / "about.tmp").replace(folder / "about.json")
    except OSError as error:
        raise PlaceBenchError(
            f"cache folder {folder} cannot be made: {error}.", "Set PLACE_BENCH_CACHE."
        ) from error


@contextmanager
def _exclusive(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the store's lock; say so while another process has it."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        progress.say(f"waiting for another process that fills {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _assemble(
    folder: Path,
    shape: tuple[int, ...],
    items: Sequence[Item],
    plan: Plan,
    skipped: tuple[Skipped, ...],
) -> Store:
    left_out = {item.id for item in skipped}
    lost = [
        plan.items[number].id for number in plan.missing if plan.items[number].id not in left_out
    ]
    if lost:
        raise DataError(
            f"cache {folder} lost {len(lost)} images, e.g. '{lost[0]}'.",
            "Do not change files while they are read.",
        )
    positions = np.array(
        [-1 if record is None else record.slot for record in plan.records], np.int64
    )
    digests = tuple("" if record is None else record.content.hex() for record in plan.records)
    pixels = _map(folder / "pixels.u8", shape)
    if len(positions) and positions.max() >= len(pixels):
        raise DataError(
            f"cache {folder} is damaged: pixels.u8 is too short.",
            "Delete the folder; it is made again.",
        )
    return Store(folder, tuple(item.id for item in items), pixels, positions, digests, skipped)


def _map(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    count = path.stat().st_size // int(np.prod(shape))
    return np.memmap(path, np.uint8, mode="r", shape=(count, *shape))
