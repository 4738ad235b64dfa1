"""AUROC and average precision from scores sorted once; a resample is a row of integer weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.metrics.weights import ByImage, group_matrix, ratio


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

    @cached_property
    def steps(self) -> Steps:
        """Return what sums over weights need: positives of one score together, negatives between
        two scores of positives together."""
        first, start, step = np.unique(self.first, return_index=True, return_inverse=True)
        below = self.below[start]
        tied = self.below_or_tied[start]
        edges = np.unique(np.concatenate([[0], below, tied]))
        segment = np.searchsorted(edges, np.arange(len(self.negative)), side="right") - 1
        images = np.concatenate([self.positive, self.negative])
        return Steps(
            step=step,
            segment=segment,
            below=np.searchsorted(edges, below),
            below_or_tied=np.searchsorted(edges, tied),
            counts=(len(first), len(edges)),
            per_image=int(np.bincount(images).max()) if len(images) else 1,
        )


@dataclass(frozen=True)
class Steps:
    """A ranking in steps: `step` of each positive, `segment` of each negative, and for every step
    how many segments score lower (`below`) and not higher (`below_or_tied`).

    `counts`: the number of steps and of segments; `per_image`: the most entries of one image.
    """

    step: np.ndarray
    segment: np.ndarray
    below: np.ndarray
    below_or_tied: np.ndarray
    counts: tuple[int, int]
    per_image: int


def rank(scores: np.ndarray, labels: np.ndarray, images: np.ndarray | None = None) -> Ranking:
    """Sort `scores` [m] of 0/1 `labels` [m]; entry i belongs to image `images[i]` (default i, one
    entry per image)."""
    scores = np.asarray(scores, dtype=float)
    labels = np.asarray(labels).astype(bool)
    images = np.arange(len(scores)) if images is None else np.asarray(images)
    order = np.argsort(scores, kind="stable")
    positive = order[labels[order]]
    negative = order[~labels[order]]
    positive_scores = scores[positive]
    negative_scores = scores[negative]
    return Ranking(
        positive=images[positive],
        negative=images[negative],
        below=np.searchsorted(negative_scores, positive_scores, "left"),
        below_or_tied=np.searchsorted(negative_scores, positive_scores, "right"),
        first=np.searchsorted(positive_scores, positive_scores, "left"),
    )


def _blocks(
    ranking: Ranking, weights: ByImage
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield per block of resamples: the positives of each step [G, r], the negatives of the first
    0, 1, ... segments [K + 1, r], and the weights themselves [r, n]."""
    steps = ranking.steps
    step_count, segment_count = steps.counts
    n = weights.weights.shape[1]
    positive = group_matrix(steps.step, ranking.positive, step_count, n)
    negative = group_matrix(steps.segment, ranking.negative, segment_count, n)
    entries = max(n, len(ranking.positive) + len(ranking.negative))
    for turned, rows in weights.blocks(entries, steps.per_image):
        positives = (positive @ turned).astype(float)
        negatives = np.zeros((segment_count + 1, turned.shape[1]))
        np.cumsum(negative @ turned, axis=0, out=negatives[1:])
        yield positives, negatives, rows


def _auroc(
    ranking: Ranking, positives: np.ndarray, negatives: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    won = negatives[ranking.steps.below] + negatives[ranking.steps.below_or_tied]
    pairs = positives.sum(axis=0) * negatives[-1]
    return ratio((positives * won).sum(axis=0), 2.0 * pairs)


def auroc(ranking: Ranking, weights: np.ndarray | ByImage) -> np.ndarray:
    """Return the area under the ROC curve per row of `weights` [R, n]; a tie counts half (Hanley &
    McNeil 1982).

    NaN where a resample has one label value only. Integer weights give an exact result up to the
    last division.
    """
    return _joined(_auroc, ranking, weights)


def class_aurocs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the AUROC of every class [C] of `scores` and labels [n, C], over the images whose
    label is not NaN; NaN where these have one value only."""
    aurocs = []
    for score, label in zip(scores.T, labels.T, strict=True):
        labelled = ~np.isnan(label)
        once_each = np.ones((1, int(labelled.sum())), np.int64)
        aurocs.append(auroc(rank(score[labelled], label[labelled]), once_each)[0])
    return np.array(aurocs)


def mean_auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean AUROC over the classes that have one; NaN where none has."""
    aurocs = class_aurocs(scores, labels)
    return float(np.nanmean(aurocs)) if not np.isnan(aurocs).all() else float("nan")


def _joined(
    function: Callable[[Ranking, np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    ranking: Ranking,
    weights: np.ndarray | ByImage,
) -> np.ndarray:
    parts = [function(ranking, *block) for block in _blocks(ranking, ByImage.of(weights))]
    return np.concatenate(parts) if parts else np.empty(0)


def influence(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how far every image pulls the AUROC of `scores` [n] against 0/1 `labels` [n] from its
    mean, [n].

    The sum of their squares is the variance of the AUROC (DeLong, DeLong & Clarke-Pearson 1988,
    with 1/n for 1/(n - 1)), and that of differences between two scores' values the variance of the
    paired difference. All 0 where the labels have one value only.
    """
    labels = np.asarray(labels).astype(bool)
    pulls = np.zeros(len(labels))
    if labels.all() or not labels.any():
        return pulls
    of_positives = rank(scores, labels)
    of_negatives = rank(-np.asarray(scores, dtype=float), ~labels)
    for ranking in (of_positives, of_negatives):
        wins = (ranking.below + ranking.below_or_tied) / (2 * len(ranking.negative))
        pulls[ranking.positive] = (wins - wins.mean()) / len(ranking.positive)
    return pulls


def _average_precision(
    ranking: Ranking, positives: np.ndarray, negatives: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    steps = ranking.steps
    true_positives = np.cumsum(positives[::-1], axis=0)[::-1]
    false_positives = negatives[-1] - negatives[steps.below]
    precision = ratio(true_positives, true_positives + false_positives, empty=0.0)
    of_each = np.ascontiguousarray(precision[steps.step].T)
    positive_weights = rows[:, ranking.positive]
    weighted = np.einsum("rj,rj->r", positive_weights, of_each)
    return ratio(weighted, positives.sum(axis=0))


def average_precision(ranking: Ranking, weights: np.ndarray | ByImage) -> np.ndarray:
    """Return the average precision (area under the precision-recall steps) per row of `weights` [R,
    n].

    Tied scores are one step, as in scikit-learn. NaN where a resample has no positive.
    """
    return _joined(_average_precision, ranking, weights)
