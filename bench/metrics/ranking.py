"""AUROC and average precision from scores sorted once; a resample is a row of integer weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from bench.metrics.weights import in_blocks, ratio


@dataclass(frozen=True)
class Ranking:
    """Scores of positives and negatives, sorted once.

    `positive` and `negative` are the images (columns of the weights) in rising order of score. For
    positive j, `below[j]` negatives score lower and `below_or_tied[j]` not higher; `first[j]`
    positives score lower.
    """

    positive: np.ndarray
    negative: np.ndarray
    below: np.ndarray
    below_or_tied: np.ndarray
    first: np.ndarray


def rank(scores: np.ndarray, labels: np.ndarray, images: np.ndarray | None = None) -> Ranking:
    """Sort `scores` [m] of 0/1 `labels` [m]; entry i belongs to image `images[i]` (default i, one
    entry per image)."""
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels).astype(bool)
    images = np.arange(len(scores)) if images is None else np.asarray(images)
    order = np.argsort(scores, kind="stable")
    up, down = order[labels[order]], order[~labels[order]]
    high, low = scores[up], scores[down]
    sides = (
        np.searchsorted(low, high, "left"),
        np.searchsorted(low, high, "right"),
        np.searchsorted(high, high, "left"),
    )
    return Ranking(images[up], images[down], *sides)


def _cumulative(weights: np.ndarray) -> np.ndarray:
    """Return the sums of the first 0, 1, ... columns."""
    sums = np.zeros((len(weights), weights.shape[1] + 1), dtype=np.result_type(weights, np.int64))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _auroc(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    negatives = _cumulative(weights[:, ranking.negative])
    positives = weights[:, ranking.positive]
    won = negatives[:, ranking.below] + negatives[:, ranking.below_or_tied]
    return ratio(
        np.einsum("rj,rj->r", positives, won), 2.0 * positives.sum(axis=1) * negatives[:, -1]
    )


def auroc(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve per row of `weights` [R, n]; a tie counts half (Hanley &
    McNeil 1982).

    NaN where a resample has one label value only. Integer weights give an exact result up to the
    last division.
    """
    return in_blocks(
        partial(_auroc, ranking), weights, columns=len(ranking.positive) + len(ranking.negative)
    )


def influence(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how far every image pulls the AUROC of `scores` [n] against 0/1 `labels` [n] from its
    mean, [n].

    The sum of their squares is the variance of the AUROC (DeLong, DeLong & Clarke-Pearson 1988,
    with 1/n for 1/(n - 1)), and that of differences between two scores' values the variance of the
    paired difference. All 0 where the labels have one value only.
    """
    labels = np.asarray(labels).astype(bool)
    found = np.zeros(len(labels))
    if labels.all() or not labels.any():
        return found
    up, down = rank(scores, labels), rank(-np.asarray(scores, dtype=float), ~labels)
    for ranking in (up, down):
        wins = (ranking.below + ranking.below_or_tied) / (2 * len(ranking.negative))
        found[ranking.positive] = (wins - wins.mean()) / len(ranking.positive)
    return found


def _average_precision(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    negatives = _cumulative(weights[:, ranking.negative])
    own = weights[:, ranking.positive]
    positives = _cumulative(own)
    found = positives[:, -1:] - positives[:, ranking.first]
    wrong = negatives[:, -1:] - negatives[:, ranking.below]
    return ratio(
        np.einsum("rj,rj->r", own, ratio(found, found + wrong, empty=0.0)), positives[:, -1]
    )


def average_precision(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """Return the average precision (area under the precision-recall steps) per row of `weights` [R,
    n].

    Tied scores are one step, as in scikit-learn. NaN where a resample has no positive.
    """
    return in_blocks(
        partial(_average_precision, ranking),
        weights,
        columns=len(ranking.positive) + len(ranking.negative),
    )
