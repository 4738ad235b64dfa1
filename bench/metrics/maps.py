"""How well maps say where something is: the pointing game, overlap, contrast, and the metrics of
gaze; functions of maps [P, C], regions and valid cells (both bool)."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from bench.metrics.weights import ratio

_BLOCK = 64
"""Maps compared with all images at once."""
THRESHOLDS = np.arange(20) / 20
"""Candidates for where a map between 0 and 1 is cut; at 0 everything is marked."""


def peaks(maps: np.ndarray, size: int) -> np.ndarray:
    """Return the pixel (row, column) at the middle of the largest cell of each map [P, h, w], on
    images of `size` px: int [P, 2].

    The first of equal cells counts, in reading order.
    """
    height, width = maps.shape[1:]
    largest = maps.reshape(len(maps), -1).argmax(1)
    cells = np.stack(np.unravel_index(largest, (height, width)), 1)
    return ((cells + 0.5) * size / (height, width)).astype(np.int64)


def hits(masks: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return whether each point [P, 2] lies in its mask [P, S, S]: float 0/1 [P]."""
    return masks[np.arange(len(masks)), points[:, 0], points[:, 1]].astype(float)


def pointing(maps: np.ndarray, inside: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return whether the peak of each map [P, C] lies in its region [P, C] (bool): the share of
    equal peaks that do; only `valid` cells count.

    Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016; without a margin.
    """
    seen = np.where(valid, maps, -np.inf)
    highest = seen == seen.max(axis=1, keepdims=True)
    return ratio((highest & inside).sum(axis=1), highest.sum(axis=1))


def nss(maps: np.ndarray, fixated: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the mean of each map, standardised over its valid cells, at the fixated ones; 0 for a
    flat map (Peters et al. 2005)."""
    mean, variance = _moments(maps, valid)
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
        positives = int(positive.sum())
        others = len(positive) - positives
        if positives and others:
            wins = ranks[positive].sum() - positives * (positives + 1) / 2
            areas[row] = wins / (positives * others)
    return areas


def contrast(maps: np.ndarray, inside: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the contrast-to-noise ratio of each map: mean inside less mean outside, over the root
    of the sum of both variances; 0 for a flat map, NaN where nothing is outside.

    Its size without the sign is the CNR of Boecking et al., ECCV 2022, on MS-CXR.
    """
    outside = valid & ~inside
    mean_inside, variance_inside = _moments(maps, inside)
    mean_outside, variance_outside = _moments(maps, outside)
    difference = mean_inside - mean_outside
    noise = np.sqrt(variance_inside + variance_outside)
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
    for start in range(0, len(maps), _BLOCK):
        block = range(start, min(start + _BLOCK, len(maps)))
        above = np.stack([_above(maps[pair], share[pair]) for pair in block])
        image = image_of[start : block.stop]
        np.add.at(against, image, above @ places.T / pairs_of_image[image, None])
    np.fill_diagonal(against, 0.0)
    return against.sum(axis=1) / (images - 1), against.sum(axis=0) / (images - 1)


def _above(heat: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return, for every cell, the chance [C] that a place drawn by `share` is higher in a map than
    that cell; equal ones count half."""
    _, level = np.unique(heat, return_inverse=True)
    mass = np.bincount(level.reshape(-1), weights=share)
    higher = mass.sum() - mass.cumsum()
    chance: np.ndarray = (higher + mass / 2)[level.reshape(-1)]
    return chance
