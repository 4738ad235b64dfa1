"""Plain references: resampled copies instead of weights, scikit-learn where it has the metric,
DeLong's test."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics as sk

from bench.metrics.ranking import Ranking
from bench.metrics.weights import ratio, weighted_sums


def expand(weights: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Repeat entry i of each array weights[i] times."""
    return tuple(np.repeat(array, weights, axis=0) for array in arrays)


def defined(function: Callable[..., Any], *arrays: np.ndarray) -> float:
    """Call scikit-learn without its warnings about undefined values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arrays)


def auroc(score: np.ndarray, label: np.ndarray) -> float:
    return np.nan if len(set(label.tolist())) < 2 else sk.roc_auc_score(label, score)


def average_precision(score: np.ndarray, label: np.ndarray) -> float:
    return np.nan if not label.any() else defined(sk.average_precision_score, label, score)


def decisions(predicted: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Return scikit-learn's metrics of 0/1 decisions, NaN where undefined."""
    if not len(label):
        return dict.fromkeys(
            ("accuracy", "f1", "sensitivity", "specificity", "precision", "mcc"), np.nan
        )
    names = {"f1": sk.f1_score, "sensitivity": sk.recall_score, "precision": sk.precision_score}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            name: function(label, predicted, zero_division=np.nan)
            for name, function in names.items()
        }
        found["specificity"] = sk.recall_score(label, predicted, pos_label=0, zero_division=np.nan)
        found["mcc"] = (
            sk.matthews_corrcoef(label, predicted) if len(set(label.tolist())) == 2 else np.nan
        )
    return found | {"accuracy": sk.accuracy_score(label, predicted)}


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int) -> np.float64 | float:
    edges, total = np.linspace(0, 1, bins + 1), 0.0
    for k in range(bins):
        inside = (confidence <= edges[k + 1]) & ((confidence > edges[k]) | (k == 0))
        total += abs((confidence[inside] - right[inside]).sum())
    return total / len(confidence) if len(confidence) else np.nan


def delong(
    one: np.ndarray, other: np.ndarray, label: np.ndarray
) -> tuple[list[np.float64], np.ndarray]:
    """Return the AUROCs, their variances and covariance (DeLong 1988) of two scores of the same
    images."""
    placements = []
    for score in (one, other):
        wins = (score[label == 1][:, None] > score[label == 0]) + 0.5 * (
            score[label == 1][:, None] == score[label == 0]
        )
        placements.append((wins.mean(1), wins.mean(0)))
    areas = [rows.mean() for rows, _ in placements]
    of_positives = np.cov([rows for rows, _ in placements]) / (label == 1).sum()
    of_negatives = np.cov([columns for _, columns in placements]) / (label == 0).sum()
    return areas, of_positives + of_negatives


# --------------------------------------------------------------- columns gathered in order of score
def _cumulative(weights: np.ndarray) -> np.ndarray:
    return np.hstack([np.zeros((len(weights), 1), weights.dtype), np.cumsum(weights, axis=1)])


def gathered_auroc(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """Return the AUROC per row of weights [R, n]: columns gathered in order of score, then
    summed."""
    negatives = _cumulative(weights[:, ranking.negative])
    positives = weights[:, ranking.positive]
    won = negatives[:, ranking.below] + negatives[:, ranking.below_or_tied]
    pairs = 2.0 * positives.sum(axis=1) * negatives[:, -1]
    return ratio(np.einsum("rj,rj->r", positives, won), pairs)


def gathered_average_precision(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """Return the average precision per row of weights [R, n], likewise."""
    negatives = _cumulative(weights[:, ranking.negative])
    own = weights[:, ranking.positive]
    positives = _cumulative(own)
    found = positives[:, -1:] - positives[:, ranking.first]
    wrong = negatives[:, -1:] - negatives[:, ranking.below]
    precision = ratio(found, found + wrong, empty=0.0)
    return ratio(np.einsum("rj,rj->r", own, precision), positives[:, -1])


def multiplied_confusion(
    predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return true positives, false positives, false negatives and true negatives [4, R] as a
    product of matrices."""
    p, y = predicted.astype(bool), labels.astype(bool)
    return weighted_sums(np.stack([p & y, p & ~y, ~p & y, ~p & ~y], axis=1), weights).T
