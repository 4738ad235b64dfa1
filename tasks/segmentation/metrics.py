"""Overlap, boundary and decision metrics from per-image counts, each under its own name; functions
of resampling weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.contracts import Predictions, TaskSpec
from bench.metrics import counting
from bench.metrics.ranking import auroc, rank
from bench.metrics.weights import Statistic, mean_of_defined, mean_of_known, ratio

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Counts:
    """Pixels per image of one class: in both masks, in the prediction, in the target; integer
    arrays [n].

    `pixels` is the size of one image.
    """

    tp: np.ndarray
    pred: np.ndarray
    target: np.ndarray
    pixels: int

    @property
    def background(self) -> Counts:
        """Return the counts of everything outside the masks."""
        both = self.pixels - self.pred - self.target + self.tp
        return Counts(both, self.pixels - self.pred, self.pixels - self.target, self.pixels)

    def part(self, rows: np.ndarray) -> Counts:
        """Return the counts of some images."""
        return Counts(self.tp[rows], self.pred[rows], self.target[rows], self.pixels)


def count_pixels(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return (both, prediction, target) pixel counts [n, C, 3] of binary masks [n, C, H, W] (bool
    or uint8 0/1)."""
    counts = np.empty((*pred.shape[:2], 3), dtype=np.int64)
    for position in np.ndindex(*pred.shape[:2]):
        ours = pred[position].view(bool)
        truth = target[position].view(bool)
        counts[position] = (
            np.count_nonzero(ours & truth),
            np.count_nonzero(ours),
            np.count_nonzero(truth),
        )
    return counts


def image_dice(counts: Counts) -> np.ndarray:
    """Return the Dice of each image [n]: an empty target scores 1 when the prediction is empty and
    0 otherwise."""
    return ratio(2.0 * counts.tp, counts.pred + counts.target, empty=1.0)


def image_iou(counts: Counts) -> np.ndarray:
    """Return the intersection over union of each image [n], with the same rule for an empty
    target."""
    return ratio(1.0 * counts.tp, counts.pred + counts.target - counts.tp, empty=1.0)


