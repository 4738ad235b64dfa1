"""ChestX-Det10 as downloaded: boxes by finding, patients by file name, errors by file and entry;
and its demo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import DataError
from bench.data.indexing import read_index
from tasks.datasets.chestxdet10 import FINDINGS, ChestXDet10
from tasks.datasets.demos import chestxdet10 as demo
from tests.support.chestxdet10 import write_chestxdet10

DATA = ChestXDet10()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_chestxdet10(tmp_path)
    return tmp_path


def edit(root: Path, change: Callable[[list[dict[str, Any]]], Any]) -> Path:
    path = root / "train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_index(root: Path) -> None:
    index = DATA.index(root).set_index("image_id")
    assert index["split"].value_counts().to_dict() == {"train": 12, "test": 8}
    assert index.loc["00000004_000", "patient_id"] == "00000004"
    assert index.loc["36004", "patient_id"] == "36004"
    row = index.loc["00000004_000"]
    assert row["label:Effusion"] == 1 and row["label:Nodule"] == 1 and row["label:Mass"] == 0
    assert (row["rows"], row["columns"]) == (20, 24)


def test_boxes(root: Path) -> None:
    index = DATA.index(root)
    row = index[index["image_id"] == "00000004_000"].iloc[0]
    nodule = FINDINGS.index("Nodule")
    effusion = FINDINGS.index("Effusion")
    assert DATA.boxes(row, root).tolist() == [
        [2, 3, 10, 12, effusion],
        [1, 1, 5, 6, nodule],
        [12, 8, 20, 18, nodule],
    ]


FAULTS: dict[str, tuple[Callable[[list[dict[str, Any]]], Any], str]] = {
    "unknown finding": (
        lambda content: content[1].update(syms=["Hernia"]),
        r"entry 2, image '00000002_000': finding 'Hernia'",
    ),
    "other number": (
        lambda content: content[1].update(boxes=[]),
        r"entry 2, image '00000002_000': 1 'syms' and 0 'boxes'",
    ),
    "no list": (
        lambda content: content[1].pop("boxes"),
        r"entry 2, image '00000002_000': no lists 'syms' and 'boxes'",
    ),
    "three numbers": (
        lambda content: content[1].update(boxes=[[1, 2, 3]]),
        r"a box of \[1, 2, 3\], four numbers were expected",
    ),
    "no name": (lambda content: content[1].pop("file_name"), r"entry 2: file_name is 'None'"),
    "twice": (
        lambda content: content.append(content[1]),
        r"entry 13: image '00000002_000' occurs twice",
    ),
    "no file": (
        lambda content: content[1].update(file_name="x.png"),
        r"1 of 12 images of .*train.json have no file",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_named(root: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    edit(root, change)
    with pytest.raises(DataError, match=message):
        DATA.index(root)


def test_a_file_that_is_no_list_is_named(root: Path) -> None:
    (root / "test.json").write_text("{}")
    with pytest.raises(DataError, match=r"test\.json is no list of images"):
        DATA.index(root)


def test_faults_are_skipped_where_asked(root: Path) -> None:
    edit(root, lambda content: content[1].update(syms=["Hernia"]))
    index, skipped = read_index(DATA, root, "skip")
    assert len(index) == 19 and [each.id for each in skipped] == ["00000002_000"]


def test_a_box_that_cannot_be_is_named_by_its_entry(root: Path) -> None:
    edit(root, lambda content: content[1].update(boxes=[[90, 3, 95, 12]]))
    index = DATA.index(root)
    row = index[index["image_id"] == "00000002_000"].iloc[0]
    with pytest.raises(DataError, match=r"train\.json, annotation 2, image '00000002_000'"):
        DATA.boxes(row, root)
    edit(root, lambda content: content[1].update(boxes=[["a", 3, 9, 12]]))
    index = DATA.index(root)
    row = index[index["image_id"] == "00000002_000"].iloc[0]
    with pytest.raises(DataError, match="annotation 2"):
        DATA.boxes(row, root)


def test_the_demo_is_read_back(tmp_path: Path) -> None:
    demo.write(tmp_path, studies=12, size=96, seed=3, workers=1)
    assert {result.level for result in DATA.validate(tmp_path)} == {"ok"}
    index = DATA.index(tmp_path)
    assert set(index["split"]) == {"train", "test"} and index["boxes"].map(len).sum() > 3
    labels = index.filter(like="label:")
    assert labels.to_numpy().sum() > 2 and index["patient_id"].str.len().eq(8).all()
