"""Boxes that were made elsewhere: from COCO results to what a run keeps of its detections, and
back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import EVERY, CellContext, Predictions, Submission, Subset
from bench.core.errors import DataError, SettingError
from bench.core.storage import write_atomically
from bench.data.annotations import Boxes
from bench.data.boxes import check_boxes, image_shapes, to_square
from bench.data.submissions import check_ids
from bench.data.text import read_json
from tasks.detection.fit import measured, require_boxes, to_predictions
from tasks.detection.metrics import best_confidence, class_names

UNDECIDED = (
    "no threshold was stated and no validation file given: what is said of whole images is not "
    "measured"
)
_KEYS = ("image_id", "category_id", "bbox", "score")
_FORM = "A list of objects with image_id, category_id, bbox and score was expected."


@dataclass(frozen=True)
class _Given:
    """The boxes of a file, float64 [k, 6] by image: x1, y1, x2, y2, class, score; in pixels of the
    image file, or of the padded square where that has a `side`."""

    boxes: Mapping[str, np.ndarray]
    side: int | None


def read(submission: Submission, context: CellContext) -> Predictions:
    """Return what is kept of the boxes of the test images; one without a box has none detected.

    The confidence is the stated threshold, or chosen on the validation file as a run chooses it.
    """
    test = submission.test
    require_boxes(test, "test", context)
    classes = test.get(Boxes).classes
    facts = {"confidence": _confidence(submission, classes, context)}
    boxes = _boxes_of(submission.path, test, submission, "test", context)
    return measured(test, boxes, classes, facts, context.settings)


def _confidence(
    submission: Submission, classes: tuple[str, ...], context: CellContext
) -> float | None:
    stated = submission.thresholds
    if set(stated) - {EVERY}:
        raise SettingError(
            "--threshold names a class; one score decides for boxes of every class.",
            "Write one number.",
        )
    if stated:
        return stated[EVERY]
    if submission.validation is None:
        context.progress.say(f"{context.task.name}: {UNDECIDED}.")
        return None
    boxes = _boxes_of(submission.validation, submission.val, submission, "val", context)
    return best_confidence(to_predictions(submission.val, boxes, classes, {}))


def _boxes_of(
    path: Path, subset: Subset, submission: Submission, split: str, context: CellContext
) -> list[np.ndarray]:
    """Return the boxes of every image of a subset on its padded square, float32 [k, 6]."""
    classes = subset.get(Boxes).classes
    size = int(subset.image_store.shape[-1])
    given = _read_file(path, classes, size)
    images = subset.index["image_id"].astype(str).tolist()
    ids = [*given.boxes, *(image for image in dict.fromkeys(images) if image not in given.boxes)]
    check_ids(path, ids, images, submission, split=split)
    boxes = [given.boxes.get(image, np.zeros((0, 6))) for image in images]
    if given.side is not None:
        return [of_image.astype(np.float32) for of_image in boxes]
    shapes = image_shapes(subset.index, submission.root, context.progress)
    return [
        _on_square(path, image, of_image, shape, size, len(classes))
        for image, of_image, shape in zip(images, boxes, shapes, strict=True)
    ]


def _on_square(
    path: Path, image: str, boxes: np.ndarray, shape: tuple[int, int], size: int, classes: int
) -> np.ndarray:
    """Return boxes [k, 6] on the padded square; raise DataError for one outside its image."""
    try:
        inside = check_boxes(boxes[:, :5], shape, classes)
    except DataError as error:
        raise DataError(
            f"{path}, image '{image}': {error.args[0]}",
            "bbox is x, y, width and height in pixels of the image file.",
        ) from error
    on_square = to_square(inside, shape, size)
    return np.column_stack([on_square, boxes[:, 5]]).astype(np.float32)


def _read_file(path: Path, classes: tuple[str, ...], size: int) -> _Given:
    content = read_json(path)
    side = None
    if isinstance(content, dict) and {"side", "detections"} <= set(content):
        side = content["side"]
        if side != size:
            raise DataError(
                f"{path} is of squares of {side} px; those of this task have {size} px.",
                "Score it with the settings that it was exported with.",
            )
        content = content["detections"]
    if not isinstance(content, list):
        raise DataError(f"{path} holds no list.", _FORM)
    of_image: dict[str, list[tuple[float, ...]]] = {}
    for number, entry in enumerate(content, 1):
        image, box = _entry(path, number, entry, classes)
        of_image.setdefault(image, []).append(box)
    return _Given({image: np.array(boxes) for image, boxes in of_image.items()}, side)


def _entry(
    path: Path, number: int, entry: Any, classes: tuple[str, ...]
) -> tuple[str, tuple[float, ...]]:
    """Return image and box (corners, class, score) of one detection."""
    where = f"{path}, detection {number}"
    if not isinstance(entry, dict):
        raise DataError(f"{where} is no object.", _FORM)
    missing = [key for key in _KEYS if key not in entry]
    if missing:
        raise DataError(f"{where} lacks {missing[0]}.", _FORM)
    bbox = entry["bbox"]
    if not (isinstance(bbox, list) and len(bbox) == 4 and all(map(_is_number, bbox))):
        raise DataError(f"{where}: bbox is {str(bbox)[:60]}.", "Four numbers were expected.")
    if not _is_number(entry["score"]):
        raise DataError(
            f"{where}: score is {str(entry['score'])[:30]}.", "A finite number was expected."
        )
    x, y, width, height = bbox
    kind = _class_of(where, entry["category_id"], classes)
    return str(entry["image_id"]), (x, y, x + width, y + height, kind, entry["score"])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _class_of(where: str, category: Any, classes: tuple[str, ...]) -> int:
    """Return the number of a class, which is named or counted from 1."""
    if category in classes:
        return classes.index(category)
    whole = isinstance(category, int) and not isinstance(category, bool)
    if whole and 1 <= category <= len(classes):
        return int(category) - 1
    names = ", ".join(f"{number} {name}" for number, name in enumerate(classes, 1))
    raise DataError(f"{where}: category_id is {str(category)[:30]}.", f"Classes: {names}.")


def write(predictions: Predictions, record: Mapping[str, Any], path: Path) -> Mapping[str, float]:
    """Write the detections of a run, in pixels of the padded square; return its confidence."""
    arrays = predictions.arrays
    names = class_names(predictions)
    detections = []
    for row, image in enumerate(predictions.table["image_id"].astype(str)):
        for box in np.flatnonzero(arrays["classes"][row] >= 0):
            corners = arrays["corners"][row, box].astype(float)
            bbox = [*corners[:2], *(corners[2:] - corners[:2])]
            detections.append(
                {
                    "image_id": image,
                    "category_id": names[int(arrays["classes"][row, box])],
                    "bbox": [float(value) for value in bbox],
                    "score": float(arrays["scores"][row, box]),
                }
            )
    side = int(record["setting:image_size"])
    write_atomically(path, json.dumps({"side": side, "detections": detections}))
    confidence = predictions.extra.get("confidence")
    return {} if confidence is None else {EVERY: float(confidence)}
