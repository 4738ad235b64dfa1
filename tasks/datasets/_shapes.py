"""The annotations of Object-CXR: rectangles, ellipses and polygons in one string; their boxes and
masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np

RECTANGLE = "0"
ELLIPSE = "1"
POLYGON = "2"
LEAST_POINTS = {RECTANGLE: 2, ELLIPSE: 2, POLYGON: 3}
NAMES = {RECTANGLE: "rectangle", ELLIPSE: "ellipse", POLYGON: "polygon"}
Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Shape:
    """One outlined object: `kind` 0, 1 or 2; `points` (x, y) in pixels, two opposite corners of a
    rectangle or an ellipse."""

    kind: str
    points: tuple[tuple[float, float], ...]

    @property
    def bounds(self) -> Corners:
        """Return the tight box x1, y1, x2, y2."""
        xs, ys = zip(*self.points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


def parse_shapes(text: str, where: str) -> list[Shape]:
    """Parse "type x1 y1 x2 y2 ...;type ..."; no text is no object.

    Raise DataError starting with `where` for an unknown type, a coordinate that is no number, an
    odd number of them, a rectangle or an ellipse without exactly two corners, and a polygon of
    fewer than three points.
    """
    return [_parse(shape.split(), where) for shape in text.split(";") if shape.strip()]


def _parse(words: Sequence[str], where: str) -> Shape:
    kind = words[0]
    coordinates = words[1:]
    if kind not in NAMES:
        raise DataError(
            f"{where}: object type '{kind[:20]}'.",
            "0 rectangle, 1 ellipse or 2 polygon was expected.",
        )
    points, rest = divmod(len(coordinates), 2)
    if rest or points < LEAST_POINTS[kind] or (kind != POLYGON and points > LEAST_POINTS[kind]):
        expected = "at least 3" if kind == POLYGON else "2"
        raise DataError(
            f"{where}: a {NAMES[kind]} of {len(coordinates) / 2:g} points.",
            f"{expected} points were expected.",
        )
    numbers = [_number(word, where) for word in coordinates]
    return Shape(kind, tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def _number(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: coordinate '{word[:20]}'.", "A number was expected.")
    return value


def fill_shapes(
    shapes: Sequence[Shape], height: int, width: int, *, ellipses: bool = True
) -> np.ndarray:
    """Return the union of the filled objects, uint8 0/1 [height, width]; without `ellipses` these
    fill their box (BenchX)."""
    import cv2
    import numpy as np

    from bench.data.boxes import fill_boxes

    mask = np.zeros((height, width), np.uint8)
    for shape in shapes:
        x1, y1, x2, y2 = shape.bounds
        if shape.kind == POLYGON:
            cv2.fillPoly(mask, [np.rint(shape.points).astype(np.int32)], (1,))
        elif shape.kind == ELLIPSE and ellipses:
            cv2.ellipse(
                mask,
                (
                    ((x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2),
                    (max(x2 - x1 - 1, 0), max(y2 - y1 - 1, 0)),
                    0,
                ),
                (1,),
                -1,
            )
        else:
            mask |= fill_boxes([(x1, y1, x2, y2, 0)], height, width)[0]
    return mask


def centred_box(shape: Shape) -> Corners:
    """Return the box that MGCA gives a polygon; of another object, its tight box.

    It is centred on the point farthest inside the outline widened by 100 px (shapely's `polylabel`,
    tolerance 10) and reaches to the farther corner of the outline's bounds on each axis: never
    smaller than the tight box.
    """
    if shape.kind != POLYGON:
        return shape.bounds
    from shapely.geometry import LineString
    from shapely.ops import polylabel

    centre = polylabel(LineString([*shape.points, shape.points[0]]).buffer(100), tolerance=10)
    x1, y1, x2, y2 = shape.bounds
    half_width = max(centre.x - x1, x2 - centre.x)
    half_height = max(centre.y - y1, y2 - centre.y)
    return (
        centre.x - half_width,
        centre.y - half_height,
        centre.x + half_width,
        centre.y + half_height,
    )
