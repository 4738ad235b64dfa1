"""Detections of many images as padded arrays, and which of them hit a true box at which IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

IOUS = np.arange(8, 20) / 20
"""0.40:0.05:0.95; RSNA counts the first eight, COCO the last ten."""
MAX_DETECTIONS = 100
"""Per image, as COCO."""


@dataclass(frozen=True)
class Boxes:
    """The boxes of n images, padded to the most any image has; class -1 is padding.

    `corners` float32 [n, K, 4] x1, y1, x2, y2; `classes` int16 [n, K]; `scores` float32 [n, K], by
    falling score (0 for truth).
    """

    corners: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    @property
    def real(self) -> np.ndarray:
        """Return which entries are boxes, bool [n, K]."""
        return self.classes >= 0


def pack_boxes(lists: Sequence[np.ndarray], *, scored: bool) -> Boxes:
    """Pack one array per image [k, 5] (corners, class), or where `scored` [k, 6] (corners, class,
    score).

    Detections are put in order of falling score (equal ones as they come) and cut at
    `MAX_DETECTIONS`.
    """
    if scored:
        lists = [boxes[np.argsort(-boxes[:, 5], kind="stable")][:MAX_DETECTIONS] for boxes in lists]
    width = max((len(boxes) for boxes in lists), default=0)
    corners = np.zeros((len(lists), width, 4), np.float32)
    classes = np.full((len(lists), width), -1, np.int16)
    scores = np.zeros((len(lists), width), np.float32)
    for i, boxes in enumerate(lists):
        corners[i, : len(boxes)] = boxes[:, :4]
        classes[i, : len(boxes)] = boxes[:, 4]
        scores[i, : len(boxes)] = boxes[:, 5] if scored else 0
    return Boxes(corners, classes, scores)


def pairwise_iou(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the IoU [..., K, G] of boxes [..., K, 4] and [..., G, 4]; 0 where the union is
    empty."""
    ours = ours[..., :, None, :].astype(np.float64)
    theirs = theirs[..., None, :, :].astype(np.float64)
    far = np.minimum(ours[..., 2:], theirs[..., 2:])
    near = np.maximum(ours[..., :2], theirs[..., :2])
    inner = (far - near).clip(min=0).prod(axis=-1)
    union = _areas(ours) + _areas(theirs) - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)


def match(found: Boxes, truth: Boxes, ious: np.ndarray = IOUS) -> np.ndarray:
    """Return which detections hit, as bits uint16 [n, K]: bit t is set where the detection takes a
    true box at `ious[t]`.

    COCO's rule: by falling score, each detection takes the free true box of its class with the
    highest IoU, if that reaches the threshold; of equal ones the later. All images and thresholds
    are matched together, rank by rank.
    """
    overlap = pairwise_iou(found.corners, truth.corners)
    same = (found.classes[:, :, None] == truth.classes[:, None, :]) & found.real[:, :, None]
    overlap[~same] = -1.0
    limits = np.minimum(ious, 1 - 1e-10)[:, None]
    bits: np.ndarray = np.zeros(found.classes.shape, np.uint16)
    boxes = overlap.shape[-1]
    if not boxes:
        return bits
    free = np.ones((len(bits), len(ious), boxes), bool)
    for rank in range(bits.shape[1]):
        live = np.flatnonzero((overlap[:, rank] >= limits[0]).any(axis=1))
        if len(live):
            bits[live, rank] = _take(free, live, overlap[live, rank], limits)
    return bits


def _take(
    free: np.ndarray, live: np.ndarray, overlap: np.ndarray, limits: np.ndarray
) -> np.ndarray:
    """Let one detection per image of `live` take its box: clears it in `free` [n, T, G], returns
    bits [len(live)]."""
    open_ = np.where(free[live], overlap[:, None, :], -1.0)
    last = open_.shape[2] - 1 - open_[:, :, ::-1].argmax(axis=2)
    best = np.take_along_axis(open_, last[:, :, None], axis=2)[:, :, 0]
    hit = best >= limits[:, 0]
    image, level = np.nonzero(hit)
    free[live[image], level, last[image, level]] = False
    return (hit << np.arange(hit.shape[1])).sum(axis=1).astype(np.uint16)


def hits(bits: np.ndarray, threshold: int) -> np.ndarray:
    """Return whether each detection hits at `IOUS[threshold]`, bool like `bits`."""
    return (bits >> np.uint16(threshold) & np.uint16(1)).astype(bool)
