"""Boxes on the padded square: they move with the image, and impossible ones are named, refused or
counted."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.contracts import CheckResult, Dataset
from bench.core.errors import DataError
from bench.data.annotations import Boxes
from bench.data.boxes import box_store, check_boxes, to_square
from bench.data.images import resize_pad
from bench.data.loading import prepare

SHAPE = (60, 100)


class Boxed(Dataset):
    """Three PNGs of 100 x 60 px with boxes by name."""

    name, title, licence, citation, how_to_get = "boxed", "", "", "", ""
    box_classes = ("a", "b")

    def __init__(self, boxes: Mapping[str, Sequence[Sequence[float]]]) -> None:
        self.own = boxes

    def index(self, root: Path) -> pd.DataFrame:
        ids = list(self.own)
        paths = [f"{image}.png" for image in ids]
        for k, path in enumerate(paths):
            cv2.imwrite(str(root / path), np.full(SHAPE, 50 + k, np.uint8))
        return pd.DataFrame({"image_id": ids, "patient_id": ids, "path": paths, "split": ""})

    def validate(self, root: Path) -> list[CheckResult]:
        return []

    def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
        return np.array(self.own[row["image_id"]], np.float32).reshape(-1, 5)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 200), st.integers(20, 200), st.integers(16, 128), st.integers(0, 1000))
def test_a_box_moves_with_the_image_it_is_on(height: int, width: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x1, y1 = rng.integers(0, width - 10), rng.integers(0, height - 10)
    x2, y2 = rng.integers(x1 + 8, width + 1), rng.integers(y1 + 8, height + 1)
    image = np.zeros((height, width), np.uint8)
    image[y1:y2, x1:x2] = 255
    moved = to_square(np.array([[x1, y1, x2, y2, 1]], np.float32), (height, width), size)[0]
    square = resize_pad(image, size)
    columns, rows = (
        np.flatnonzero((square > 127).any(axis=0)),
        np.flatnonzero((square > 127).any(axis=1)),
    )
    if len(columns) and len(rows):
        np.testing.assert_allclose(
            moved[:4], [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], atol=1.01
        )
    assert moved[4] == 1


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ([10, 10, 10, 20, 0], "has no area"),
        ([30, 10, 20, 20, 0], "has no area"),
        ([120, 10, 140, 20, 0], "lies outside the image of 100 x 60 px"),
        ([10, -30, 20, 0, 0], "lies outside"),
        ([10, float("nan"), 20, 20, 0], "is not finite"),
        ([10, 10, 20, 20, 2], "has class 2 of 2"),
        ([10, 10, 20, 20, 0.5], "has class 0.5 of 2"),
    ],
)
def test_impossible_boxes_name_the_image(tmp_path: Path, box: list[float], fault: str) -> None:
    dataset = Boxed({"good": [[1, 2, 30, 40, 0]], "bad": [box]})
    with pytest.raises(
        DataError, match=rf"dataset 'boxed', image .*bad.png: box .*{fault}.*--on-error skip"
    ):
        prepare(dataset, tmp_path, size=50, annotations=(Boxes(),))
    prepared = prepare(dataset, tmp_path, size=50, annotations=(Boxes(),), on_error="skip")
    assert prepared.index["image_id"].tolist() == ["good"]
    assert [(item.id, fault in item.reason) for item in prepared.skipped] == [("bad", True)]


def test_a_box_over_the_edge_is_clipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = Boxed(
        {"one": [[-5, 10, 20, 70, 0]], "two": [[90, 50, 104, 60, 1], [0, 0, 100, 60, 0]]}
    )
    with caplog.at_level(logging.WARNING):
        store = box_store(dataset, dataset.index(tmp_path), tmp_path, 100)
    assert "2 boxes reach over the edge" in caplog.text
    assert store.boxes["one"].tolist() == [[0, 30, 20, 80, 0]]  # 20 px of padding above
    assert store.boxes["two"][1].tolist() == [90, 70, 100, 80, 1]


def test_boxes_in_another_order_are_the_same_boxes(tmp_path: Path) -> None:
    rows = [[5, 10, 20, 50, 1], [40, 10, 60, 30, 0], [1, 2, 30, 40, 0]]
    hashes = {
        box_store(
            Boxed({"one": boxes}), Boxed({"one": boxes}).index(tmp_path), tmp_path, 100
        ).data_hash()
        for boxes in (rows, rows[::-1])
    }
    assert len(hashes) == 1


def test_wrong_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \[1, 4\]"):
        check_boxes(np.zeros((1, 4)), SHAPE, 1)


def test_subsets_carry_their_boxes_and_other_boxes_are_other_data(tmp_path: Path) -> None:
    boxes = {"one": [[0, 0, 50, 60, 0]], "none": [], "two": [[10, 10, 20, 20, 1]]}
    prepared = prepare(Boxed(boxes), tmp_path, size=50, annotations=(Boxes(),))
    subset = prepared.subset(prepared.index.iloc[[2, 1]])
    assert subset.boxes(0)[:, 4].tolist() == [1] and subset.boxes(1).shape == (0, 5)
    again = prepare(Boxed(boxes), tmp_path, size=50, annotations=(Boxes(),))
    other = prepare(
        Boxed({**boxes, "two": [[10, 10, 21, 20, 1]]}), tmp_path, size=50, annotations=(Boxes(),)
    )
    assert prepared.data_hash == again.data_hash != other.data_hash


def test_rows_with_other_private_columns_are_read_again(tmp_path: Path) -> None:
    class Scattered(Boxed):
        def index(self, root: Path) -> pd.DataFrame:
            return super().index(root).assign(rule="tight")

        def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
            return super().boxes(row, root) + np.array(
                [0, 0, 10 * (row["rule"] == "wide"), 0, 0], np.float32
            )

    prepared = prepare(
        Scattered({"one": [[0, 0, 50, 60, 0]]}), tmp_path, size=100, annotations=(Boxes(),)
    )
    assert prepared.subset(prepared.index).boxes(0)[0, 2] == 50
    assert prepared.subset(prepared.index.assign(rule="wide")).boxes(0)[0, 2] == 60


def test_a_task_without_boxes_says_so(tmp_path: Path) -> None:
    prepared = prepare(Boxed({"one": []}), tmp_path, size=50)
    with pytest.raises(DataError, match="these images have no boxes"):
        prepared.subset(prepared.index).boxes(0)
