"""Boxes of a dataset: on the padded square its images are cached on, checked, filled."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.contracts import Dataset, OnError, Progress
from bench.core.errors import DataError
from bench.data.cache import Skipped
from bench.data.headers import read_shape
from bench.data.tables import remember

if TYPE_CHECKING:
    import pandas as pd

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BoxStore:
    """The boxes of every image: `boxes[image_id]` float32 [n, 5], x1, y1, x2, y2 in pixels of the
    padded square and the class."""

    boxes: dict[str, np.ndarray]
    skipped: tuple[Skipped, ...] = ()

    def data_hash(self) -> str:
        """Return a hash over ids and boxes, whatever their order."""
        digest = hashlib.blake2b(digest_size=16)
        for image in sorted(self.boxes):
            digest.update(f"{image}:{len(self.boxes[image])}:".encode())
            digest.update(np.ascontiguousarray(self.boxes[image], "<f4").tobytes())
        return digest.hexdigest()


def to_square(boxes: np.ndarray, shape: tuple[int, int], size: int) -> np.ndarray:
    """Bring boxes [n, 5] from the pixels of an image of `shape` (height, width) to the grid of
    `images.resize_pad`."""
    height, width = shape
    new_height, new_width = (max(1, int(side * size / max(shape))) for side in shape)
    top = (size - new_height) // 2
    left = (size - new_width) // 2
    scale = np.array([new_width / width, new_height / height] * 2)
    scaled = np.array(boxes, np.float64)
    scaled[:, :4] = scaled[:, :4] * scale + np.array([left, top] * 2)
    return scaled.astype(np.float32)


def check_boxes(boxes: np.ndarray, shape: tuple[int, int], classes: int) -> np.ndarray:
    """Return boxes [n, 5] clipped to the image of `shape`; raise DataError for one that cannot be.

    That is one that is not finite, has no area, lies wholly outside, or names a class there is not.
    """
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 5:
        raise DataError(
            f"boxes have shape {list(boxes.shape)}.",
            "Return float32 [n, 5]: x1, y1, x2, y2, class.",
        )
    for box in boxes:
        fault = _fault(box, shape, classes)
        if fault:
            raise DataError(
                f"box {np.round(box[:4], 2).tolist()} {fault}.",
                "Correct the annotation, or use --on-error skip.",
            )
    clipped = boxes.copy()
    clipped[:, 0:4:2] = clipped[:, 0:4:2].clip(0, shape[1])
    clipped[:, 1:4:2] = clipped[:, 1:4:2].clip(0, shape[0])
    return clipped


def _fault(box: np.ndarray, shape: tuple[int, int], classes: int) -> str:
    height, width = shape
    if not np.isfinite(box).all():
        return "is not finite"
    x1, y1, x2, y2, kind = box
    if x2 <= x1 or y2 <= y1:
        return "has no area"
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return f"lies outside the image of {width} x {height} px"
    return "" if kind == int(kind) and 0 <= kind < classes else f"has class {kind:g} of {classes}"


def fill_boxes(
    boxes: Iterable[Sequence[float]], height: int, width: int, classes: int = 1
) -> np.ndarray:
    """Return the union of the filled boxes of each class, uint8 0/1 [classes, height, width].

    Edges are rounded to whole pixels, a box thinner than a pixel fills one, what lies beyond the
    image is left out.
    """
    mask = np.zeros((classes, height, width), np.uint8)
    for x1, y1, x2, y2, kind in boxes:
        left = min(max(round(x1), 0), width - 1)
        top = min(max(round(y1), 0), height - 1)
        right = max(round(x2), left + 1)
        bottom = max(round(y2), top + 1)
        mask[int(kind), top:bottom, left:right] = 1
    return mask


def box_store(
    dataset: Dataset,
    index: pd.DataFrame,
    root: Path,
    size: int,
    *,
    on_error: OnError = "stop",
    progress: Progress | None = None,
) -> BoxStore:
    """Return the boxes of every image of `index` on the square of side `size`.

    A box over the edge is clipped, counted in one warning; an impossible one stops the run with
    DataError naming the image (`on_error="stop"`) or leaves the image out ("skip").
    """
    shapes = image_shapes(index, root, progress)
    on_square: dict[str, np.ndarray] = {}
    skipped = []
    clipped = 0
    for (_, row), shape in zip(index.iterrows(), shapes, strict=True):
        try:
            if shape == (0, 0):
                raise DataError("does not state its size.", "Download it again.")
            boxes = dataset.boxes(row, Path(root))
            inside = check_boxes(boxes, shape, len(dataset.box_classes))
        except DataError as error:
            if on_error == "stop":
                raise DataError(
                    f"dataset '{dataset.name}', image {root / row['path']}: {error.args[0]}",
                    error.hint,
                ) from error
            skipped.append(Skipped(str(row["image_id"]), str(row["path"]), str(error)))
            continue
        clipped += int((inside != boxes).any(axis=1).sum())
        on_square[str(row["image_id"])] = _ordered(to_square(inside, shape, size))
    if clipped:
        _logger.warning(
            "dataset '%s': %d boxes reach over the edge of their image and are clipped",
            dataset.name,
            clipped,
        )
    return BoxStore(on_square, tuple(skipped))


def _ordered(boxes: np.ndarray) -> np.ndarray:
    """Return boxes [n, 5] by class and corners: the order of a table's rows decides nothing."""
    return boxes[np.lexsort(boxes.T)]


def image_shapes(
    index: pd.DataFrame, root: Path, progress: Progress | None = None
) -> list[tuple[int, int]]:
    """Return (height, width) per row, read from the file headers once; (0, 0) where one has
    none."""
    columns = ("height", "width")
    files = index["path"].tolist()
    facts = remember(
        files,
        read_shape,
        root=Path(root),
        name="image-shapes-v1",
        columns=columns,
        progress=progress,
    )
    heights, widths = (facts[side].replace("", "0").astype(int) for side in columns)
    return list(zip(heights, widths, strict=True))
