"""Dice counts: histograms of float masks, the usual way, against counting set pixels of binary
masks."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from perf._timing import row, timed
from tasks.segmentation.metrics import count_pixels

SIZES = (128, 256, 512, 1024)
IMAGES = 8
WANTED = 30.0


def usual(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the counts the usual way: per image three histograms of float labels, as
    mmsegmentation's IoUMetric does."""
    counts = np.empty((*pred.shape[:2], 3), dtype=np.int64)
    for mask in np.ndindex(*pred.shape[:2]):
        predicted = torch.from_numpy(pred[mask].astype(np.uint8))
        truth = torch.from_numpy(target[mask].astype(np.uint8))
        both = predicted[predicted == truth]
        counts[mask] = [
            torch.histc(values.float(), bins=2, min=0, max=1)[1].item()
            for values in (both, predicted, truth)
        ]
    return counts


def run() -> list[dict[str, Any]]:
    """Return a row per image size, both ways timed side by side on the same masks."""
    rows = []
    rng = np.random.default_rng(0)
    for size in SIZES:
        pred, target = (rng.random((IMAGES, 1, size, size)) < 0.1 for _ in range(2))
        usual_s, expected = timed(partial(usual, pred, target), repeats=3)
        ours_s, counts = timed(partial(count_pixels, pred, target), repeats=7)
        equal = bool((expected == counts).all())
        ratio = WANTED if size == SIZES[-1] else ""
        rows.append(row("dice counts", f"{IMAGES} x {size}^2", usual_s, ours_s, equal, ratio))
    return rows
