"""Object-CXR as downloaded: three parts, boxes and masks of outlines, MGCA's and BenchX's ways, and
files that are wrong."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from bench.core.errors import DataError
from bench.data.annotations import Masks
from bench.data.loading import prepare
from bench.data.roots import resolve_root
from bench.data.splits import default_split
from tasks.datasets.object_cxr import ObjectCxr
from tests.support.object_cxr import ANNOTATIONS, HEIGHT, POLYGON, WIDTH, write_object_cxr
from tests.support.published import reference_split, reference_subset

OBJECTS = ObjectCxr()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_object_cxr(tmp_path / "object_cxr")


def edit(root: Path, old: str, new: str, file: str = "train.csv") -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))


def row_of(root: Path, image: str, index: pd.DataFrame | None = None) -> pd.Series:
    index = OBJECTS.index(root) if index is None else index
    return index.set_index("image_id", drop=False).loc[image]


def test_index(root: Path) -> None:
    index = OBJECTS.index(root)
    assert index["split"].value_counts().to_dict() == {"train": 20, "val": 8, "test": 4}
    assert index["image_id"].is_unique, "the parts number their images alike"
    row = row_of(root, "test/00002.jpg", index)
    assert (row["path"], row["rows"], row["columns"], row["label:Foreign object"]) == (
        "test/00002.jpg",
        HEIGHT,
        WIDTH,
        1,
    )
    assert index["label:Foreign object"].sum() == 16
    assert resolve_root(OBJECTS, root).path == root


def test_boxes_are_tight(root: Path) -> None:
    assert OBJECTS.boxes(row_of(root, "train/00001.jpg"), root).tolist() == [
        [5, 6, 15, 16, 0],
        [20, 20, 30, 26, 0],
    ]
    assert OBJECTS.boxes(row_of(root, "dev/00002.jpg"), root).tolist() == [[10, 10, 40, 30, 0]]
    assert OBJECTS.boxes(row_of(root, "train/00000.jpg"), root).shape == (0, 5)


def test_masks_are_the_outlines(root: Path) -> None:
    mask = OBJECTS.mask(row_of(root, "train/00001.jpg"), root)
    assert mask.shape == (1, HEIGHT, WIDTH)
    assert mask[0, 6:16, 5:15].all()
    assert 30 < mask[0, 18:, 18:].sum() < 60
    assert OBJECTS.mask(row_of(root, "train/00003.jpg"), root).sum() == 0


def test_without_test_labels_test_is_drawn_from_train(root: Path) -> None:
    (root / "test.csv").unlink()
    split = default_split(OBJECTS.index(root))
    assert set(split["split"]) == {"train", "val", "test"}
    assert set(split.loc[split["split"] == "test", "image_id"].str.split("/").str[0]) == {"train"}
    assert any("images of test: 0 found" in finding.message for finding in OBJECTS.validate(root))


def test_mgca_splits_the_rows_of_train_and_widens_polygons(root: Path) -> None:
    index = OBJECTS.index(root)
    split = reference_split(OBJECTS, index, "mgca", 0, "detection")
    train, val = train_test_split(
        index[index["split"] == "train"]["image_id"].tolist(), test_size=0.1, random_state=0
    )
    assert split.loc[split["split"] == "train", "image_id"].tolist() == train
    assert split.loc[split["split"] == "val", "image_id"].tolist() == val
    assert set(split.loc[split["split"] == "test", "image_id"].str[:3]) == {"dev"}
    tight = OBJECTS.boxes(row_of(root, "train/00002.jpg"), root)[0]
    wide = OBJECTS.boxes(row_of(root, "train/00002.jpg", split), root)[0]
    assert (wide[:2] <= tight[:2]).all()
    assert (wide[2:4] >= tight[2:4]).all()
    assert (wide[:4] != tight[:4]).any()
    assert len(reference_subset(OBJECTS, split[split["split"] == "train"], "mgca", 0.5, 0)) == 9


def test_a_mask_needs_no_box_of_mgca(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = reference_split(OBJECTS, OBJECTS.index(root), "mgca", 0, "segmentation")
    monkeypatch.setattr(
        "tasks.datasets._shapes.centred_box", lambda _: pytest.fail("a box was made for a mask")
    )
    assert OBJECTS.mask(row_of(root, "train/00002.jpg", split), root).any()


def test_mgca_keeps_twenty_objects(root: Path) -> None:
    edit(root, ANNOTATIONS[1], ";".join(["0 1 1 5 5"] * 30))
    split = reference_split(OBJECTS, OBJECTS.index(root), "mgca", 0, "detection")
    assert len(OBJECTS.boxes(row_of(root, "train/00001.jpg"), root)) == 30
    assert len(OBJECTS.boxes(row_of(root, "train/00001.jpg", split), root)) == 20


def test_benchx_keeps_the_official_split_and_fills_ellipses_as_boxes(root: Path) -> None:
    index = OBJECTS.index(root)
    split = reference_split(OBJECTS, index, "benchx", 0, "segmentation")
    assert (split["split"] == index["split"]).all()
    assert OBJECTS.mask(row_of(root, "train/00001.jpg", split), root).sum() == 100 + 60
    assert OBJECTS.reference_split(index, "default", 0) is None


def test_counts_are_compared(root: Path) -> None:
    messages = [finding.message for finding in OBJECTS.validate(root)]
    assert "images of train: 20 found, 8000 expected (published)." in messages


# ------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("00003.jpg", "00002.jpg", r"train\.csv, line 5: image_name '00002\.jpg' occurs twice"),
        (
            "00003.jpg",
            "99999.jpg",
            r"1 of 20 images of .*train\.csv have no file under .*train, e\.g\. '99999\.jpg'",
        ),
        ("annotation", "objects", r"lacks the column 'annotation'"),
        ("image_name", "name", r"lacks the column 'image_name'"),
    ],
)
def test_wrong_tables_are_named(root: Path, old: str, new: str, message: str) -> None:
    edit(root, old, new)
    with pytest.raises(DataError, match=message):
        OBJECTS.index(root)


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ("2 10 10 40 12", "a polygon of 2 points"),
        ("4 10 10 40 12", "object type '4'"),
        ("0 10 10 10 30", "box .* has no area"),
        ("0 60 10 70 30", "lies outside the image of 50 x 40 px"),
        ("2 60 10 70 30 80 30", "lies outside the image of 50 x 40 px"),
        ("1 10 10 nan 30", "coordinate 'nan'"),
    ],
)
def test_an_impossible_object_stops_or_is_skipped_and_counted(
    root: Path, new: str, reason: str
) -> None:
    edit(root, POLYGON, new)
    with pytest.raises(
        DataError, match=rf"train\.csv, line 4, image 'train/00002\.jpg': .*{reason}"
    ):
        prepare(OBJECTS, root, size=20, annotations=(Masks(),))
    prepared = prepare(OBJECTS, root, size=20, annotations=(Masks(),), on_error="skip")
    assert [item.id for item in prepared.skipped] == ["train/00002.jpg"]
    faults = [finding.message for finding in OBJECTS.validate(root) if finding.level == "error"]
    assert sum("1 images have an impossible box" in fault for fault in faults) == 1


def test_an_object_over_the_edge_is_cut_and_counted(root: Path) -> None:
    edit(root, POLYGON, "0 40 30 60 50")
    assert OBJECTS.mask(row_of(root, "train/00002.jpg"), root).sum() == 100
    assert any(
        "1 boxes reach beyond their image" in finding.message for finding in OBJECTS.validate(root)
    )
