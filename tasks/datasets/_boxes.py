"""Boxes of a table: checked against their image, made into masks, merged over readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, Dataset
from bench.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Box = tuple[float, float, float, float, int]
"""x1, y1, x2, y2 in pixels of the image file, right and lower edge exclusive; and the class."""


class BoxRows:
    """The rows of a table with one row per box (or one without), grouped by image."""

    def __init__(self) -> None:
        self._facts: dict[str, tuple[str, ...]] = {}
        self._boxes: dict[str, dict[Box | None, int]] = {}

    def add(
        self, image: str, facts: tuple[str, ...], box: Box | None, line: int, where: str
    ) -> None:
        """Take in one row; raise DataError where it names no image, its facts are not those of an
        earlier row of the image, or it occurs twice."""
        if not image:
            raise DataError(f"{where}: a blank image id.", "Download it again.")
        first = self._facts.setdefault(image, facts)
        if facts != first:
            raise DataError(
                f"{where}: {', '.join(facts)}; in an earlier row {', '.join(first)}.",
                "Download it again.",
            )
        if box in self._boxes.setdefault(image, {}):
            raise DataError(f"{where}: this row occurs twice.", "Download it again.")
        self._boxes[image][box] = line

    def table(self, names: Sequence[str]) -> pd.DataFrame:
        """Return one row per image, sorted by `image_id`: its facts under `names`, its `boxes` and
        the `lines` they stand in."""
        import pandas as pd

        images = sorted(self._facts)
        boxes = []
        for image in images:
            boxes.append({box: line for box, line in self._boxes[image].items() if box})
        facts = {}
        for column, name in enumerate(names):
            facts[name] = [self._facts[image][column] for image in images]
        return pd.DataFrame(
            {
                "image_id": images,
                **facts,
                "boxes": [tuple(lines_of_box) for lines_of_box in boxes],
                "lines": [tuple(lines_of_box.values()) for lines_of_box in boxes],
            }
        )


def number(word: str) -> float:
    """Return a coordinate of a table; NaN (refused when the box is used) where the word is none."""
    try:
        return float(word)
    except ValueError:
        return math.nan


def checked_boxes(row: pd.Series, root: Path, table: Path, classes: int = 1) -> np.ndarray:
    """Return the boxes of an index row as they are in the table, float32 [n, 5]: x1, y1, x2, y2,
    class.

    The row has private columns `boxes`, `lines`, `rows` and `columns`. Raise DataError naming
    table, line and image for a coordinate that is no number, a box without area and one outside its
    image.
    """
    import numpy as np

    from bench.data.boxes import check_boxes
    from tasks.datasets._dicom import image_size

    boxes = np.array(row["boxes"], np.float64).reshape(-1, 5)
    shape = image_size(row, root) if len(boxes) else (0, 0)
    for box, line in zip(boxes, row["lines"], strict=True):
        try:
            check_boxes(box[None], shape, classes)
        except DataError as error:
            where = (
                f"file {table}, annotation {line}"
                if table.suffix == ".json"
                else f"table {table}, line {line}"
            )
            raise DataError(
                f"{where}, image '{row['image_id']}': {error.args[0]}", error.hint
            ) from error
    return boxes.astype(np.float32)


def filled_mask(row: pd.Series, root: Path, boxes: np.ndarray, classes: int = 1) -> np.ndarray:
    """Return the filled boxes of an index row in the pixel grid of its image, uint8 0/1 [classes,
    H, W]."""
    from bench.data.boxes import fill_boxes
    from tasks.datasets._dicom import image_size

    height, width = image_size(row, root)
    return fill_boxes(boxes, height, width, classes)


def box_results(dataset: Dataset, index: pd.DataFrame, root: Path) -> list[CheckResult]:
    """Say which boxes of an index cannot be, and how many reach beyond their image (they are cut at
    its edge)."""
    faults = []
    beyond = 0
    for _, row in index.iterrows():
        try:
            boxes = dataset.boxes(row, root)
        except DataError as error:
            faults.append(error.args[0])
            continue
        far = [row["columns"], row["rows"]]
        is_beyond = (boxes[:, :2] < 0) | (boxes[:, 2:4] > far)
        beyond += int(is_beyond.any(axis=1).sum())
    results = []
    if faults:
        message = f"{len(faults)} images have an impossible box, e.g. {faults[0]}"
        results.append(CheckResult("error", message))
    if beyond:
        message = f"{beyond} boxes reach beyond their image and are cut at its edge."
        results.append(CheckResult("warning", message))
    return results


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the intersection over union of two boxes."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    if across <= 0 or down <= 0:
        return 0.0
    return across * down / (_area(one) + _area(other) - across * down)


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def merge_boxes(boxes: Sequence[tuple[Box, str]], least: float = 0.4) -> list[Box]:
    """Merge the boxes that several readers drew of one thing; `boxes` holds (box, reader) in the
    order of the table.

    A box joins the group of its class whose mean box it overlaps most, at an intersection over
    union of at least `least`, unless its reader has one there; else it opens a group. A group
    becomes its mean box. One reader's box alone is kept.
    """
    groups: list[list[tuple[Box, str]]] = []
    for box, reader in boxes:
        open_groups = [group for group in groups if _may_join(group, box, reader)]
        best = max(open_groups, key=lambda group: overlap(_mean(group), box), default=None)
        if best is not None and overlap(_mean(best), box) >= least:
            best.append((box, reader))
        else:
            groups.append([(box, reader)])
    return [_mean(group) for group in groups]


def _may_join(group: Sequence[tuple[Box, str]], box: Box, reader: str) -> bool:
    """Say whether a group is of a box's class and has no box of its reader."""
    first, _ = group[0]
    return first[4] == box[4] and all(other != reader for _, other in group)


def _mean(group: Sequence[tuple[Box, str]]) -> Box:
    boxes = [box for box, _ in group]
    x1, y1, x2, y2 = (sum(box[side] for box in boxes) / len(boxes) for side in range(4))
    return (x1, y1, x2, y2, boxes[0][4])
