"""How well maps say where a region is: pure functions over the cells of a radiograph, and the
statistics of a table of their values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from bench.contracts import Basis, Predictions, TaskSpec
from bench.metrics.weights import (
    OnSomeImages,
    Statistic,
    mean_of_defined,
    mean_of_known,
    ratio,
    weighted_sums,
)

if TYPE_CHECKING:
    import pandas as pd

METRICS = (
    "shuffled_auc",
    "pointing",
    "dice",
    "iou",
    "nss",
    "auc_judd",
    "cnr",
    "cnr_signed",
)
THRESHOLDS = np.arange(20) / 20
"""Candidates for where a map between 0 and 1 is cut; at 0 everything is marked."""
CANDIDATE = "candidate:"
SHUFFLED = "shuffled_auc"
_DIGITS = 12
"""A difference beyond them is one of the order of summation: two constant maps tie."""


# ---------------------------------------------------------------------------- values of single maps
def pointing(maps: np.ndarray, inside: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return whether the peak of each map [P, C] lies in its region [P, C] (bool): the share of
    equal peaks that do; only `valid` cells count.

    Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016; without a margin.
    """
    seen = np.where(valid, maps, -np.inf)
    peaks = seen == seen.max(axis=1, keepdims=True)
    return ratio((peaks & inside).sum(axis=1), peaks.sum(axis=1))


