"""Boxes of tables: filled like a loop over pixels, merged over readers by the stated rule, named
where they cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.contracts import Dataset, Finding
from bench.core.errors import DataError
from bench.data.boxes import fill_boxes
from tasks.datasets._boxes import box_results, checked_boxes, merge_boxes, number, overlap

SIDE = 12
corner = st.integers(-4, SIDE + 4)
boxes = st.lists(
    st.tuples(corner, corner, st.integers(1, 9), st.integers(1, 9), st.integers(0, 1)), max_size=5
)


@given(boxes)
def test_filled_boxes_equal_a_loop_over_pixels(drawn: list[tuple[int, ...]]) -> None:
    wanted = np.zeros((2, SIDE, SIDE), np.uint8)
    inside = [
        (x, y, x + w, y + h, c)
        for x, y, w, h, c in drawn
        if x < SIDE and y < SIDE and x + w > 0 and y + h > 0
    ]
    for x1, y1, x2, y2, c in inside:
        for y in range(SIDE):
            for x in range(SIDE):
                wanted[c, y, x] |= x1 <= x < x2 and y1 <= y < y2
    assert (fill_boxes(inside, SIDE, SIDE, 2) == wanted).all()


def test_a_box_thinner_than_a_pixel_fills_one() -> None:
    assert fill_boxes([(3.2, 4.0, 3.4, 6.0, 0)], SIDE, SIDE).sum() == 2
    assert fill_boxes([(11.9, 11.9, 12.0, 12.0, 0)], SIDE, SIDE).sum() == 1


@given(boxes)
def test_overlap_equals_counted_pixels(drawn: list[tuple[int, ...]]) -> None:
    for x, y, w, h, _ in drawn:
        for u, v, s, t, _ in drawn:
            one = {(i, j) for i in range(x, x + w) for j in range(y, y + h)}
            two = {(i, j) for i in range(u, u + s) for j in range(v, v + t)}
            wanted = len(one & two) / len(one | two)
            assert overlap((x, y, x + w, y + h), (u, v, u + s, v + t)) == pytest.approx(wanted)


def test_three_readers_of_one_thing_become_its_mean_box() -> None:
    drawn = [((0, 0, 10, 10, 3), "R1"), ((1, 0, 11, 10, 3), "R2"), ((2, 0, 12, 10, 3), "R3")]
    assert merge_boxes(drawn) == [(1, 0, 11, 10, 3)]


def test_what_one_reader_alone_drew_is_kept_and_classes_and_distant_boxes_stay_apart() -> None:
    drawn = [((0, 0, 10, 10, 0), "R1"), ((0, 0, 10, 10, 1), "R2"), ((20, 20, 30, 30, 0), "R2")]
    assert merge_boxes(drawn) == [box for box, _ in drawn]


def test_two_boxes_of_one_reader_are_never_merged() -> None:
    drawn = [((0, 0, 10, 10, 0), "R1"), ((1, 0, 11, 10, 0), "R1"), ((1, 0, 11, 10, 0), "R2")]
    assert merge_boxes(drawn) == [(0, 0, 10, 10, 0), (1, 0, 11, 10, 0)]


@given(boxes)
def test_merging_one_reader_changes_nothing(drawn: list[tuple[int, ...]]) -> None:
    own = [((x, y, x + w, y + h, c), "R1") for x, y, w, h, c in drawn]
    assert merge_boxes(own) == [box for box, _ in own]


def row(*own: tuple[int, ...] | Any, rows: int = 10, columns: int = 20) -> pd.Series:
    return pd.Series(
        {
            "image_id": "i",
            "path": "i.dcm",
            "boxes": own,
            "lines": tuple(range(5, 5 + len(own))),
            "rows": rows,
            "columns": columns,
        }
    )


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((1, 1, 1, 5, 0), "has no area"),
        ((5, 1, 1, 5, 0), "has no area"),
        ((20, 1, 25, 5, 0), "lies outside the image of 20 x 10 px"),
        ((1, -5, 2, 0, 0), "lies outside"),
        ((float("nan"), 1, 2, 5, 0), "is not finite"),
        ((number("12px"), 1, 2, 5, 0), "is not finite"),
        ((1, 1, 2, float("inf"), 0), "is not finite"),
    ],
)
def test_a_box_that_cannot_be_is_named_with_its_line(box: tuple[float, ...], reason: str) -> None:
    with pytest.raises(DataError, match=rf"table t\.csv, line 6, image 'i': .*{reason}"):
        checked_boxes(row((0, 0, 2, 2, 0), box), Path(), Path("t.csv"))


def test_boxes_come_back_as_they_are_in_the_table() -> None:
    found = checked_boxes(row((-1, 2, 25, 5, 0)), Path(), Path("t.csv"))
    assert found.dtype == np.float32
    assert found.tolist() == [[-1, 2, 25, 5, 0]]
    assert checked_boxes(row(), Path(), Path("t.csv")).shape == (0, 5)


def test_an_image_whose_size_is_unknown_is_named() -> None:
    with pytest.raises(DataError, match=r"i\.dcm does not state its size"):
        checked_boxes(row((0, 0, 2, 2, 0), rows=0), Path("/data"), Path("t.csv"))


class Table(Dataset):
    """Boxes as its table has them."""

    def index(self, root: Path) -> pd.DataFrame:
        return pd.DataFrame()

    def validate(self, root: Path) -> list[Finding]:
        return []

    def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
        return checked_boxes(row, root, Path("t.csv"))


def test_findings_count_impossible_boxes_and_those_over_the_edge() -> None:
    index = pd.DataFrame(
        [row((0, 0, 2, 2, 0)), row((0, 0, 25, 2, 0), (-1, 0, 2, 2, 0)), row((0, 0, 0, 2, 0))]
    )
    messages = [(finding.level, finding.message) for finding in box_results(Table(), index, Path())]
    assert messages[0][0] == "error"
    assert messages[0][1].startswith("1 images have an impossible box, e.g. table t.csv, line 5")
    assert messages[1] == ("warning", "2 boxes reach beyond their image and are cut at its edge.")
