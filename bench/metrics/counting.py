"""Metrics of decisions (0/1) and of probabilities, from sums over images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.metrics.weights import ByImage, group_matrix, ratio, weighted_mean, weighted_sums

BINS = 15
_TP = 0
_FP = 1
_FN = 2


@dataclass(frozen=True)
class Confusion:
    """Weighted counts of a binary decision, each [R]."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray


def confusion(
    predicted: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | ByImage,
    images: np.ndarray | None = None,
) -> Confusion:
    """Count `predicted` 0/1 [m] against `labels` 0/1 [m] per row of `weights` [R, n]; entry i
    belongs to image `images[i]` (default i)."""
    decided = np.asarray(predicted).astype(bool)
    true = np.asarray(labels).astype(bool)
    turned = ByImage.of(weights)
    if images is None:
        images = np.arange(len(decided))
    rows = np.flatnonzero(decided | true)  # the rest, most of them, are true negatives
    cell = np.full(len(rows), _FN)
    cell[decided[rows]] = _FP
    cell[decided[rows] & true[rows]] = _TP
    groups = group_matrix(cell, images[rows], 3, turned.weights.shape[1])
    tp, fp, fn = turned.sums(groups).astype(float)
    tn = turned.total(images) - tp - fp - fn
    return Confusion(tp, fp, fn, tn)


def accuracy(c: Confusion) -> np.ndarray:
    """Return the share of right decisions [R]."""
    return ratio(c.tp + c.tn, c.tp + c.tn + c.fp + c.fn)


def sensitivity(c: Confusion) -> np.ndarray:
    """Return the share of positives found (recall) [R]; NaN without a positive."""
    return ratio(c.tp, c.tp + c.fn)


def specificity(c: Confusion) -> np.ndarray:
    """Return the share of negatives left alone [R]; NaN without a negative."""
    return ratio(c.tn, c.tn + c.fp)


def precision(c: Confusion) -> np.ndarray:
    """Return the share of positive decisions that are right [R]; NaN without one."""
    return ratio(c.tp, c.tp + c.fp)


def f1(c: Confusion) -> np.ndarray:
    """Return 2 tp / (2 tp + fp + fn) [R]; NaN where there is neither a positive nor a positive
    decision."""
    return ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def mcc(c: Confusion) -> np.ndarray:
    """Return Matthews' correlation [R]: 0 for a constant decision, NaN where the labels have one
    value only."""
    negatives = np.stack([c.tn, c.fp], axis=-1)
    positives = np.stack([c.fn, c.tp], axis=-1)
    return multiclass_mcc(np.stack([negatives, positives], axis=-2))


def class_counts(
    predicted: np.ndarray,
    labels: np.ndarray,
    classes: int,
    weights: np.ndarray | ByImage,
    images: np.ndarray | None = None,
) -> np.ndarray:
    """Return confusion matrices [R, true K, predicted K] of class numbers [m] per row of `weights`
    [R, n]; entry i belongs to image `images[i]` (default i)."""
    cell = np.asarray(labels) * classes + np.asarray(predicted)
    turned = ByImage.of(weights)
    if images is None:
        images = np.arange(len(cell))
    groups = group_matrix(cell, images, classes * classes, turned.weights.shape[1])
    counts = turned.sums(groups).astype(float)
    return np.ascontiguousarray(counts.T).reshape(-1, classes, classes)


def multiclass_mcc(counts: np.ndarray) -> np.ndarray:
    """Return Gorodkin's R_K of confusion matrices [R, K, K] (Gorodkin 2004); conventions as in
    `mcc`."""
    true = counts.sum(axis=-1)
    predicted = counts.sum(axis=-2)
    total = counts.sum(axis=(-1, -2))
    right = np.trace(counts, axis1=-2, axis2=-1)
    covariance = right * total - (true * predicted).sum(axis=-1)
    spread_true = total**2 - (true**2).sum(axis=-1)
    spread_predicted = total**2 - (predicted**2).sum(axis=-1)
    correlation = ratio(covariance, np.sqrt(spread_true * spread_predicted), empty=0.0)
    return np.where(spread_true == 0, np.nan, correlation)


def one_against_rest(counts: np.ndarray, k: int) -> Confusion:
    """Return the binary counts of class `k` from confusion matrices [R, K, K]."""
    tp = counts[:, k, k]
    fp = counts[:, :, k].sum(axis=1) - tp
    fn = counts[:, k, :].sum(axis=1) - tp
    tn = counts.sum(axis=(1, 2)) - tp - fp - fn
    return Confusion(tp, fp, fn, tn)


def squared_errors(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the squared error [n, 1] of probabilities [n] (of class 1), or [n, K] summed over
    classes, against 0/1 `labels`: its weighted mean is the Brier score."""
    errors = (np.asarray(probabilities, float) - np.asarray(labels, float)) ** 2
    if errors.ndim == 1:
        return errors[:, None]
    return errors.sum(axis=1, keepdims=True)


def brier(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean squared error of probabilities [n] (of class 1), or [n, K] summed over
    classes, against 0/1 `labels`."""
    return weighted_mean(squared_errors(probabilities, labels)[:, 0], weights)


def calibration_gaps(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return what each image adds to the gap of its bin [n, bins]: `confidence` [n] less `right`
    [n] 0/1. Bins are closed above."""
    confidence = np.asarray(confidence, dtype=float)
    image = np.arange(len(confidence))
    bin_index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.zeros((len(confidence), bins))
    gaps[image, bin_index] = confidence - np.asarray(right, dtype=float)
    return gaps


def calibration_error(
    confidence: np.ndarray, right: np.ndarray, weights: np.ndarray, bins: int = BINS
) -> np.ndarray:
    """Return the expected calibration error [R] over `bins` bins of equal width (Naeini 2015; Guo
    2017).

    `confidence` [n] is a probability and `right` [n] 0/1 whether what it promises holds.
    """
    sums = weighted_sums(calibration_gaps(confidence, right, bins), weights)
    return ratio(np.abs(sums).sum(axis=1), weights.sum(axis=1))
