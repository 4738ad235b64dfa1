"""What the metrics of segmentation stand on: images with a lesion, images without, or all."""

from __future__ import annotations

import numpy as np

from bench.contracts import Basis, Predictions
from tasks.segmentation.metrics import class_names

OVER_ALL_PIXELS = ("dice_global", "iou", "mdice", "miou")
"""Ratios of sums over all images, which the images with a lesion decide."""
WITH_LESION = ("dice_positive", "dice_small", "dice_medium", "dice_large", "image_sensitivity")
WITHOUT_LESION = ("image_specificity",)
WITH_BOTH_MASKS = ("hd95", "surface_dice")


def basis(predictions: Predictions, metric: str) -> Basis:
    """Return the basis of one metric; `name:class` is that of one class."""
    table = predictions.table
    name, _, of_class = metric.partition(":")
    chosen = [of_class] if of_class else class_names(table)
    lesion = np.stack([table[f"target:{label}"].to_numpy() > 0 for label in chosen], axis=1)
    if name == "image_auroc":
        return Basis("share", lesion.astype(float), tuple(chosen))
    if name in OVER_ALL_PIXELS:
        return Basis("share", np.where(lesion, 1.0, np.nan), tuple(chosen))
    if name in WITH_LESION or name in WITH_BOTH_MASKS:
        return Basis("mean", np.where(lesion, 1.0, np.nan), tuple(chosen))
    if name in WITHOUT_LESION:
        return Basis("mean", np.where(lesion, np.nan, 1.0), tuple(chosen))
    return Basis()
