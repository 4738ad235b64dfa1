"""TBX11K in both forms it is downloaded in: boxes, masks, BenchX's split, and files that are
wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.core.errors import DataError
from bench.data.annotations import Masks
from bench.data.loading import prepare
from bench.data.notes import notes
from bench.data.roots import resolve_root
from tasks.datasets.tbx11k import Tbx11k
from tests.support.published import reference_split, reference_subset
from tests.support.tbx11k import SIDE, bbox, write_release, write_tbx11k

TBX = Tbx11k()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tbx11k(tmp_path / "tbx11k")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_release(tmp_path / "TBX11K")


def edit(root: Path, old: str, new: str, file: str = "data.csv") -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))


def row_of(root: Path, image: str) -> pd.Series:
    return TBX.index(root).set_index("image_id", drop=False).loc[image]


def test_simplified(root: Path) -> None:
    index = TBX.index(root)
    assert len(index) == index["image_id"].nunique() == 40
    assert index["label:Tuberculosis"].sum() == 8
    row = row_of(root, "tb0001.png")
    assert (row["path"], row["rows"], row["columns"], row["image_type"]) == (
        "images/tb0001.png",
        SIDE,
        SIDE,
        "tb",
    )
    assert TBX.boxes(row, root).tolist() == [[4, 6, 14, 14, 0], [20.5, 20, 25.5, 25, 0]]
    assert TBX.mask(row, root).sum() == 80 + 25 + 5
    assert TBX.mask(row_of(root, "s0001.png"), root).sum() == 0
    assert resolve_root(TBX, root).path == root


def test_first_release(release: Path) -> None:
    index = TBX.index(release)
    assert index["image_type"].value_counts().to_dict() == {
        "healthy": 6,
        "sick_but_no_tb": 4,
        "tb": 2,
    }
    assert notes(index).left_out == {"images of tuberculosis without a box": 1}
    row = row_of(release, "tb1.png")
    assert (row["path"], row["split"]) == ("imgs/tb/tb1.png", "")
    assert TBX.boxes(row, release).tolist() == [[2, 3, 12, 15, 0]]
    assert TBX.mask(row, release).sum() == 120
    assert resolve_root(TBX, release.parent).path == release


def test_benchx_split(root: Path) -> None:
    split = reference_split(TBX, TBX.index(root), "benchx", 0)
    assert split["split"].value_counts().to_dict() == {"train": 28, "val": 6, "test": 6}
    counts = split.groupby("split")["label:Tuberculosis"].sum().to_dict()
    assert counts["train"] in (5, 6)
    assert {counts["val"], counts["test"]} <= {1, 2}
    assert len(reference_subset(TBX, split[split["split"] == "train"], "benchx", 0.5, 0)) == 14
    assert TBX.reference_split(split, "mgca", 0) is None


def test_counts_are_compared(root: Path) -> None:
    messages = [finding.message for finding in TBX.validate(root)]
    assert "tb: 8 found, 799 expected (published for the simplified version)." in messages


# ------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            ",no_tb,none,healthy",
            ",maybe,none,healthy",
            r"data\.csv, line 2, image 'h0000\.png': target 'maybe'",
        ),
        (
            ",no_tb,none,healthy",
            ",no_tb,none,well",
            r"line 2, image 'h0000\.png': target 'no_tb', image_type 'well'",
        ),
        (
            ",no_tb,none,healthy",
            ",tb,none,healthy",
            r"line 2, image 'h0000\.png': target 'tb', image_type 'healthy'",
        ),
        (
            f"h0000.png,{SIDE}",
            "h0000.png,tall",
            r"line 2, image 'h0000\.png': image size '32' x 'tall'",
        ),
        ("h0001.png", "h0000.png", r"line 3, image 'h0000\.png': this row occurs twice"),
        (
            f"tb0001.png,{SIDE},{SIDE},train,\"{{'xmin': 20.5",
            f"tb0001.png,{SIDE},99,train,\"{{'xmin': 20.5",
            r"line 42, .* in an earlier row",
        ),
        (
            "h0000.png",
            "h9999.png",
            r"1 of 40 images of .* have no file under .*images, e\.g\. 'h9999\.png'",
        ),
        (
            bbox(20.5, 20, 5, 5),
            "none",
            r"line 42, image 'tb0001\.png': target 'tb' and bbox 'none'",
        ),
        (
            ",none,no_tb,none,healthy",
            f",{bbox(1, 1, 2, 2)},no_tb,none,healthy",
            r"line 2, .*: target 'no_tb' and bbox",
        ),
        (
            bbox(20.5, 20, 5, 5),
            '"[1, 2, 3, 4]"',
            r"line 42, image 'tb0001\.png': bbox '\[1, 2, 3, 4\]' is not a box",
        ),
        (
            bbox(20.5, 20, 5, 5),
            '"__import__(1)"',
            r"line 42, image 'tb0001\.png': bbox '__import__\(1\)' is not a box",
        ),
        ("bbox", "box", r"lacks the column 'bbox'"),
        (
            f",{SIDE},{SIDE},",
            f",{'9' * 5000},{SIDE},",
            r"line 2, .*: image size '32' x '9999999999'",
        ),
    ],
)
def test_wrong_rows_are_named(root: Path, old: str, new: str, message: str) -> None:
    edit(root, old, new)
    with pytest.raises(DataError, match=message):
        TBX.index(root)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((20, 20, 0, 5), "has no area"),
        ((40, 20, 5, 5), "lies outside"),
        (("'x'", 2, 5, 5), "is not finite"),
    ],
)
def test_an_impossible_box_stops_or_is_skipped(
    root: Path, box: tuple[Any, ...], reason: str
) -> None:
    edit(root, bbox(20.5, 20, 5, 5), bbox(*box))
    with pytest.raises(
        DataError, match=rf"data\.csv, line 42, image 'tb0001\.png': box .* {reason}"
    ):
        prepare(TBX, root, size=16, annotations=(Masks(),))
    assert len(prepare(TBX, root, size=16, annotations=(Masks(),), on_error="skip").skipped) == 1


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "lists/TBX11K_val.txt",
            "sick/s2.png",
            "extra/s2.png",
            r"TBX11K_val\.txt, line \d+: image 'extra/s2\.png' is not in health, sick, tb",
        ),
        (
            "lists/TBX11K_val.txt",
            "sick/s2.png",
            "sick/s1.png",
            r"TBX11K_val\.txt, line \d+: image 'sick/s1\.png' is also in the list of train",
        ),
        (
            "lists/TBX11K_val.txt",
            "sick/s2.png",
            "sick/s9.png",
            r"1 of 7 images of .*TBX11K_val\.txt have no file",
        ),
        (
            "annotations/json/TBX11K_train.json",
            "ActiveTuberculosis",
            "Flu",
            r"TBX11K_train\.json, annotation 7: category 'Flu'",
        ),
        (
            "annotations/json/TBX11K_train.json",
            '"image_id": ',
            '"image_id": 1',
            r"annotation 7: image '.*' is not a tuberculosis image",
        ),
        (
            "annotations/json/TBX11K_train.json",
            '"bbox"',
            '"box"',
            r"TBX11K_train\.json is not in COCO form: KeyError: 'bbox'",
        ),
        (
            "annotations/json/TBX11K_train.json",
            "{",
            "",
            r"TBX11K_train\.json cannot be read as JSON",
        ),
    ],
)
def test_wrong_files_of_the_release_are_named(
    release: Path, file: str, old: str, new: str, message: str
) -> None:
    edit(release, old, new, file)
    with pytest.raises(DataError, match=message):
        TBX.index(release)


def test_an_impossible_box_of_the_release_names_its_annotation(release: Path) -> None:
    edit(release, "[2, 3, 10, 12]", "[2, 3, 0, 12]", "annotations/json/TBX11K_train.json")
    with pytest.raises(
        DataError,
        match=r"file .*TBX11K_train\.json, annotation 7, image 'tb0\.png': box .* has no area",
    ):
        TBX.boxes(row_of(release, "tb0.png"), release)


def test_an_image_that_the_boxes_file_leaves_out_has_its_own_size(release: Path) -> None:
    edit(
        release,
        f', {{"id": 1, "file_name": "health/h1.png", "height": {SIDE}, "width": {SIDE}}}',
        "",
        "annotations/json/TBX11K_train.json",
    )
    path = release / "imgs" / "health" / "h1.png"
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(path)
    row = row_of(release, "h1.png")
    assert (row["rows"], row["columns"]) == (20, 30) and TBX.mask(row, release).shape == (1, 20, 30)
    path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"image .*h1\.png does not state its size"):
        TBX.index(release)


def test_a_list_that_is_missing(release: Path) -> None:
    (release / "lists" / "TBX11K_val.txt").unlink()
    with pytest.raises(DataError, match=r"TBX11K_val\.txt does not exist"):
        TBX.index(release)
