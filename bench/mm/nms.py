"""Greedy and soft non-maximum suppression of boxes (x1, y1, x2, y2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_BLOCK = 512
"""Boxes whose IoU with all later ones is computed at once."""


def _iou(box: np.ndarray, others: np.ndarray, offset: int) -> np.ndarray:
    """Return the IoU [..., n] of boxes [..., 4] with others [n, 4]; `offset` 1 counts both end
    pixels."""
    x1, y1, x2, y2 = (box[..., None, k] for k in range(4))
    width = np.minimum(x2, others[:, 2]) - np.maximum(x1, others[:, 0]) + offset
    height = np.minimum(y2, others[:, 3]) - np.maximum(y1, others[:, 1]) + offset
    inner = np.clip(width, 0, None) * np.clip(height, 0, None)
    area = (x2 - x1 + offset) * (y2 - y1 + offset)
    other_area = (others[:, 2] - others[:, 0] + offset) * (others[:, 3] - others[:, 1] + offset)
    union = area + other_area - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes kept, by falling score; one whose IoU with a kept box is
    above the threshold is dropped."""
    order = scores.argsort(descending=True, stable=True)
    corners = boxes[order].detach().cpu().numpy()
    alive = np.ones(len(corners), dtype=bool)
    for start in range(0, len(corners), _BLOCK):
        rows = start + np.flatnonzero(alive[start : start + _BLOCK])
        apart = _iou(corners[rows], corners, offset) <= iou_threshold
        for row, apart_from_row in zip(rows, apart, strict=True):
            if alive[row]:
                alive[row + 1 :] &= apart_from_row[row + 1 :]
    return order[torch.from_numpy(alive).to(order.device)]


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Write boxes with decayed scores into the first rows of `dets` [n, 5] and return their indices
    (Bodla et al. 2017).

    `method`: 0 hard, 1 linear, 2 gaussian. Boxes whose score falls under `min_score` are dropped.
    """
    corners = boxes.detach().numpy()
    decayed = scores.detach().numpy().copy()
    selected: list[int] = []
    rest = np.arange(len(decayed))
    while len(rest):
        best = rest[decayed[rest].argmax()]
        dets[len(selected)] = torch.from_numpy(np.append(corners[best], decayed[best]))
        selected.append(int(best))
        rest = rest[rest != best]
        overlap = _iou(corners[best], corners[rest], offset)
        decayed[rest] *= _decay(overlap, iou_threshold, sigma, method)
        rest = rest[decayed[rest] >= min_score]
    return torch.tensor(np.array(selected, dtype=np.int64))


def _decay(iou: np.ndarray, iou_threshold: float, sigma: float, method: int) -> np.ndarray:
    if method == 2:
        return np.exp(-(iou**2) / sigma)
    decayed = 1 - iou if method == 1 else np.zeros_like(iou)
    return np.where(iou >= iou_threshold, decayed, 1.0)
