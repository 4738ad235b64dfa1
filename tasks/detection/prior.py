"""What is known without looking at an image: where the boxes of the training images lie."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.contracts import Subset
from bench.data.annotations import Boxes

GROUPS = 8
"""Boxes per class and image: FROC looks at up to 8 false ones."""


class FrequentBoxes(nn.Module):
    """Stands where a detector does: finds the same boxes [k, 6] (x1, y1, x2, y2, class, score) in
    every image."""

    boxes: Tensor

    def __init__(self, boxes: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("boxes", torch.from_numpy(boxes).float(), persistent=False)

    def forward(self, inputs: Any, data_samples: list[Any], mode: str = "predict") -> list[Any]:
        """Return the samples with the boxes as their `pred_instances`; only mode "predict" is
        known."""
        from mmengine.structures import InstanceData

        for sample in data_samples:
            instances = {
                "bboxes": self.boxes[:, :4],
                "labels": self.boxes[:, 4].long(),
                "scores": self.boxes[:, 5],
            }
            sample.pred_instances = InstanceData(**instances)
        return data_samples


def learn_boxes(train: Subset) -> FrequentBoxes:
    """Return, per class, the centres of `GROUPS` groups (k-means of the corners) of the training
    boxes.

    The score of a group is how many of its boxes a training image has on average.
    """
    boxes = np.concatenate([train.get(Boxes)[row] for row in range(len(train))])
    centres = [
        _centres(boxes[boxes[:, 4] == kind, :4], kind, len(train))
        for kind in np.unique(boxes[:, 4])
    ]
    return FrequentBoxes(np.concatenate(centres))


def _centres(corners: np.ndarray, kind: float, images: int) -> np.ndarray:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # fewer different boxes than groups: some groups stay empty
        fitted = KMeans(min(GROUPS, len(corners)), n_init=4, random_state=0).fit(
            corners.astype(np.float64)
        )
    sizes = np.bincount(fitted.labels_, minlength=len(fitted.cluster_centers_))
    columns = (fitted.cluster_centers_, np.full(len(sizes), kind), sizes / images)
    return np.column_stack(columns)[sizes > 0]
