"""Counts noted beside an index: they reach whoever reads them, also from plug-ins of before."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from bench.data.notes import KEY, Notes, note, notes

TABLE = {"image_id": ["a", "b"], "path": ["a.png", "b.png"], "split": ["", ""]}
COUNTS = Notes({"of another view": 2}, {"rows too many": 1}, {"rows": 7})


def noted(index: pd.DataFrame) -> pd.DataFrame:
    note(index, left_out=COUNTS.left_out, unmatched=COUNTS.unmatched, facts=COUNTS.facts)
    return index


def test_nothing_is_noted_beside_a_plain_table() -> None:
    assert notes(pd.DataFrame()) == Notes()


def test_what_is_noted_again_replaces_its_own_kind_alone() -> None:
    index = noted(pd.DataFrame({"image_id": ["a"]}))
    note(index, left_out={"other": 3})
    assert notes(index) == Notes({"other": 3}, COUNTS.unmatched, COUNTS.facts)
    assert list(index.attrs) == [KEY]


def test_a_table_made_from_another_does_not_share_its_counts() -> None:
    index = noted(pd.DataFrame({"image_id": ["a"]}))
    copy = index.assign(split="")
    note(copy, unmatched={**notes(copy).unmatched, "more": 5})
    assert notes(index) == COUNTS


OPERATIONS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "rows": lambda index: index[index["image_id"] != "b"],
    "columns": lambda index: index[["image_id", "path"]],
    "assign": lambda index: index.assign(path="x"),
    "reset_index": lambda index: index[::2].reset_index(drop=True),
    "drop": lambda index: index.drop(columns="split"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_notes_outlive_what_the_engine_does_to_an_index(operation: str) -> None:
    assert notes(OPERATIONS[operation](noted(pd.DataFrame(TABLE)))) == COUNTS


def test_attrs_of_a_plug_in_of_before_replace_what_its_base_noted() -> None:
    index = noted(pd.DataFrame({"image_id": ["a"]}))
    index.attrs["dropped"] = {"mine": 4}
    assert notes(index) == Notes({"mine": 4}, COUNTS.unmatched, COUNTS.facts)
    note(index, left_out={"mine": 5})
    assert notes(index).left_out == index.attrs["dropped"] == {"mine": 5}
