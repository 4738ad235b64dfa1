"""Prompt sets of a file, such as the source file of a published code, and their drawing as
there."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from bench.core.errors import DataError, SettingError
from bench.data.text import read_json, read_text

_FORM = (
    "Expected {class: {part: [words, ...]}} as JSON, or as a dictionary in a Python file "
    "(GLoRIA's gloria/constants.py, BenchX's unifier/blocks/zeroshot/prompts.py)."
)


def read_prompt_sets(path: Path, labels: Sequence[str]) -> dict[str, list[str]]:
    """Return every prompt of every class of a file, in its order: one word of each part, in the
    order of the parts there.

    Of a Python file, which is read and never run, the first dictionary is taken that has all
    `labels`. Raise DataError naming the file where it cannot be read or has no prompt sets, and
    SettingError where it lacks a label.
    """
    dictionaries = list(_dictionaries(path))
    if not dictionaries:
        raise DataError(f"file {path} has no prompt sets.", _FORM)
    for sets in dictionaries:
        if set(labels) <= set(sets):
            return {label: _prompts(parts) for label, parts in sets.items()}
    labels_there = [label for sets in dictionaries for label in sets]
    absent = [label for label in labels if label not in labels_there] or list(labels)
    raise SettingError(
        f"prompt file {path} has no prompts for {', '.join(absent)}.",
        f"It has {', '.join(labels_there)}; leave prompt_file out, or use prompts=ensemble.",
    )


def draw(sets: Mapping[str, Sequence[str]], count: int | None, seed: int) -> dict[str, list[str]]:
    """Return `count` prompts of every class, all where it has no more (None: all).

    As GLoRIA and BenchX draw them: by Python's `random.sample` after one seed for all classes, in
    their order in the file.
    """
    generator = random.Random(seed)
    return {
        label: list(texts)
        if count is None or count >= len(texts)
        else generator.sample(list(texts), count)
        for label, texts in sets.items()
    }


def _prompts(parts: Mapping[str, Sequence[str]]) -> list[str]:
    return [" ".join(" ".join(words).split()) for words in product(*parts.values())]


def _dictionaries(path: Path) -> Iterator[dict[str, dict[str, list[str]]]]:
    values = _literals(path) if path.suffix.lower() == ".py" else [read_json(path, "card")]
    return (value for value in values if _is_sets(value))


def _literals(path: Path) -> Iterator[Any]:
    """Yield the values of a Python file's assignments that are plain literals."""
    try:
        module = ast.parse(read_text(path, "card"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"file {path} cannot be read as Python: {reason}.", _FORM) from error
    for statement in module.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            try:
                yield ast.literal_eval(statement.value)
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                continue  # computed when run: no literal


def _is_sets(value: Any) -> bool:
    return bool(value) and isinstance(value, dict) and all(map(_is_parts, value.values()))


def _is_parts(parts: Any) -> bool:
    if not isinstance(parts, dict) or not parts:
        return False
    return all(
        isinstance(words, list) and words and all(isinstance(word, str) for word in words)
        for words in parts.values()
    )
