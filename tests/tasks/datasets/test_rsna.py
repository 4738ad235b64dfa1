"""RSNA stage 2 as downloaded: labels, boxes, masks, patients, the two tables, and files that are
wrong."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.core.errors import DataError
from bench.data.annotations import Masks
from bench.data.loading import prepare
from bench.data.roots import resolve_root
from tasks.datasets.rsna import CLASSES_TABLE, DETAILS, FILES, MAPPING, TABLE, Rsna
from tests.bench.data.dicoms import write_dicom
from tests.support.rsna import SIDE, write_rsna

RSNA = Rsna()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_rsna(tmp_path / "rsna")


def row_of(root: Path, image: str) -> pd.Series:
    return RSNA.index(root).set_index("image_id", drop=False).loc[image]


def edit(root: Path, old: str, new: str, name: str = TABLE) -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, 1))


def test_index(root: Path) -> None:
    index = RSNA.index(root)
    assert index["image_id"].tolist() == [f"id-{number:02d}" for number in range(12)]
    assert index["label:Pneumonia"].sum() == 4
    row = index.iloc[5]
    assert (row["path"], row["sex"], row["age"], row["view"], row["split"]) == (
        f"{FILES}/id-05.dcm",
        "M",
        36.0,
        "AP",
        "",
    )
    assert (row["patient_id"], row["rows"], row["columns"]) == ("id-05", SIDE, SIDE)
    assert row["lines"] == (8, 14)


def test_an_age_in_years_without_unit_is_read_and_an_impossible_one_unknown(root: Path) -> None:
    for number, age in ((0, "58"), (1, "155")):
        path = root / FILES / f"id-{number:02d}.dcm"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write_dicom(path, np.zeros((SIDE, SIDE), np.uint8), uid=f"1.3.{number}", PatientAge=age)
    ages = RSNA.index(root)["age"]
    assert ages[0] == 58
    assert np.isnan(ages[1])


def test_boxes_and_masks(root: Path) -> None:
    row = row_of(root, "id-05")
    assert RSNA.boxes(row, root).tolist() == [[4, 5, 14, 25, 0], [20, 6.5, 28, 14.5, 0]]
    mask = RSNA.mask(row, root)
    assert mask.shape == (1, SIDE, SIDE)
    assert mask[0, 5:25, 4:14].all()
    assert mask.sum() == 10 * 20 + 8 * 8
    negative = row_of(root, "id-10")
    assert RSNA.boxes(negative, root).shape == (0, 5)
    assert RSNA.mask(negative, root).sum() == 0


def test_found_by_its_table_and_prepared(root: Path) -> None:
    assert resolve_root(RSNA, root).path == root
    prepared = prepare(RSNA, root, size=SIDE, annotations=(Masks(),))
    subset = prepared.subset(prepared.index)
    assert (
        subset.masks(slice(None)).any((1, 2, 3)) == (subset.index["label:Pneumonia"] == 1)
    ).all()


def test_counts_of_both_tables_are_compared(root: Path) -> None:
    messages = [finding.message for finding in RSNA.validate(root)]
    assert "rows: 13 found, 30227 expected (published for stage 2)." in messages
    assert (
        "images of class 'Lung Opacity': 4 found, 6012 expected (published for stage 2)."
        in messages
    )
    assert any("every image is a patient of its own" in message for message in messages)


def test_patients_come_from_the_mapping(root: Path) -> None:
    entries = [
        {"subset_img_id": f"id-{number:02d}", "img_id": f"{number // 2:08d}_000.png"}
        for number in range(12)
    ]
    (root / MAPPING).write_text(json.dumps(entries))
    assert RSNA.index(root)["patient_id"].nunique() == 6
    (root / MAPPING).write_text(json.dumps(entries[1:]))
    with pytest.raises(
        DataError, match=r"mappings_2018\.json lacks 1 images of the table, e\.g\. 'id-00'"
    ):
        RSNA.index(root)
    (root / MAPPING).write_text("[{}]")
    with pytest.raises(DataError, match=r"mappings_2018\.json is not a list of subset_img_id"):
        RSNA.index(root)


# ------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id-10,,,,,0", "id-10,,,,,2", r"line 3, image 'id-10': Target is '2'"),
        ("id-10,,,,,0", "id-10,,,,,", r"line 3, image 'id-10': Target is ''"),
        (
            "id-10,,,,,0",
            "id-10,1,2,3,4,0",
            r"line 3, image 'id-10': Target is 0 and there is a box",
        ),
        (
            "id-10,,,,,0",
            "id-10,,,,,0\nid-10,,,,,0",
            r"line 4, image 'id-10': this row occurs twice",
        ),
        (
            "id-10,,,,,0",
            "id-10,,,,,0\nid-10,1,1,2,2,1",
            r"line 4, image 'id-10': Target 1; in an earlier row Target 0",
        ),
        (
            "id-05,20.0,6.5,8.0,8.0,1",
            "id-05,4.0,5.0,10.0,20.0,1",
            r"line 14, image 'id-05': this row occurs twice",
        ),
        ("id-10,,,,,0", "id-99,,,,,0", r"1 of 12 images of .* have no file under .*'id-99\.dcm'"),
        ("Target", "Label", r"lacks the column 'Target'"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(root: Path, old: str, new: str, message: str) -> None:
    edit(root, old, new)
    with pytest.raises(DataError, match=message):
        RSNA.index(root)


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ("id-05,20.0,6.5,0.0,8.0,1", "has no area"),
        ("id-05,20.0,6.5,-3.0,8.0,1", "has no area"),
        ("id-05,40.0,6.5,3.0,8.0,1", "lies outside the image of 40 x 40 px"),
        ("id-05,nan,6.5,3.0,8.0,1", "is not finite"),
        ("id-05,left,6.5,3.0,8.0,1", "is not finite"),
        ("id-05,,,,,1", "is not finite"),
    ],
)
def test_an_impossible_box_stops_or_is_skipped_and_counted(
    root: Path, new: str, reason: str
) -> None:
    edit(root, "id-05,20.0,6.5,8.0,8.0,1", new)
    with pytest.raises(DataError, match=rf"{TABLE}, line 14, image 'id-05': box .* {reason}"):
        prepare(RSNA, root, size=16, annotations=(Masks(),))
    prepared = prepare(RSNA, root, size=16, annotations=(Masks(),), on_error="skip")
    assert [item.id for item in prepared.skipped] == ["id-05"]
    assert len(prepared.index) == 11
    assert any(
        finding.level == "error" and "1 images have an impossible box" in finding.message
        for finding in RSNA.validate(root)
    )


def test_a_box_over_the_edge_is_cut_and_counted(root: Path) -> None:
    edit(root, "id-05,20.0,6.5,8.0,8.0,1", "id-05,20.0,30.0,30.0,30.0,1")
    assert RSNA.mask(row_of(root, "id-05"), root).sum() == 200 + 20 * 10
    assert any(
        finding.message.startswith("1 boxes reach beyond their image")
        for finding in RSNA.validate(root)
    )


@pytest.mark.parametrize("name", ["Pneumonia", DETAILS[2]])
def test_a_wrong_class_is_named(root: Path, name: str) -> None:
    edit(root, f"id-11,{DETAILS[0]}", f"id-11,{name}", CLASSES_TABLE)
    with pytest.raises(
        DataError, match=rf"{CLASSES_TABLE}, line 2, image 'id-11': class '{name}' and Target 1"
    ):
        RSNA.validate(root)


def test_missing_tables(root: Path) -> None:
    (root / CLASSES_TABLE).unlink()
    assert len(RSNA.index(root)) == 12
    with pytest.raises(DataError, match=rf"{CLASSES_TABLE} does not exist"):
        RSNA.validate(root)
