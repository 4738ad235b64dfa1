"""The page of differences from published code: every line names tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "docs/protocols.md").read_text(encoding="utf-8").splitlines()
ROWS = [line for line in LINES if line.startswith("|")][2:]


def named_tests(row: str) -> list[tuple[str, str]]:
    """Return (file, test) of each test a row names; `::name` alone is in the file before it."""
    named, file = [], ""
    for path, name in re.findall(r"`([\w/.]*)::(\w+)`", row.split("|")[-2]):
        file = path or file
        named.append((file, name))
    return named


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_every_difference_names_a_test_that_exists(row: str) -> None:
    assert len(row.split("|")) == 7 and named_tests(row)
    for file, name in named_tests(row):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"