def nss(maps: np.ndarray, fixated: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the mean of each map, standardised over its valid cells, at the fixated ones; 0 for a
    flat map (Peters et al. 2005)."""
    count = valid.sum(axis=1)
    mean = (maps * valid).sum(axis=1) / count
    variance = (((maps - mean[:, None]) * valid) ** 2).sum(axis=1) / count
    level = ratio((maps * fixated).sum(axis=1), fixated.sum(axis=1))
    flat = np.ptp(np.where(valid, maps, mean[:, None]), axis=1) == 0
    scores = ratio(level - mean, np.sqrt(variance))
    return np.where(flat & np.isfinite(level), 0.0, scores)


def auc_judd(maps: np.ndarray, fixated: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each map's values at fixated cells against those at
    all other valid ones; equal values count half (Judd et al. 2009 break such ties by chance)."""
    areas = np.full(len(maps), np.nan)
    for row, (heat, hit, cells) in enumerate(zip(maps, fixated, valid, strict=True)):
        ranks = rankdata(heat[cells])
        positive = hit[cells]
        hits = int(positive.sum())
        others = len(positive) - hits
        if hits and others:
            wins = ranks[positive].sum() - hits * (hits + 1) / 2
            areas[row] = wins / (hits * others)
    return areas


def contrast(maps: np.ndarray, inside: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the contrast-to-noise ratio of each map: mean inside less mean outside, over the root
    of the sum of both variances; 0 for a flat map, NaN where nothing is outside.

    Its size without the sign is the CNR of Boecking et al., ECCV 2022, on MS-CXR.
    """
    outside = valid & ~inside
    within = _moments(maps, inside)
    without = _moments(maps, outside)
    difference = within[0] - without[0]
    noise = np.sqrt(within[1] + without[1])
    ratios = ratio(difference, noise)
    return np.where((difference == 0) & (noise == 0), 0.0, ratios)


def _moments(maps: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of some cells of each map."""
    count = cells.sum(axis=1)
    mean = ratio((maps * cells).sum(axis=1), count)
    spread = (((maps - np.nan_to_num(mean)[:, None]) * cells) ** 2).sum(axis=1)
    return mean, ratio(spread, count)


def scaled(maps: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return each map between 0 and 1, the smallest and the largest of its valid cells; a flat map
    is 0."""
    lowest = np.where(valid, maps, np.inf).min(axis=1, keepdims=True)
    highest = np.where(valid, maps, -np.inf).max(axis=1, keepdims=True)
    return ratio(maps - lowest, highest - lowest, empty=0.0).clip(0, 1)


def overlap(
    heat: np.ndarray, inside: np.ndarray, valid: np.ndarray, threshold: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return Dice and intersection over union of each region and the valid cells in which its map
    `heat` [P, C] reaches `threshold` [P]."""
    marked = (heat >= threshold[:, None]) & valid
    both = (marked & inside).sum(axis=1)
    total = marked.sum(axis=1) + inside.sum(axis=1)
    return ratio(2 * both, total), ratio(both, total - both)


def choose_threshold(heat: np.ndarray, inside: np.ndarray, valid: np.ndarray) -> float:
    """Return the candidate with the highest mean Dice, the lowest of equal ones."""
    rows = len(heat)
    means = [
        overlap(heat, inside, valid, np.full(rows, threshold))[0].mean() for threshold in THRESHOLDS
    ]
    return float(THRESHOLDS[int(np.argmax(means))])


def shuffled_auc(
    maps: np.ndarray, fixated: np.ndarray, image_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shuffled AUC of every image [n], and what each image adds as one of the others
    [n]; NaN for a single image.

    The value of a map is the chance that it is higher at a place of its own region than at one of
    the regions of the same label in another image, each image alike (Zhang et al. 2008; Tatler et
    al. 2005). maps [P, C], fixated [P, C] (bool), image_of [P] from 0 to n - 1. A map that is the
    same for all images has a mean of exactly one half.
    """
    images = int(image_of.max()) + 1 if len(image_of) else 0
    if images < 2:
        return np.full(images, np.nan), np.full(images, np.nan)
    share = fixated / fixated.sum(axis=1, keepdims=True)
    pairs_of_image = np.bincount(image_of, minlength=images)
    places = np.zeros((images, maps.shape[1]))
    np.add.at(places, image_of, share)
    places /= pairs_of_image[:, None]
    against = np.zeros((images, images))
    for pair, image in enumerate(image_of):
        against[image] += places @ _above(maps[pair], share[pair]) / pairs_of_image[image]
    np.fill_diagonal(against, 0.0)
    values, effects = (against.sum(axis=axis) / (images - 1) for axis in (1, 0))
    return values.round(_DIGITS), effects.round(_DIGITS)


def _above(heat: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return, for every cell, the chance [C] that a place drawn by `share` is higher in a map than
    that cell; equal ones count half."""
    _, level = np.unique(heat, return_inverse=True)
    mass = np.bincount(level.reshape(-1), weights=share)
    higher = mass.sum() - mass.cumsum()
    chance: np.ndarray = (higher + mass / 2)[level.reshape(-1)]
    return chance


# --------------------------------------------------------------------------------------- statistics
def score(predictions: Predictions, task: TaskSpec) -> Mapping[str, Statistic]:
    """Return the metrics of what was kept of the test images."""
    return statistics(predictions.table)


def statistics(table: pd.DataFrame) -> Mapping[str, Statistic]:
    """Return name -> f(weights [R, n]) -> [R] for a table of values per image.

    Columns `<metric>:<label>` hold an image's mean over its regions of that label, NaN where it has
    none: a metric is the mean over images, and without a label the mean over labels. An image is
    also one of the others of `shuffled_auc` (columns `candidate:`), to the first order.
    """
    functions: dict[str, Statistic] = {}
    labels = labels_of(table)
    for metric in METRICS:
        of_labels = {label: _statistic(table, metric, label) for label in labels}
        functions[metric] = _all(list(of_labels.values()), table, metric, labels)
        if len(labels) > 1:
            functions |= {f"{metric}:{label}": each for label, each in of_labels.items()}
    return functions


def labels_of(table: pd.DataFrame) -> list[str]:
    """Return the labels of a table, in its order."""
    prefix = f"{SHUFFLED}:"
    return [str(name).removeprefix(prefix) for name in table if str(name).startswith(prefix)]


def _statistic(table: pd.DataFrame, metric: str, label: str) -> Statistic:
    values = table[f"{metric}:{label}"].to_numpy(dtype=float)
    count = int(np.isfinite(values).sum())
    if metric == SHUFFLED:
        effects = table[f"{CANDIDATE}{metric}:{label}"].to_numpy(dtype=float)
        return _on_some(partial(_mean_of_both, values, effects), count, len(values))
    return _on_some(partial(mean_of_known, values), count, len(values))


def _all(
    of_labels: list[Statistic], table: pd.DataFrame, metric: str, labels: list[str]
) -> Statistic:
    """Return the mean over labels; it stands on the images that have any."""
    if len(of_labels) == 1:
        return of_labels[0]
    columns = table[[f"{metric}:{label}" for label in labels]].to_numpy(dtype=float)
    count = int(np.isfinite(columns).any(axis=1).sum())
    return _on_some(partial(mean_of_defined, of_labels), count, len(table))


def _on_some(function: Statistic, count: int, images: int) -> Statistic:
    return function if count == images else OnSomeImages(function, count)


def _mean_of_both(values: np.ndarray, effects: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of the values that are defined, and what the images that are drawn change as
    the others."""
    defined = np.isfinite(values)
    if not defined.any():
        return np.full(len(weights), np.nan)
    centred = effects[defined] - effects[defined].mean()
    rows = np.stack([values[defined] + centred, np.ones(int(defined.sum()))], axis=1)
    sums = weighted_sums(rows, weights[:, defined])
    return ratio(sums[:, 0], sums[:, 1])


def basis(predictions: Predictions, metric: str) -> Basis:
    """Return the basis of one metric, `name:label` is that of one label: the images in which it is
    defined."""
    table = predictions.table
    name, _, label = metric.partition(":")
    chosen = [label] if label else labels_of(table)
    values = table[[f"{name}:{each}" for each in chosen]].to_numpy(dtype=float)
    return Basis("mean", np.where(np.isfinite(values), 1.0, np.nan), tuple(chosen))
