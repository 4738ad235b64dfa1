"""From probabilities to masks: threshold and smallest area, chosen on validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.segmentation.metrics import Counts, dice_global, image_dice, mdice

THRESHOLDS = np.arange(1, 40) / 40
AREAS = np.array([0.0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02])
"""Candidates: probability, and share of the image below which a predicted region counts as none."""


@dataclass(frozen=True)
class OperatingPoint:
    """How one class is read out: prob > threshold, then nothing where fewer than min_area (share of
    the image) remain."""

    threshold: float
    min_area: float


@dataclass(frozen=True)
class Choice:
    """The best operating point of one class and its validation figures."""

    point: OperatingPoint
    dice_per_image: float
    dice_global: float
    mdice: float


def threshold_counts(
    probabilities: np.ndarray, target: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """Return (both, prediction) pixel counts [n, T, 2] of one class at every threshold, from one
    histogram per image.

    `probabilities` [n, H, W] float, `target` [n, H, W] 0/1; a pixel is predicted where its
    probability is above the threshold.
    """
    n = len(probabilities)
    bins = len(thresholds) + 1
    above = np.searchsorted(
        thresholds.astype(np.float32), probabilities.reshape(n, -1), side="left"
    )
    image_and_truth = np.arange(n)[:, None] * 2 + target.reshape(n, -1).astype(np.int64)
    key = image_and_truth * bins + above
    histogram = np.bincount(key.ravel(), minlength=n * 2 * bins).reshape(n, 2, bins)
    from_above = histogram[:, :, ::-1].cumsum(axis=-1)
    at_least = from_above[:, :, ::-1][:, :, 1:]
    return np.stack([at_least[:, 1], at_least.sum(axis=1)], axis=-1)


def choose(
    counts: np.ndarray, target: np.ndarray, pixels: int, thresholds: np.ndarray, areas: np.ndarray
) -> Choice:
    """Return the pair of `thresholds` and `areas` with the highest `dice_global` for one class.

    Tables rank by it, and predicting nothing gets 0. By `dice_per_image`, or a mean of both, it
    would win wherever an encoder sees too little and most images are healthy: whether it does would
    then differ from seed to seed.

    `counts` [n, T, 2] as from `threshold_counts`, `target` [n] pixels of the true mask, `pixels`
    per image.
    """
    weights = np.ones((1, len(target)))
    choices = []
    for k, threshold in enumerate(thresholds):
        for area in areas:
            figures = _figures(counts[:, k], target, pixels, area, weights)
            choices.append(Choice(OperatingPoint(float(threshold), float(area)), *figures))
    return max(choices, key=lambda choice: choice.dice_global)


def _figures(
    counts: np.ndarray, target: np.ndarray, pixels: int, smallest: float, weights: np.ndarray
) -> tuple[float, float, float]:
    large_enough = counts * (counts[:, 1] >= smallest * pixels)[:, None]
    counts_kept = Counts(large_enough[:, 0], large_enough[:, 1], target, pixels)
    return (
        float(image_dice(counts_kept).mean()),
        float(dice_global(counts_kept, weights)[0]),
        float(mdice(counts_kept, weights)[0]),
    )


def candidates(fixed: float | None, grid: np.ndarray) -> np.ndarray:
    """Return the grid, or the one value a setting fixes."""
    return grid if fixed is None else np.array([fixed])


def apply(probabilities: np.ndarray, points: tuple[OperatingPoint, ...]) -> np.ndarray:
    """Return masks (bool) [n, C, H, W] of probabilities of the same shape."""
    threshold = np.array([point.threshold for point in points], dtype=np.float32)[:, None, None]
    smallest = np.array([point.min_area for point in points]) * np.prod(probabilities.shape[-2:])
    masks = probabilities > threshold
    large_enough = masks.sum(axis=(-2, -1)) >= smallest
    return masks & large_enough[..., None, None]