def dice_per_image(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the mean over images of `image_dice` per row of `weights` [R, n] -> [R]."""
    return ratio(weights @ image_dice(counts), weights.sum(axis=1), empty=np.nan)


def iou_per_image(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the mean over images of `image_iou` per row of `weights` [R, n] -> [R]."""
    return ratio(weights @ image_iou(counts), weights.sum(axis=1), empty=np.nan)


def dice_positive(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the mean Dice of the images whose target is not empty; NaN where a resample has
    none."""
    present = weights * (counts.target > 0)
    return ratio(present @ image_dice(counts), present.sum(axis=1), empty=np.nan)


def dice_global(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the Dice of all pixels taken together (foreground only); 1 where target and prediction
    are empty throughout."""
    return ratio(2.0 * (weights @ counts.tp), weights @ (counts.pred + counts.target), empty=1.0)


def iou(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the intersection over union of all pixels taken together."""
    return ratio(
        1.0 * (weights @ counts.tp), weights @ (counts.pred + counts.target - counts.tp), empty=1.0
    )


def mdice(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the mean of the global Dice of background and foreground (BenchX's mDice)."""
    return (dice_global(counts.background, weights) + dice_global(counts, weights)) / 2


def miou(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the mean of the global IoU of background and foreground."""
    return (iou(counts.background, weights) + iou(counts, weights)) / 2


def mdice_per_image(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the mean over images of the mean Dice of background and foreground."""
    return (dice_per_image(counts.background, weights) + dice_per_image(counts, weights)) / 2


def sensitivity(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the share of the images with a lesion in which anything is marked."""
    return counting.sensitivity(counting.confusion(counts.pred > 0, counts.target > 0, weights))


def specificity(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the share of the images without a lesion in which nothing is marked."""
    return counting.specificity(counting.confusion(counts.pred > 0, counts.target > 0, weights))


SIZES = {"small": (0.0, 0.01), "medium": (0.01, 0.04), "large": (0.04, 1.01)}
"""Of a lesion, as a share of the image's pixels: from, to below."""


def dice_of_size(size: str, counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Return the mean Dice of the images whose lesion is small, medium or large; NaN where there is
    none."""
    low, high = SIZES[size]
    share = counts.target / max(1, counts.pixels)
    rows = np.flatnonzero((counts.target > 0) & (share >= low) & (share < high))
    return dice_per_image(counts.part(rows), weights[:, rows])


VARIANTS: dict[str, Callable[[Counts, np.ndarray], np.ndarray]] = {
    "dice_per_image": dice_per_image,
    "dice_global": dice_global,
    "iou": iou,
    "iou_per_image": iou_per_image,
    "dice_positive": dice_positive,
    "mdice": mdice,
    "mdice_per_image": mdice_per_image,
    "miou": miou,
    **{f"dice_{size}": partial(dice_of_size, size) for size in SIZES},
    "image_sensitivity": sensitivity,
    "image_specificity": specificity,
}
BOUNDARY = ("hd95", "surface_dice")


BRIGHTEST = 0.01
"""Share of an image's pixels, those of highest probability, whose mean is the image's score."""


def image_scores(probabilities: np.ndarray) -> np.ndarray:
    """Return how sure an image is to hold a lesion [n, C]: the mean of the highest 1% of its
    probabilities [n, C, H, W]."""
    import torch

    pixels = torch.from_numpy(probabilities).flatten(2)
    count = max(1, round(BRIGHTEST * pixels.shape[2]))
    # On maps with many equal values, as most are, NumPy's partition takes 20 times as long.
    return pixels.topk(count, dim=2, sorted=False).values.mean(dim=2).numpy()


def batch_mean_weights(n: int, batch_size: int) -> np.ndarray:
    """Return the weight of each of `n` images in a mean of batch means [n] (MGCA, GLoRIA): a short
    last batch weighs more."""
    batch = np.arange(n) // batch_size
    size = np.bincount(batch, minlength=1)
    return 1.0 / (size[batch] * len(size))


def score(predictions: Predictions, task: TaskSpec) -> Mapping[str, Statistic]:
    """Return the metrics of what was kept of the test images."""
    return statistics(predictions.table)


def statistics(table: pd.DataFrame) -> Mapping[str, Statistic]:
    """Return every variant as a function of weights [R, n]; with several classes the mean over them
    and `<variant>:<class>`.

    `table` has columns `tp:<class>`, `pred:<class>`, `target:<class>`, `pixels`, the boundary
    scores `hd95:<class>` and `surface_dice:<class>` (NaN without a true mask), `score:<class>`
    (`image_scores`; results of before 2026-11 have none, and no `image_auroc`), and under a
    reference protocol `batch_weight`.
    """
    labels = class_names(table)
    counts = [_counts(table, label) for label in labels]
    functions: dict[str, Statistic] = {}
    for name, function in _variants(table):
        functions |= _named(
            name, labels, [partial(function, class_counts) for class_counts in counts]
        )
    if all(f"score:{label}" in table for label in labels):
        aurocs = [_image_auroc(table, label) for label in labels]
        functions |= _named("image_auroc", labels, aurocs)
    for name in BOUNDARY:
        functions |= _named(
            name,
            labels,
            [partial(mean_of_known, table[f"{name}:{label}"].to_numpy(float)) for label in labels],
        )
    return functions


def class_names(table: pd.DataFrame) -> list[str]:
    """Return the classes of a table, in its order."""
    columns = [str(name) for name in table]
    return [name.removeprefix("target:") for name in columns if name.startswith("target:")]


def _image_auroc(table: pd.DataFrame, label: str) -> Statistic:
    """Return how well the images with a lesion are told from those without."""
    lesion = table[f"target:{label}"].to_numpy() > 0
    ranking = rank(table[f"score:{label}"].to_numpy(dtype=float), lesion)
    return partial(auroc, ranking)


def _named(name: str, labels: list[str], functions: list[Statistic]) -> dict[str, Statistic]:
    """Return the mean over classes under `name`, and where there are several each one under
    `name:<class>`."""
    per_class = {
        f"{name}:{label}": function for label, function in zip(labels, functions, strict=True)
    }
    return {name: partial(mean_of_defined, functions), **(per_class if len(labels) > 1 else {})}


def _variants(
    table: pd.DataFrame,
) -> Iterator[tuple[str, Callable[[Counts, np.ndarray], np.ndarray]]]:
    yield from VARIANTS.items()
    if "batch_weight" in table:
        share = table["batch_weight"].to_numpy()
        yield "dice_batch_mean", lambda counts, weights: dice_per_image(counts, weights * share)


def _counts(table: pd.DataFrame, label: str) -> Counts:
    tp, pred, target = (
        table[f"{count}:{label}"].to_numpy(dtype=np.int64) for count in ("tp", "pred", "target")
    )
    return Counts(tp, pred, target, int(table["pixels"].iloc[0]) if len(table) else 0)
