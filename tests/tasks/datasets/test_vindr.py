"""VinDr-CXR as downloaded: three readers and a consensus, merged boxes, BenchX's split, and files
that are wrong."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.core.errors import DataError
from bench.data.annotations import Masks
from bench.data.loading import prepare
from bench.data.roots import resolve_root
from bench.data.splits import default_split
from tasks.datasets.vindr import BOXES, FINDINGS, LABELS, Vindr
from tests.support.published import reference_split, reference_subset
from tests.support.vindr import HEIGHT, WIDTH, write_vindr

VINDR = Vindr()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_vindr(tmp_path / "vindr")


def edit(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))


def row_of(root: Path, image: str) -> pd.Series:
    return VINDR.index(root).set_index("image_id", drop=False).loc[image]


def test_index(root: Path) -> None:
    index = VINDR.index(root)
    assert index["split"].value_counts().to_dict() == {"train": 20, "test": 8}
    row = index.iloc[0]
    assert (row["path"], row["sex"], row["readings"], row["rows"], row["columns"]) == (
        "train/t00.dicom",
        "F",
        3,
        HEIGHT,
        WIDTH,
    )
    assert [name for name in FINDINGS if row[f"label:{name}"]] == ["ILD", "Nodule/Mass"], (
        "any reader's finding counts"
    )
    assert index.set_index("image_id")["any_finding"].loc[
        ["t01", "t02", "e01", "e02"]
    ].tolist() == [1, 0, 1, 0]
    assert resolve_root(VINDR, root).path == root


def test_boxes_of_the_readers_are_merged(root: Path) -> None:
    assert VINDR.boxes(row_of(root, "t00"), root).tolist() == [
        [5, 5, 15, 15, FINDINGS.index("Nodule/Mass")],
        [20.5, 10, 30, 20, FINDINGS.index("ILD")],
    ]
    assert VINDR.boxes(row_of(root, "t01"), root).shape == (0, 5), (
        "a class beyond the fourteen has no box"
    )
    assert VINDR.boxes(row_of(root, "e01"), root).tolist() == [
        [5, 5, 25, 20, FINDINGS.index("Cardiomegaly")]
    ]


def test_masks_are_the_merged_boxes_of_all_findings(root: Path) -> None:
    mask = VINDR.mask(row_of(root, "t00"), root)
    assert mask.shape == (1, HEIGHT, WIDTH)
    assert mask.sum() == 100 + 10 * 10
    assert VINDR.mask(row_of(root, "t02"), root).sum() == 0


def test_boxes_are_read_whatever_the_split_says_by_then(root: Path) -> None:
    prepared = prepare(VINDR, root, size=40, annotations=(Masks(),))
    split = default_split(prepared.index)
    assert split["split"].value_counts()["test"] == 8
    ill = split[(split["split"] == "val") | (split["image_id"] == "t00")].assign(split="val")
    assert all(
        len(VINDR.boxes(row, root))
        == (row["any_finding"] and row["image_id"] != "t01") * (1 + (row["image_id"] == "t00"))
        for _, row in ill.iterrows()
    )


def test_benchx_split(root: Path) -> None:
    split = reference_split(VINDR, VINDR.index(root), "benchx", 0)
    assert split["split"].value_counts().to_dict() == {"train": 12, "val": 8, "test": 8}
    assert set(split.loc[split["split"] == "test", "image_id"].str[0]) == {"e"}
    shares = split.groupby("split")["any_finding"].mean()
    assert abs(shares["train"] - shares["val"]) < 0.15
    train = split[split["split"] == "train"]
    assert len(reference_subset(VINDR, train, "benchx", 0.5, 0)) == 6
    assert VINDR.reference_split(split, "default", 0) is None


def test_counts_are_compared(root: Path) -> None:
    messages = [finding.message for finding in VINDR.validate(root)]
    assert "readings of train: 60 found, 45000 expected (published)." in messages
    assert "images of test: 8 found, 3000 expected (published)." in messages


# ------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            BOXES,
            "t02,R8,No finding",
            "t02,R8,Nothing",
            r"annotations_train\.csv, line 9, image 't02': class_name is 'Nothing'",
        ),
        (
            BOXES,
            "t02,R8,No finding,,,,",
            "t02,R8,No finding,1,1,2,2",
            r"line 9, image 't02': 'No finding' with a box",
        ),
        (
            BOXES,
            "t02,R8,",
            "t77,R8,",
            r"line 9, image 't77': the image is not in image_labels_train\.csv",
        ),
        (BOXES, "x_min", "left", r"lacks the column 'x_min'"),
        (
            LABELS,
            "t02,R8,0",
            "t02,R8,-1",
            r"image_labels_train\.csv, line 8: a label is neither 0 nor 1",
        ),
        (
            LABELS,
            "t02,R8,0",
            "t02,R8,yes",
            r"image_labels_train\.csv, line 8: Aortic enlargement is 'yes'",
        ),
        (LABELS, "t02,R9,", "t02,R8,", r"line 9: image 't02' occurs twice"),
        (LABELS, "Pneumothorax", "Pneumo", r"lacks the column 'Pneumothorax'"),
    ],
)
def test_wrong_files_are_named(root: Path, file: str, old: str, new: str, message: str) -> None:
    edit(root, file.format("train"), old, new)
    with pytest.raises(DataError, match=message):
        VINDR.index(root)


def test_missing_file_and_an_image_in_both_parts(root: Path) -> None:
    path = root / "train" / "t05.dicom"
    path.rename(root / "train" / "t05.dicom.part")
    with pytest.raises(
        DataError,
        match=(
            r"1 of 20 images of .*image_labels_train\.csv have no file under .*train, e\.g\. "
            r"'t05\.dicom'"
        ),
    ):
        VINDR.index(root)
    (root / "train" / "t05.dicom.part").rename(path)
    for file in (BOXES, LABELS):
        edit(root, file.format("test"), "e03", "t03")
    (root / "test" / "e03.dicom").rename(root / "test" / "t03.dicom")
    with pytest.raises(DataError, match="image 't03' is in train and in test"):
        VINDR.index(root)


@pytest.mark.parametrize(
    ("box", "reason"),
    [("20.5,10,20.5,20", "has no area"), ("41,10,45,20", "lies outside"), (",,,", "is not finite")],
)
def test_an_impossible_box_is_named_with_its_line(root: Path, box: str, reason: str) -> None:
    edit(root, BOXES.format("train"), "20.5,10,30,20", box)
    with pytest.raises(
        DataError, match=rf"annotations_train\.csv, line 4, image 't00': box .* {reason}"
    ):
        VINDR.boxes(row_of(root, "t00"), root)
    prepared = prepare(VINDR, root, size=16, annotations=(Masks(),), on_error="skip")
    assert [item.id for item in prepared.skipped] == ["t00"]


def test_kaggles_release_has_the_same_findings_and_no_split(tmp_path: Path) -> None:
    from tests.tasks.datasets.every_fake import write_vindr_kaggle

    root = tmp_path / "vindr"
    write_vindr_kaggle(root)
    assert resolve_root(VINDR, tmp_path).path == root
    index = VINDR.index(root)
    assert len(index) == 12 and set(index["split"]) == {""} and set(index["readings"]) == {3}
    ill = index["image_id"].isin({"k00", "k03", "k06", "k09"}).astype(int)
    assert index[f"label:{FINDINGS[0]}"].tolist() == index[f"label:{FINDINGS[7]}"].tolist()
    assert index[f"label:{FINDINGS[0]}"].tolist() == ill.tolist()
    boxes = VINDR.boxes(index.set_index("image_id", drop=False).loc["k03"], root)
    assert boxes.tolist() == [[4, 5, 14, 15, 0], [4, 5, 14, 15, 7]]
    messages = [finding.message for finding in VINDR.validate(root)]
    assert "readings: 36 found, 45000 expected (published by Kaggle)." in messages
    assert set(default_split(index)["split"]) == {"train", "val", "test"}
    with pytest.raises(DataError, match="cannot be made from Kaggle's release"):
        reference_split(VINDR, index, "benchx", 0)
