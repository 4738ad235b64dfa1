"""The card.json of a checkpoint that was trained here: read and checked in one place. Imports no
torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.errors import CheckpointError
from bench.core.files import read_file
from bench.core.hashing import file_sha256

CARD = "card.json"
_AGAIN = "Train the checkpoint again, or copy its card.json again."
_WORDS = ("method", "architecture")
_OBJECTS = ("settings", "text_encoder", "data")


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of a checkpoint folder; raise CheckpointError naming the file, and the entry
    where one is missing or of another type."""
    path = folder / CARD
    if not path.exists():
        raise CheckpointError(
            f"{folder} has no {CARD}.", "Give the folder that `place-bench pretrain` wrote."
        )
    card = read_json_object(path, _AGAIN)
    for name in _WORDS:
        _require(path, name, card, isinstance(card.get(name), str), "a word")
    for name in _OBJECTS:
        _require(path, name, card, isinstance(card.get(name), dict), "an object")
    _check_data(path, card["data"])
    for name in ("weights_sha256", "vocabulary_sha256"):
        if name in card or name.startswith("weights"):
            _require(path, name, card, _is_sha256(card.get(name)), "64 hexadecimal digits")
    return card


def read_json_object(path: Path, hint: str = "Copy or download it again.") -> dict[str, Any]:
    """Return the JSON object in a small file; raise CheckpointError naming it where it holds
    none."""
    content = read_file(path, "card", CheckpointError)
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is damaged: it is not text.", hint) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}.", hint) from error
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path} is damaged: it holds {_in_words(value)}, an object was expected.", hint
        )
    return value


def _check_data(path: Path, data: Mapping[str, Any]) -> None:
    pairs = data.get("train_pairs")
    whole = isinstance(pairs, int) and not isinstance(pairs, bool) and pairs >= 0
    _require(path, "name", data, isinstance(data.get("name"), str), "a word", "data.")
    _require(path, "kind", data, data.get("kind") in ("real", "demo"), "real or demo", "data.")
    _require(path, "train_pairs", data, whole, "a count", "data.")


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _require(
    path: Path, name: str, entries: Mapping[str, Any], right: bool, what: str, inside: str = ""
) -> None:
    if right:
        return
    value = _in_words(entries[name]) if name in entries else "nothing"
    raise CheckpointError(
        f"{path} is damaged: '{inside}{name}' is {value}, {what} was expected.", _AGAIN
    )


def _in_words(value: object) -> str:
    """Return a JSON value in words, long ones by their type."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"a {type(value).__name__}"


def check_file(path: Path, expected: str) -> None:
    """Raise CheckpointError where a file is not the one whose sha256 its card holds."""
    sha256 = file_sha256(path)
    if sha256 != expected:
        raise CheckpointError(
            f"{path} is damaged or another file: its sha256 begins with {sha256[:12]}, that in "
            f"{CARD} with {expected[:12]}.",
            "Copy the checkpoint again, or train it again.",
        )
