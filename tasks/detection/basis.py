"""What the metrics of detection stand on: the images with a true box of a class."""

from __future__ import annotations

import numpy as np

from bench.contracts import Basis, Predictions
from tasks.detection.metrics import class_names


def basis(predictions: Predictions, metric: str) -> Basis:
    """Return the basis of one metric; `name:class` is that of one class. `rsna_score` is a mean
    over images, the decisions per image are means over images with or without a true box, all
    others are ratios of sums over true boxes."""
    name, _, of_class = metric.partition(":")
    if name == "rsna_score":
        return Basis()
    classes = class_names(predictions)
    chosen = [of_class] if of_class else classes
    truth = predictions.arrays["truth_classes"]
    has_box = np.stack([(truth == classes.index(label)).any(axis=1) for label in chosen], axis=1)
    if name == "image_auroc":
        return Basis("share", has_box.astype(float), tuple(chosen))
    if name == "image_specificity":
        return Basis("mean", np.where(has_box, np.nan, 1.0), tuple(chosen))
    labels = np.where(has_box, 1.0, np.nan)
    return Basis("mean" if name == "image_sensitivity" else "share", labels, tuple(chosen))
