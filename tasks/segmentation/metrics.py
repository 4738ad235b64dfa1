"""Dice and IoU from integer pixel counts, each variant under its own name; all are functions of resampling weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Counts:
    """Pixels per image of one class: in both masks, in the prediction, in the target; integer arrays [n]."""

    tp: np.ndarray
    pred: np.ndarray
    target: np.ndarray


def count_pixels(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return (both, prediction, target) pixel counts [n, C, 3] of binary masks [n, C, H, W] (bool or uint8 0/1)."""
    counts = np.empty((*pred.shape[:2], 3), dtype=np.int64)
    for place in np.ndindex(*pred.shape[:2]):
        ours, truth = pred[place].view(bool), target[place].view(bool)
        counts[place] = np.count_nonzero(ours & truth), np.count_nonzero(ours), np.count_nonzero(truth)
    return counts


def _ratio(numerator: np.ndarray, denominator: np.ndarray, empty: float) -> np.ndarray:
    """Divide; where the denominator is 0 the value is `empty`."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.full(shape, empty), where=np.asarray(denominator) != 0)


def image_dice(counts: Counts) -> np.ndarray:
    """Return the Dice of each image [n]: an empty target scores 1 when the prediction is empty and 0 otherwise."""
    return _ratio(2.0 * counts.tp, counts.pred + counts.target, empty=1.0)


def image_iou(counts: Counts) -> np.ndarray:
    """Return the intersection over union of each image [n], with the same rule for an empty target."""
    return _ratio(1.0 * counts.tp, counts.pred + counts.target - counts.tp, empty=1.0)


def dice_per_image(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the mean over images of `image_dice` per row of `weights` [R, n] -> [R]."""
    return _ratio(weights @ image_dice(counts), weights.sum(axis=1), empty=np.nan)


def iou_per_image(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the mean over images of `image_iou` per row of `weights` [R, n] -> [R]."""
    return _ratio(weights @ image_iou(counts), weights.sum(axis=1), empty=np.nan)


def dice_positive(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the mean Dice of the images whose target is not empty; NaN where a resample has none."""
    present = weights * (counts.target > 0)
    return _ratio(present @ image_dice(counts), present.sum(axis=1), empty=np.nan)


def dice_global(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the Dice of all pixels taken together (foreground only); 1 where target and prediction are empty throughout."""
    return _ratio(2.0 * (weights @ counts.tp), weights @ (counts.pred + counts.target), empty=1.0)


def iou(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the intersection over union of all pixels taken together."""
    return _ratio(1.0 * (weights @ counts.tp), weights @ (counts.pred + counts.target - counts.tp), empty=1.0)


VARIANTS: dict[str, Callable[[Counts, np.ndarray], np.ndarray]] = {
    "dice_per_image": dice_per_image,
    "dice_global": dice_global,
    "iou": iou,
    "iou_per_image": iou_per_image,
    "dice_positive": dice_positive,
}


def batch_mean_weights(n: int, batch_size: int) -> np.ndarray:
    """Return the weight of each of `n` images in a mean of batch means [n] (MGCA, GLoRIA): a short last batch weighs more."""
    batch = np.arange(n) // batch_size
    size = np.bincount(batch, minlength=1)
    return 1.0 / (size[batch] * len(size))


def statistics(table: pd.DataFrame) -> Mapping[str, Statistic]:
    """Return every variant as a function of weights [R, n]; with several classes the mean over them and `<variant>:<class>`.

    `table` has columns `tp:<class>`, `pred:<class>`, `target:<class>`, and under a reference protocol `batch_weight`.
    """
    classes = {name.removeprefix("tp:"): _counts(table, name.removeprefix("tp:")) for name in table if name.startswith("tp:")}
    found: dict[str, Statistic] = {}
    for name, function in _variants(table):
        found[name] = partial(_macro, function, tuple(classes.values()))
        if len(classes) > 1:
            found |= {f"{name}:{label}": partial(function, counts) for label, counts in classes.items()}
    return found


def _variants(table: pd.DataFrame) -> Iterator[tuple[str, Callable[[Counts, np.ndarray], np.ndarray]]]:
    yield from VARIANTS.items()
    if "batch_weight" in table:
        share = table["batch_weight"].to_numpy()
        yield "dice_batch_mean", lambda counts, weights: dice_per_image(counts, weights * share)


def _macro(function: Callable[[Counts, np.ndarray], np.ndarray], classes: tuple[Counts, ...], weights: np.ndarray) -> np.ndarray:
    return np.mean([function(counts, weights) for counts in classes], axis=0)


def _counts(table: pd.DataFrame, label: str) -> Counts:
    return Counts(*(table[f"{part}:{label}"].to_numpy(dtype=np.int64) for part in ("tp", "pred", "target")))
