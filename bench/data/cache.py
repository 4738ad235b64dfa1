"""A flat uint8 memory map of decoded images: decoded once, keyed by content and preprocessing, safe
when interrupted.

On disk, under `cache_home()/images/<name>-<key>/`, where the key stands for the preprocessing:
- `pixels.u8`: slots of one decoded array each, appended; slot 0 is all zero and shared by every
  all-zero array (empty masks);
- `records.bin`: 64-byte checked records, appended *after* their pixels are on disk: which item, in
  which state on disk (sizes and modification times), had which content and stands in which slot,
  with which checksum. The last record of an item counts; half a record is ignored;
- `about.json`: the preprocessing in words; `lock`: held by the one process that appends.

A slot is only rewritten with what it should hold, so readers need no lock. A file whose size or
time changed is hashed again; only content never seen before is decoded. Threads decode (the
decoders release the GIL), so nothing has to be picklable and no worker outlives a kill.

The slots of the items asked for are compared with their checksums when a process first opens them,
and again when the file has changed. What is damaged is made again from the source files, and said.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Cache, OnError, Progress
from bench.core.checked import clear_place, file_state, make_folder
from bench.core.errors import DataError, NotMadeError
from bench.core.paths import cache_home
from bench.core.progress import Silent
from bench.core.storage import held, write_atomically, writing
from bench.data.filling import Decode, Filler, Inventory, Item, Skipped
from bench.data.records import Journal
from bench.data.slots import Slots, about_key, mend

__all__ = ["Decode", "Item", "Skipped", "Store", "data_hash", "open_store"]

_ROUNDS = 2
"""A touched file may turn out to have a content whose slot is damaged: it is decoded in the second
round."""


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


def data_hash(*stores: Cache) -> str:
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
    progress = progress or Silent()
    folder, about = _named(name, shape, key_parts)
    slots = Slots(folder / "pixels.u8", shape)
    if not make:
        return _as_it_is(folder, slots, items)
    _create(folder, about, slots, progress)
    inventory = _checked_inventory(items, folder, slots)
    skipped: tuple[Skipped, ...] = ()
    if inventory.missing or inventory.journal.unsound:
        with _exclusive(folder, progress):
            mend(folder, slots, progress)
            inventory = _checked_inventory(items, folder, slots)
            for _ in range(_ROUNDS):
                if len(inventory.missing) == len(skipped):
                    break
                _say_lost(inventory, slots, progress)
                filler = Filler(folder, shape, inventory, decode, on_error)
                skipped = filler.fill(workers, progress, name)
                inventory = _checked_inventory(items, folder, slots, inventory.states)
    return _assemble(folder, slots, items, inventory, skipped)


def _as_it_is(folder: Path, slots: Slots, items: Sequence[Item]) -> Store:
    """Return the store without making or comparing anything; raise NotMadeError where some of it is
    not there."""
    inventory = Inventory(items, Journal(folder / "records.bin").load())
    inventory.leave_out(frozenset(inventory.slots - set(range(slots.count()))))
    if inventory.missing or not slots.count():
        raise NotMadeError(f"{len(inventory.missing)} of {len(items)} images are decoded first")
    return _assemble(folder, slots, items, inventory, ())


def _checked_inventory(
    items: Sequence[Item], folder: Path, slots: Slots, states: list[bytes] | None = None
) -> Inventory:
    """Return what is known of `items`; those whose slot is damaged are missing."""
    inventory = Inventory(items, Journal(folder / "records.bin").load(), states)
    inventory.leave_out(slots.lost(inventory.slots, inventory.journal))
    return inventory


def _say_lost(inventory: Inventory, slots: Slots, progress: Progress) -> None:
    lost = len(inventory.journal.lost)
    if lost:
        progress.say(
            f"cache file {slots.path} is damaged: {lost} of its decoded arrays are made again."
        )


def begun(name: str) -> bool:
    """Say whether there is a store of this name, whatever its preprocessing."""
    return any((cache_home() / "images").glob(f"{glob.escape(name)}-*/about.json"))


def _named(name: str, shape: tuple[int, ...], key_parts: dict[str, Any]) -> tuple[Path, bytes]:
    """Return the folder of a store and the text of its `about.json`."""
    facts = {"shape": list(shape), **key_parts}
    about = json.dumps(facts, sort_keys=True).encode()
    return cache_home() / "images" / f"{name}-{about_key(about)}", about


def _create(folder: Path, about: bytes, slots: Slots, progress: Progress) -> None:
    """Make the files of a store where they are not, or are not what they should be."""
    path = folder / "about.json"
    if file_state(slots.path) and _says(path, about):
        return
    make_folder(folder)
    with _exclusive(folder, progress):
        begun = os.path.lexists(path) or (folder / "records.bin").exists()
        if begun and not _says(path, about):
            clear_place(path)
            progress.say(f"cache file {path} is damaged and is written again.")
        mend(folder, slots, progress)
        write_atomically(path, about)


def _says(path: Path, about: bytes) -> bool:
    return file_state(path) is not None and path.read_bytes() == about


@contextmanager
def _exclusive(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the store's lock; say so while another process has it."""
    clear_place(folder / "lock")
    sentence = f"waiting for another process that fills {folder}"
    with held(folder / "lock", on_wait=lambda: progress.say(sentence)), writing(folder):
        yield


def _assemble(
    folder: Path,
    slots: Slots,
    items: Sequence[Item],
    inventory: Inventory,
    skipped: tuple[Skipped, ...],
) -> Store:
    left_out = {item.id for item in skipped}
    missing = [inventory.items[number].id for number in inventory.missing]
    lost = [image for image in missing if image not in left_out]
    if lost:
        raise DataError(
            f"cache {folder} lost {len(lost)} images, e.g. '{lost[0]}'.",
            "Do not change files while they are read.",
        )
    slot_numbers = [-1 if record is None else record.slot for record in inventory.records]
    positions = np.array(slot_numbers, np.int64)
    digests = tuple("" if record is None else record.content.hex() for record in inventory.records)
    ids = tuple(item.id for item in items)
    return Store(folder, ids, slots.map(), positions, digests, skipped)
