"""Greedy and soft non-maximum suppression of boxes (x1, y1, x2, y2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def _iou(box: np.ndarray, others: np.ndarray, offset: int) -> np.ndarray:
    """Return the IoU of one box [4] with others [n, 4]; `offset` 1 counts both end pixels."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inner = np.clip(high - low + offset, 0, None).prod(axis=1)
    area = (box[2:] - box[:2] + offset).prod()
    union = area + (others[:, 2:] - others[:, :2] + offset).prod(axis=1) - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes kept, by falling score; one whose IoU with a kept box is above the threshold is dropped."""
    order = scores.argsort(descending=True, stable=True)
    corners = boxes[order].detach().cpu().numpy()
    alive = np.ones(len(corners), dtype=bool)
    for i in range(len(corners)):
        if alive[i]:
            alive[i + 1 :] &= _iou(corners[i], corners[i + 1 :], offset) <= iou_threshold
    return order[torch.from_numpy(alive).to(order.device)]


def softnms(
    boxes: Tensor, scores: Tensor, dets: Tensor, iou_threshold: float, sigma: float, min_score: float, method: int, offset: int
) -> Tensor:
    """Write boxes with decayed scores into the first rows of `dets` [n, 5] and return their indices (Bodla et al. 2017).

    `method`: 0 hard, 1 linear, 2 gaussian. Boxes whose score falls under `min_score` are dropped.
    """
    corners, left = boxes.detach().numpy(), scores.detach().numpy().copy()
    kept: list[int] = []
    rest = np.arange(len(left))
    while len(rest):
        best = rest[left[rest].argmax()]
        dets[len(kept)] = torch.from_numpy(np.append(corners[best], left[best]))
        kept.append(int(best))
        rest = rest[rest != best]
        left[rest] *= _decay(_iou(corners[best], corners[rest], offset), iou_threshold, sigma, method)
        rest = rest[left[rest] >= min_score]
    return torch.tensor(np.array(kept, dtype=np.int64))


def _decay(iou: np.ndarray, iou_threshold: float, sigma: float, method: int) -> np.ndarray:
    if method == 2:
        return np.exp(-(iou**2) / sigma)
    decayed = 1 - iou if method == 1 else np.zeros_like(iou)
    return np.where(iou >= iou_threshold, decayed, 1.0)
