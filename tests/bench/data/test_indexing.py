"""The checks that every index passes, whichever dataset it comes from: plug-ins too."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.contracts import CheckResult, Dataset
from bench.core.errors import DataError
from bench.data.faults import Skipped, write_list
from bench.data.index_checks import checked
from bench.data.indexing import naming, read_index
from bench.data.notes import Notes, note, notes
from tests.support.progress import Said


class Toy(Dataset):
    """Gives the index it was made with."""

    name = title = licence = citation = how_to_get = "toy"

    def __init__(self, **columns: Any) -> None:
        self.columns: dict[str, Any] = {
            "image_id": ["a", "b", "c"],
            "patient_id": ["p", "q", "r"],
            "path": ["a.png", "b.png", "c.png"],
            "split": "",
            **columns,
        }

    def index(self, root: Path) -> pd.DataFrame:
        return pd.DataFrame(self.columns)

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        return [
            CheckResult("ok", "fine"),
            CheckResult("error", f"images: {len(index)} found, 9 expected."),
        ]

    def validate(self, root: Path) -> list[CheckResult]:
        raise RuntimeError("not\nforeseen")


class Broken(Toy):
    """Fails in a helper of pandas, called from here."""

    def index(self, root: Path) -> pd.DataFrame:
        return pd.DataFrame(self.columns).loc["no such row"]


COUNTS = Notes({"of another view": 2}, {"rows too many": 1}, {"rows": 7})


class Noted(Toy):
    """Notes counts, compares a fact in `counts`."""

    def index(self, root: Path) -> pd.DataFrame:
        index = super().index(root)
        note(index, left_out=COUNTS.left_out, unmatched=COUNTS.unmatched, facts=COUNTS.facts)
        return index

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        return [CheckResult("error", f"rows: {notes(index).facts['rows']} found, 9 expected.")]


class Older(Toy):
    """A plug-in of before: writes the entries of `attrs`, and reads one in `counts`."""

    def index(self, root: Path) -> pd.DataFrame:
        index = super().index(root)
        index.attrs["dropped"] = {"of another view": 2}
        return index

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        return [CheckResult("error", f"dropped: {index.attrs['dropped']['of another view']}.")]


@pytest.mark.parametrize(
    ("columns", "message", "left"),
    [
        ({"patient_id": ["p", " ", "r"]}, r"image 'b' \(b\.png\) has a blank patient_id", "ac"),
        ({"patient_id": ["p", None, "r"]}, r"image 'b' \(b\.png\) has a blank patient_id", "ac"),
        ({"image_id": ["a", "b", "b"]}, "image 'b' occurs twice", "a"),
        ({"path": ["a.png", "", "c.png"]}, "image 'b' .* has a blank path", "ac"),
        (
            {"path": ["a.png", "../b.png", "c.png"]},
            r"image 'b': path '\.\./b\.png' leads out",
            "ac",
        ),
        ({"path": ["a.png", "x/../../b", "c.png"]}, "image 'b': path .* leads out", "ac"),
        ({"path": ["a.png", "/etc/passwd", "c.png"]}, "image 'b': path '/etc/passwd' leads", "ac"),
        ({"path": ["a.png", "b\0.png", "c.png"]}, "image 'b': path .* leads out", "ac"),
        ({"mask_paths": [(), ("../m.png",), ()]}, r"image 'b': path '\.\./m\.png' leads", "ac"),
    ],
)
def test_a_row_that_cannot_be_is_named_or_left_out_and_listed(
    tmp_path: Path, columns: dict[str, Any], message: str, left: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_index(Toy(**columns), tmp_path)
    index, skipped = read_index(Toy(**columns), tmp_path, "skip")
    assert index["image_id"].tolist() == list(left)
    assert {item.id for item in skipped} == {"b"}


def test_an_index_without_its_columns_or_rows_is_named(tmp_path: Path) -> None:
    toy = Toy()
    del toy.columns["patient_id"]
    with pytest.raises(DataError, match="index of dataset 'toy' lacks the column 'patient_id'"):
        read_index(toy, tmp_path)
    with pytest.raises(DataError, match="has no images"):
        read_index(Toy(image_id=[], patient_id=[], path=[], split=[]), tmp_path)
    with pytest.raises(DataError, match="no image is left: 3 were skipped"):
        read_index(Toy(patient_id=""), tmp_path, "skip")


def test_counts_that_disagree_are_said(tmp_path: Path) -> None:
    class Counted(Toy):
        """Leaves something out."""

        def index(self, root: Path) -> pd.DataFrame:
            index = super().index(root)
            index.attrs = {"dropped": {"of another view": 2}, "unmatched": {"rows too many": 1}}
            return index

    listener = Said()
    read_index(Counted(), tmp_path, "stop", listener)
    assert listener.lines == [
        "toy: left out: 2 of another view.",
        "toy: without counterpart: 1 rows too many.",
        "toy: images: 3 found, 9 expected.",
    ]


def test_notes_outlive_a_step_that_drops_attrs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def joined(dataset: Toy, index: object, root: Path) -> pd.DataFrame:
        rows = checked(dataset, index, root)
        return pd.DataFrame(rows.to_dict("list"))

    monkeypatch.setattr("bench.data.indexing.checked", joined)
    index, _ = read_index(Noted(), tmp_path)
    assert notes(index) == COUNTS


def test_what_is_noted_is_said_and_compared(tmp_path: Path) -> None:
    listener = Said()
    index, skipped = read_index(Noted(patient_id=["p", "", "r"]), tmp_path, "skip", listener)
    assert len(index) == 2
    assert len(skipped) == 1
    assert notes(index) == COUNTS
    assert listener.lines == [
        "toy: left out: 2 of another view.",
        "toy: without counterpart: 1 rows too many.",
        "toy: rows: 7 found, 9 expected.",
    ]


def test_a_plug_in_of_before_writes_and_reads_attrs(tmp_path: Path) -> None:
    listener = Said()
    index, _ = read_index(Older(), tmp_path, "stop", listener)
    assert notes(index).left_out == {"of another view": 2}
    assert listener.lines == ["toy: left out: 2 of another view.", "toy: dropped: 2."]


def test_what_a_plug_in_raises_names_its_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_index(Broken(), tmp_path)
    line = next(
        number
        for number, text in enumerate(Path(__file__).read_text().split("\n"), 1)
        if 'loc["no such row"]' in text and "return" in text
    )
    assert f"index() fails in {__file__}, line {line}: KeyError" in str(error.value)
    assert "\n" not in str(error.value)
    with (
        pytest.raises(DataError, match=r"validate\(\) fails in .*: RuntimeError: not foreseen"),
        naming(Toy(), "validate"),
    ):
        Toy().validate(tmp_path)


def test_the_list_of_what_was_left_out_is_a_table_of_its_own_name(tmp_path: Path) -> None:
    skipped = (Skipped("a", "x/a.png", "is gone,\nreally"), Skipped("b", "t.csv", 'line 3: "q"'))
    path = write_list(skipped, tmp_path / "skipped", "toy")
    assert path == write_list(skipped, tmp_path / "skipped", "toy")
    assert path != write_list(skipped[:1], tmp_path / "skipped", "toy")
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["image_id", "file", "reason"],
        ["a", "x/a.png", "is gone,\nreally"],
        ["b", "t.csv", 'line 3: "q"'],
    ]


def test_many_counts_that_disagree_are_said_in_short(tmp_path: Path) -> None:
    class Much(Toy):
        """Has more to say than a run should."""

        def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
            return [CheckResult("error", f"count {number}.") for number in range(9)]

    listener = Said()
    read_index(Much(), tmp_path, "stop", listener)
    assert listener.lines[3:] == ["toy: count 3.", "toy: 5 more: place-bench data verify toy"]
