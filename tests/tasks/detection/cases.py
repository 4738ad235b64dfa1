"""Random detections and their predictions record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.contracts import Predictions
from tasks.detection.matching import match, pack_boxes


def random_boxes(rng: np.random.Generator, count: int, size: int = 64) -> np.ndarray:
    low = rng.uniform(0, size * 0.7, (count, 2))
    return np.concatenate([low, low + rng.uniform(3, size * 0.4, (count, 2))], axis=1)


def random_case(
    seed: int, images: int = 12, classes: int = 2, ties: bool = True
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return lists of truth [g, 5] and detections [k, 6] per image: some hit, some do not, some
    images have neither."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(images):
        boxes = random_boxes(rng, rng.choice([0, 0, 1, 2, 4]))
        truth.append(
            np.column_stack([boxes, rng.integers(0, classes, len(boxes))]).astype(np.float32)
        )
        near = np.repeat(boxes, rng.integers(0, 3), axis=0)
        near = near + rng.normal(0, 3, near.shape)
        corners = np.concatenate([near, random_boxes(rng, int(rng.integers(0, 4)))])
        corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)
        labels = rng.integers(0, classes, len(corners))
        labels[: len(near)] = np.where(
            rng.random(len(near)) < 0.8, np.resize(truth[-1][:, 4], len(near)), labels[: len(near)]
        )
        scores = rng.random(len(corners)).round(1 if ties else 9)
        found.append(np.column_stack([corners, labels, scores]).astype(np.float32))
    return truth, found


def as_predictions(
    truth: tuple[np.ndarray, ...] | list[np.ndarray],
    found: list[np.ndarray],
    classes: tuple[str, ...] = ("a", "b"),
    extra: Mapping[str, Any] | None = None,
    patients: Sequence[str] | None = None,
) -> Predictions:
    """Return what a cell keeps of these boxes."""
    t, f = pack_boxes(truth, scored=False), pack_boxes(found, scored=True)
    table = pd.DataFrame({"image_id": [f"i{k}" for k in range(len(truth))]})
    table["patient_id"] = (
        patients if patients is not None else [f"p{k // 2}" for k in range(len(truth))]
    )
    for kind, name in enumerate(classes):
        table[f"boxes:{name}"] = [int((one[:, 4] == kind).sum()) for one in truth]
    arrays = {
        "corners": f.corners,
        "classes": f.classes,
        "scores": f.scores,
        "matches": match(f, t),
    }
    arrays |= {"truth": t.corners, "truth_classes": t.classes}
    return Predictions(table, arrays, extra or {})
