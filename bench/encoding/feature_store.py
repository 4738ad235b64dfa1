"""Features kept on disk in parts, each compared with its hash when a process first reads it."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Progress
from bench.core.checked import Checked, clear_place, file_state
from bench.core.errors import DataError
from bench.core.storage import write_atomically

_VERSION = 2
"""Version of a part's card; version 1 was the bare list of image ids, without any hash."""
_CHECKED = Checked()


@dataclass(frozen=True)
class _Card:
    """What `<part>.json` says of `<part>.npy`; without `digest` it is of version 1."""

    path: Path
    ids: tuple[str, ...]
    shape: tuple[int, ...]
    digest: str

    @property
    def array_path(self) -> Path:
        """Return the file of the part's features."""
        return self.path.with_suffix(".npy")

    def text(self) -> str:
        """Return the JSON of the card, with a checksum of its own."""
        facts = {
            "version": _VERSION,
            "shelf": self.path.parent.name,  # the name that cards of before have
            "ids": list(self.ids),
            "dtype": "float16",
            "shape": list(self.shape),
            "array": self.digest,
        }
        return json.dumps(facts | {"check": _check(facts)})


class FeatureStore:
    """The kept features of one folder: pairs of `<part>.npy` (float16 [n, D], memory-mapped) and
    `<part>.json` (image ids, shape, hash).

    A part that is not what was written is never read; `mend` removes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._damaged: list[Path] = []
        self._cards: list[_Card] = []
        self._arrays: dict[int, np.ndarray] = {}
        self._position: dict[str, tuple[int, int]] = {}
        for path in sorted(folder.glob("*.json")):
            card = _read_card(path)
            if card is None:
                self._damaged.append(path)
            else:
                self._take(card)

    def _take(self, card: _Card) -> None:
        number = len(self._cards)
        for row, image in enumerate(card.ids):
            self._position[image] = (number, row)
        self._cards.append(card)

    @property
    def unsound(self) -> bool:
        """Say whether a part that was looked at is damaged, or any has no hash yet."""
        return bool(self._damaged) or any(not card.digest for card in self._cards)

    def missing(self, ids: list[str]) -> list[str]:
        """Return those of `ids` that are not kept, or in a part that is damaged."""
        self._check({self._position[image][0] for image in ids if image in self._position})
        return [image for image in ids if image not in self._position]

    def _check(self, numbers: set[int]) -> None:
        """Open the parts of these numbers, leaving out what is damaged."""
        for number in sorted(numbers - self._arrays.keys()):
            card = self._cards[number]
            array = _open(card)
            if array is not None:
                self._arrays[number] = array
                continue
            self._damaged.append(card.path)
            self._position = {
                image: (card_number, row)
                for image, (card_number, row) in self._position.items()
                if card_number != number
            }

    def mend(self, progress: Progress) -> None:
        """Remove damaged parts and give those of an earlier version their hash, saying so; the lock
        of the folder is held."""
        unhashed = {number for number, card in enumerate(self._cards) if not card.digest}
        self._check(unhashed)
        for path in self._damaged:
            progress.say(f"kept features {path} are damaged: they are made again where needed.")
            for file in (path, path.with_suffix(".npy")):
                clear_place(file)
                file.unlink(missing_ok=True)
        self._damaged = []
        sound = sorted(unhashed & self._arrays.keys())
        if sound:
            progress.say(
                f"features in {self.folder} were kept without checksums: {len(sound)} parts are "
                "taken as they are and given theirs."
            )
        for number in sound:
            card = self._cards[number]
            shape = self._arrays[number].shape
            hashed = _Card(card.path, card.ids, shape, _file_digest(card.array_path))
            write_atomically(card.path, hashed.text())
            self._cards[number] = hashed

    def add(self, ids: list[str], features: np.ndarray) -> None:
        """Keep `features` [n, D] of `ids`; the card is written last, so that half a part is never
        seen."""
        buffer = io.BytesIO()
        np.save(buffer, features)
        content = buffer.getvalue()
        path = self.folder / f"{_part_name(ids)}.json"
        card = _Card(path, tuple(ids), features.shape, _digest(content))
        for file in (path, card.array_path):
            clear_place(file)
        write_atomically(card.array_path, content)
        write_atomically(path, card.text())
        self._take(card)
        self._arrays[len(self._cards) - 1] = features

    def read(self, ids: list[str]) -> np.ndarray:
        """Return the features of `ids`, float32 [n, D] (tokens: [n, N, D]).

        Raise DataError where one of them is missing or damaged (`missing` says which).
        """
        missing = self.missing(ids)
        if missing:
            raise DataError(
                f"kept features {self.folder} lack {len(missing)} images, e.g. '{missing[0]}'.",
                "Run it again; they are made then.",
            )
        numbers, rows = np.array([self._position[image] for image in ids]).T
        shape = self._arrays[int(numbers[0])].shape[1:]
        features = np.empty((len(ids), *shape), np.float32)
        for number in np.unique(numbers):
            in_part = numbers == number
            features[in_part] = self._arrays[int(number)][rows[in_part]]
        return features

    def faults(self) -> list[str]:
        """Return what is damaged, a sentence each; every part is read."""
        self._check(set(range(len(self._cards))))
        faults = [f"kept features {path} are damaged." for path in self._damaged]
        unhashed = sum(not self._cards[number].digest for number in self._arrays)
        if unhashed:
            faults.append(
                f"kept features {self.folder}: {unhashed} parts have no checksum yet; they are "
                "given one when next used."
            )
        return faults


def _part_name(ids: list[str]) -> str:
    return hashlib.blake2b("\n".join(ids).encode(), digest_size=8).hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _check(facts: dict[str, Any]) -> str:
    return _digest(json.dumps(facts, sort_keys=True).encode())


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _read_card(path: Path) -> _Card | None:
    """Return a part's card; None where it is not what was written for this folder."""
    try:
        content = json.loads(path.read_bytes()) if file_state(path) else None
    except (ValueError, RecursionError):
        return None
    if isinstance(content, list):
        return _first_version(path, content)
    if not isinstance(content, dict):
        return None
    check = content.pop("check", None)
    if check != _check(content) or content.get("shelf") != path.parent.name:
        return None
    return _Card(path, tuple(content["ids"]), tuple(content["shape"]), content["array"])


def _first_version(path: Path, ids: list[Any]) -> _Card | None:
    """Return the card of a bare list of ids, which the file's name is a hash of."""
    if not all(isinstance(image, str) for image in ids) or path.stem != _part_name(ids):
        return None
    return _Card(path, tuple(ids), (), "")


def _open(card: _Card) -> np.ndarray | None:
    """Return a part's features, memory-mapped; None where they are not what the card says."""
    state = file_state(card.array_path)
    if state is None:
        return None
    number = int(card.digest or "0", 16)
    if number not in _CHECKED.parts(card.array_path, state):
        if card.digest and _file_digest(card.array_path) != card.digest:
            return None
        _CHECKED.add(card.array_path, state, frozenset({number} if card.digest else ()))
    try:
        array = np.load(card.array_path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, OverflowError):
        return None
    return array if _fits(array, card) else None


def _fits(array: Any, card: _Card) -> bool:
    """Say whether an array has the type and shape of a card; without a hash also whether it is
    finite."""
    if not isinstance(array, np.ndarray) or array.dtype != np.float16 or array.ndim < 2:
        return False
    if len(array) != len(card.ids):
        return False
    if not card.digest:
        return bool(np.isfinite(array).all())
    return array.shape == card.shape
