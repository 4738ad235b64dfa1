"""The decoded arrays of an image cache, compared with their checksums."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bench.contracts import Progress
from bench.core.checked import Checked, clear_place, file_state
from bench.core.storage import write_atomically
from bench.data.records import Journal, JournalContent

_CHECKED = Checked()


def about_key(about: bytes) -> str:
    """Return the end of a store's folder name, which stands for its `about.json`."""
    return hashlib.blake2b(about, digest_size=8).hexdigest()


class Slots:
    """The slots of one `pixels.u8`; a slot is read and compared once in a process, and again when
    the file has changed."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path = path
        self.shape = shape
        self.slot_bytes = int(np.prod(shape))

    def count(self) -> int:
        """Return how many whole slots there are; 0 where there is no such file."""
        state = file_state(self.path)
        return state.size // self.slot_bytes if state else 0

    def map(self) -> np.ndarray:
        """Return the slots as a read-only memory map, uint8 [slots, *shape]."""
        shape = (self.count(), *self.shape)
        return np.memmap(self.path, np.uint8, mode="r", shape=shape)

    def checksums(self, numbers: Iterable[int]) -> dict[int, int]:
        """Return the CRC-32 of each of these slots that is in the file."""
        count = self.count()
        inside = [number for number in numbers if 0 <= number < count]
        if not inside:
            return {}
        pixels = self.map()
        return {number: zlib.crc32(pixels[number]) for number in inside}

    def lost(self, wanted: Iterable[int], content: JournalContent) -> frozenset[int]:
        """Return those of the `wanted` slots, and of slot 0, that do not hold what was written.

        A slot without a checksum is taken as it is.
        """
        numbers = frozenset((0, *wanted))
        state = file_state(self.path)
        if state is None:
            return numbers
        right = self._right(content)
        due = numbers - _CHECKED.parts(self.path, state)
        checksums = self.checksums(sorted(due))
        sound = {number for number, value in checksums.items() if right.get(number, value) == value}
        _CHECKED.add(self.path, state, frozenset(sound & right.keys()))
        return due - sound

    def _right(self, content: JournalContent) -> Mapping[int, int]:
        return content.checksums | {0: zlib.crc32(bytes(self.slot_bytes))}


def mend(folder: Path, slots: Slots, progress: Progress) -> None:
    """Bring a store into a state that can be filled, saying what was damaged; its lock is held.

    Damaged records are taken out of the journal, records of an earlier version get the checksums of
    their slots. Slot 0 is made again; other lost slots are left to whoever decodes.
    """
    journal = Journal(folder / "records.bin")
    for path in (journal.path, slots.path):
        if clear_place(path):
            progress.say(f"cache file {path} was not a regular file: what it held is made again.")
    _restore_slot_0(slots, progress)
    content = journal.load()
    broken = content.damaged + content.torn
    if broken:
        progress.say(
            f"cache file {journal.path} has {broken} damaged records: what they stood for is made "
            "again."
        )
    if file_state(journal.path) is None and slots.count() > 1:
        progress.say(f"cache file {journal.path} is gone: what it listed is made again.")
    if content.unchecked:
        progress.say(
            f"cache {folder} was made without checksums: {len(content.unchecked)} decoded arrays "
            "are taken as they are and given theirs."
        )
    if broken or content.unchecked:
        write_atomically(journal.path, _sound_journal(slots, content))


def _restore_slot_0(slots: Slots, progress: Progress) -> None:
    """Make slot 0, which all empty arrays share, all zero where it is not."""
    there = file_state(slots.path) is not None
    if there and 0 not in slots.lost((), JournalContent(())):
        return
    if there:
        progress.say(f"cache file {slots.path} is damaged: its empty array is made again.")
    with slots.path.open("r+b" if there else "wb") as pixels:
        pixels.write(bytes(slots.slot_bytes))


def _sound_journal(slots: Slots, content: JournalContent) -> bytes:
    """Return the journal with a checksum in every record; left out are those whose slot is not in
    the file, or holds zeros (an earlier version's reader would not have written them)."""
    fresh = slots.checksums(sorted(content.unchecked))
    empty = zlib.crc32(bytes(slots.slot_bytes))
    written = {number: value for number, value in fresh.items() if number == 0 or value != empty}
    checksums = written | content.checksums
    return b"".join(
        record._replace(pixels=checksums[record.slot]).pack()
        for record in content.records
        if record.slot in checksums
    )


def store_faults(folder: Path) -> list[str]:
    """Return what is damaged in one image or mask cache, a sentence each; every slot is read."""
    about = folder / "about.json"
    shape = _shape(about, folder.name)
    if shape is None:
        return [f"cache file {about} is missing or damaged."]
    slots = Slots(folder / "pixels.u8", shape)
    journal = Journal(folder / "records.bin")
    content = journal.load()
    faults = []
    if content.damaged or content.torn:
        broken = content.damaged + content.torn
        faults.append(f"cache file {journal.path} has {broken} damaged records.")
    if file_state(journal.path) is None and slots.count() > 1:
        faults.append(f"cache file {journal.path} is missing.")
    listed = set(content.slots.values())
    lost = slots.lost(listed, content)
    if lost:
        faults.append(
            f"cache file {slots.path}: {len(lost)} of {len(listed | {0})} decoded arrays are "
            "damaged."
        )
    if content.unchecked - lost:
        faults.append(
            f"cache {folder}: {len(content.unchecked - lost)} decoded arrays have no checksum yet; "
            "they are given one when the cache is next used."
        )
    return faults


def _shape(about: Path, folder: str) -> tuple[int, ...] | None:
    """Return the shape of a slot; None where `about.json` is not what the folder is named after."""
    text = about.read_bytes() if file_state(about) else b""
    if not folder.endswith(f"-{about_key(text)}"):
        return None
    return tuple(json.loads(text)["shape"])
