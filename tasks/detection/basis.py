"""What the metrics of detection stand on: the images with a true box of a class."""

from __future__ import annotations

import numpy as np

from bench.contracts import Basis, Predictions
from tasks.detection.metrics import class_names


def basis(predictions: Predictions, metric: str) -> Basis:
    """Return the basis of one metric; `name:class` is that of one class. `rsna_score` is a mean
    over images, all others are ratios of sums over true boxes."""
    name, _, of_class = metric.partition(":")
    if name == "rsna_score":
        return Basis()
    classes = class_names(predictions)
    chosen = [of_class] if of_class else classes
    truth = predictions.arrays["truth_classes"]
    has_box = [(truth == classes.index(label)).any(axis=1) for label in chosen]
    return Basis("share", np.where(np.stack(has_box, axis=1), 1.0, np.nan), tuple(chosen))
