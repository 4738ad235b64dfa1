"""Masks that were made elsewhere: from a folder of PNG files to what a run keeps of its masks, and
back."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import CellContext, Predictions, Submission
from bench.core.errors import DataError
from bench.core.storage import write_atomically
from bench.data.annotations import Masks
from bench.data.boxes import image_shapes
from bench.data.grey import bound_pillow
from bench.data.images import resize_pad_mask
from bench.data.submissions import check_ids, column_of, read_numbers, read_rows, write_rows
from bench.data.text import is_hidden, read_content
from tasks.segmentation.fit import Batch, measured, require_masks
from tasks.segmentation.metrics import class_names, image_scores

SCORES = "scores.csv"
"""A table beside the masks: how sure each image is to hold each class."""
ROWS = 32
"""Images that are read together."""


def read(submission: Submission, context: CellContext) -> Predictions:
    """Return what is kept of the masks of the test images; raise DataError where no test image has
    a true mask.

    A PNG is as large as its image, or as the padded square. Without a table of scores a mask counts
    as probabilities of 0 and 1 in `image_auroc`.
    """
    test = submission.test
    require_masks(test, "test", context)
    classes = test.get(Masks).classes
    folder = _Folder(submission, classes, context)
    return measured(test, folder.batches(), classes, {}, context)


class _Folder:
    """The masks of a folder, `<image_id>.png`; of several classes `<class>/<image_id>.png`."""

    def __init__(
        self, submission: Submission, classes: tuple[str, ...], context: CellContext
    ) -> None:
        self.submission = submission
        self.path = submission.path
        self.images = submission.test.index["image_id"].astype(str).tolist()
        self.size = int(submission.test.image_store.shape[-1])
        self.context = context
        if not self.path.is_dir():
            raise DataError(f"{self.path} is no folder.", "Name the folder of the PNG files.")
        self.folders = [self._folder_of(name, classes) for name in classes]
        for folder in self.folders:
            check_ids(folder, _stems(folder, self.folders), self.images, submission)
        self.scores = self._read_scores(classes)
        self._shapes: dict[str, tuple[int, int]] = {}

    def _folder_of(self, name: str, classes: tuple[str, ...]) -> Path:
        folder = self.path / name
        if folder.is_dir():
            return folder
        if len(classes) > 1:
            raise DataError(
                f"{self.path} lacks the folder '{name}'.",
                f"Of several classes each has a folder of its own: {', '.join(classes)}.",
            )
        return self.path

    def _read_scores(self, classes: tuple[str, ...]) -> np.ndarray | None:
        """Return the scores of the images [n, C]; None where there is no table."""
        path = self.path / SCORES
        if not path.is_file():
            return None
        header, rows = read_rows(path)
        key = column_of(path, header, ["image_id"])
        order = check_ids(path, [row[key] for row in rows], self.images, self.submission)
        columns = [
            read_numbers(path, rows, column_of(path, header, [name]), name, key) for name in classes
        ]
        return np.stack(columns, axis=1)[order]

    def batches(self) -> Iterator[Batch]:
        """Yield rows, masks and scores of all images in order."""
        for start in range(0, len(self.images), ROWS):
            rows = np.arange(start, min(start + ROWS, len(self.images)))
            masks = np.stack([self._masks(self.images[row]) for row in rows])
            if self.scores is None:
                yield rows, masks, image_scores(masks.astype(np.float32))
            else:
                yield rows, masks, self.scores[rows]

    def _masks(self, image: str) -> np.ndarray:
        """Return the masks of an image on its padded square, bool [C, S, S]."""
        return np.stack([self._mask(folder / f"{image}.png", image) for folder in self.folders])

    def _mask(self, path: Path, image: str) -> np.ndarray:
        mask = _read_png(path)
        if mask.shape == (self.size, self.size):
            return mask
        expected = self._shape_of(image)
        if mask.shape != expected:
            raise DataError(
                f"{path} has {mask.shape[1]} x {mask.shape[0]} px; the image has {expected[1]} x "
                f"{expected[0]}, the square it is read on {self.size} x {self.size}.",
                "Give masks in the pixels of the image file.",
            )
        square: np.ndarray = resize_pad_mask(mask.astype(np.uint8), self.size)
        return square.astype(bool)

    def _shape_of(self, image: str) -> tuple[int, int]:
        if not self._shapes:
            index = self.submission.test.index
            shapes = image_shapes(index, self.submission.root, self.context.progress)
            self._shapes = dict(zip(self.images, shapes, strict=True))
        return self._shapes[image]


def _stems(folder: Path, beside: Sequence[Path]) -> list[str]:
    """Return the ids of the images that have a PNG in a folder, those of other classes left out."""
    inner = [other for other in beside if other != folder and folder in other.parents]
    return sorted(
        path.relative_to(folder).as_posix().removesuffix(".png")
        for path in folder.rglob("*.png")
        if not is_hidden(path.name) and not any(other in path.parents for other in inner)
    )


def _read_png(path: Path) -> np.ndarray:
    """Return a mask of two values, bool [H, W]; raise DataError for any other picture."""
    from PIL import Image

    content = read_content(path, "image")
    bound_pillow()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            values = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path} does not read as a picture: {reason}.", "Write a PNG.") from error
    if values.ndim != 2:
        raise DataError(
            f"{path} has {values.shape[2]} channels.", "A mask has one: black, and one other value."
        )
    present = np.unique(values)
    if len(present) > 2 or (len(present) == 2 and present[0] != 0):
        raise DataError(
            f"{path} holds {len(present)} values, {present[0]} to {present[-1]}.",
            "A mask holds 0 and one other value: cut probabilities at your threshold.",
        )
    return values > 0


def write(predictions: Predictions, record: Mapping[str, Any], path: Path) -> Mapping[str, float]:
    """Write the masks of a run as such a folder, on their padded squares, with their scores."""
    from PIL import Image

    table = predictions.table
    names = class_names(table)
    packed = predictions.arrays["masks"]
    images = table["image_id"].astype(str).tolist()
    for row, image in enumerate(images):
        masks = np.unpackbits(packed[row], axis=-1, count=packed.shape[2])
        for c, name in enumerate(names):
            folder = path / name if len(names) > 1 else path
            buffer = io.BytesIO()
            Image.fromarray(masks[c] * np.uint8(255)).save(buffer, format="PNG")
            write_atomically(folder / f"{image}.png", buffer.getvalue())
    if all(f"score:{name}" in table for name in names):
        values = [table[f"score:{name}"].astype(float).tolist() for name in names]
        write_rows(path / SCORES, ["image_id", *names], zip(images, *values, strict=True))
    return {}
