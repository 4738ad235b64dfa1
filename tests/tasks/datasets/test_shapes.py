"""Object-CXR's annotation strings: parsed, boxed and filled; what cannot be is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import DataError
from tasks.datasets._shapes import (
    ELLIPSE,
    POLYGON,
    RECTANGLE,
    Shape,
    centred_box,
    fill_shapes,
    parse_shapes,
)

WHERE = "table t.csv, line 3"


def test_objects_of_all_three_types() -> None:
    found = parse_shapes("0 10 12 20 30;1 5 5 9 9;2 1 1 8 1 8 9", WHERE)
    assert [shape.kind for shape in found] == [RECTANGLE, ELLIPSE, POLYGON]
    assert [shape.bounds for shape in found] == [(10, 12, 20, 30), (5, 5, 9, 9), (1, 1, 8, 9)]


def test_corners_in_any_order_and_no_text() -> None:
    assert parse_shapes("0 20 30 10 12;", WHERE)[0].bounds == (10, 12, 20, 30)
    assert parse_shapes("", WHERE) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3 1 2 3 4", "object type '3'"),
        ("box 1 2 3 4", "object type 'box'"),
        ("2 1 1 5 5", "a polygon of 2 points"),
        ("2 1 1 5 5 8", "a polygon of 2.5 points"),
        ("0 1 1 5", "a rectangle of 1.5 points"),
        ("1 1 1 5 5 8 8", "an? ellipse of 3 points"),
        ("0", "a rectangle of 0 points"),
        ("0 1 1 nan 5", "coordinate 'nan'"),
        ("0 1 1 x 5", "coordinate 'x'"),
    ],
)
def test_what_cannot_be_is_named(text: str, reason: str) -> None:
    with pytest.raises(DataError, match=rf"{WHERE}: {reason}"):
        parse_shapes(f"0 1 1 4 4;{text}", WHERE)


side = st.integers(3, 40)


@given(st.integers(-5, 50), st.integers(-5, 50), side, side)
def test_an_ellipse_fills_what_its_equation_says(x: int, y: int, width: int, height: int) -> None:
    mask = fill_shapes([Shape(ELLIPSE, ((x, y), (x + width, y + height)))], 60, 60)
    rows, columns = np.mgrid[:60, :60]
    reach = ((columns + 0.5 - x - width / 2) / (width / 2)) ** 2 + (
        (rows + 0.5 - y - height / 2) / (height / 2)
    ) ** 2
    slack = 2.5 / min(width, height)
    assert not (mask & (reach > (1 + slack) ** 2)).any()
    assert (mask | (reach > max(0, 1 - slack) ** 2)).all()


def test_an_ellipse_is_a_rectangle_in_benchx() -> None:
    shapes = [Shape(ELLIPSE, ((5, 5), (25, 15)))]
    assert fill_shapes(shapes, 30, 30, ellipses=False).sum() == 200
    assert fill_shapes(shapes, 30, 30).sum() == pytest.approx(np.pi * 10 * 5, rel=0.05)


def test_a_polygon_is_filled_and_objects_are_joined() -> None:
    triangle = Shape(POLYGON, ((2, 2), (22, 2), (2, 22)))
    mask = fill_shapes([triangle, Shape(RECTANGLE, ((25, 25), (28, 28)))], 30, 30)
    assert int(mask[:23, :23].sum()) == 21 * 22 // 2, "its outline is part of it"
    assert mask[25:28, 25:28].all()
    assert mask.max() == 1


def test_mgcas_box_of_a_polygon_holds_the_tight_one_and_is_centred_inside() -> None:
    polygon = Shape(POLYGON, ((100, 100), (400, 110), (390, 150), (120, 300)))
    x1, y1, x2, y2 = centred_box(polygon)
    left, top, right, bottom = polygon.bounds
    assert x1 <= left
    assert y1 <= top
    assert x2 >= right
    assert y2 >= bottom
    assert (x2 - x1) * (y2 - y1) > (right - left) * (bottom - top)
    assert centred_box(Shape(ELLIPSE, ((1, 2), (3, 4)))) == (1, 2, 3, 4)


def test_mgcas_box_of_a_square_is_the_tight_one() -> None:
    square = Shape(POLYGON, ((0, 0), (50, 0), (50, 50), (0, 50)))
    assert centred_box(square) == pytest.approx((0, 0, 50, 50), abs=12)
