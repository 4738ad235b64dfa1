"""The word lists are there where place-bench is installed."""

from __future__ import annotations

import tomllib
from pathlib import Path

from bench.text.words import read_words

ROOT = Path(__file__).parents[3]


def test_every_word_list_is_installed_and_read() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["bench.text.words"]
    folder = ROOT / "bench" / "text" / "words"
    installed = {path.name for pattern in patterns for path in folder.glob(pattern)}
    assert installed == {path.name for path in folder.iterdir() if path.suffix not in (".py", "")}
    assert all(read_words(name) for name in installed)
