"""A checkpoint that was trained here: a folder with weights, a card and, where texts are read, a
vocabulary. Imports no torch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core import cards
from bench.core.cards import CARD
from bench.core.errors import CheckpointError
from bench.core.hashing import file_sha256

WEIGHTS = "model.safetensors"
VOCABULARY = "vocab.txt"
CURVE = "curve.jsonl"
_STAY = (".png", ".csv")
"""Pictures may show licensed radiographs, lists name them: neither travels with a checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are those that its card describes.

    `weights` is the file of the tensors, `card` what it was made with and from (JSON values),
    `vocabulary` the file of the word pieces, None for an encoder that reads no text.
    """

    weights: Path
    card: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> Checkpoint:
        """Open a checkpoint by its folder or its weights file.

        Raise CheckpointError where it, its card or one of its files is not there, where the card
        is damaged, and where a file is not the one that the card describes.
        """
        path = Path(path)
        weights = path / WEIGHTS if path.is_dir() else path
        _check_exists(path)
        card = cards.read_card(weights.parent)
        _check_exists(weights)
        cards.check_file(weights, card["weights_sha256"])
        if "vocabulary_sha256" in card:
            cards.check_file(weights.parent / VOCABULARY, card["vocabulary_sha256"])
        return cls(weights, card)

    @staticmethod
    def is_at(path: Path) -> bool:
        """Tell whether a path means a checkpoint that was trained here: a folder, or the weights
        file of the card beside it. Any other file holds weights alone."""
        if path.is_dir():
            return True
        if not (path.parent / CARD).is_file():
            return False
        if path.name == WEIGHTS:
            return True
        return file_sha256(path) == cards.read_card(path.parent)["weights_sha256"]

    @property
    def folder(self) -> Path:
        """Return the folder that holds its files."""
        return self.weights.parent

    @property
    def path(self) -> Path:
        """Return what opens it again: its folder, or its weights file where that has another
        name."""
        return self.folder if self.weights.name == WEIGHTS else self.weights

    @property
    def vocabulary(self) -> Path | None:
        """Return the file of the word pieces; None where there is none."""
        path = self.folder / VOCABULARY
        return path if path.is_file() else None

    @property
    def sha256(self) -> str:
        """Return the sha256 of the weights."""
        return str(self.card["weights_sha256"])

    def copy_to(self, folder: Path) -> Checkpoint:
        """Copy its files into `folder`, made where it is not there, and return the copy.

        Pictures, lists of images and what a training keeps for itself stay.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(self.folder.iterdir()):
            hidden = file.name.startswith(".")
            if file.is_file() and not hidden and file.suffix not in _STAY:
                shutil.copyfile(file, folder / file.name)
        return Checkpoint.open(folder / self.weights.name)


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise CheckpointError(
            f"checkpoint {path} does not exist.", "Train it with `place-bench pretrain`."
        )
