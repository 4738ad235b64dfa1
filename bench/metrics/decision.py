"""What is chosen on validation: thresholds and temperatures."""

from __future__ import annotations

from typing import Literal

import numpy as np

from bench.core.errors import DataError
from bench.metrics.weights import ratio

Rule = Literal["f1", "youden"]
TEMPERATURES = (0.01, 100.0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(x, dtype=float)))


def log_softmax(x: np.ndarray) -> np.ndarray:
    """Return log softmax over the last axis."""
    x = np.asarray(x, dtype=float)
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def choose_threshold(scores: np.ndarray, labels: np.ndarray, rule: Rule = "f1") -> float:
    """Return the threshold t (positive where score > t) that is best on `scores` [n] against 0/1
    `labels` [n].

    `rule` f1: the highest F1; youden: the highest sensitivity + specificity. Between two scores t
    is their middle; of equal ones the highest threshold is taken. Raise DataError where the labels
    have one value only.
    """
    scores = np.asarray(scores, dtype=float)
    labels = np.asarray(labels).astype(bool)
    if labels.all() or not labels.any():
        raise DataError(
            f"a threshold cannot be chosen on {len(labels)} validation images with one label "
            "value.",
            "Add images.",
        )
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    tp = np.cumsum(labels[order])
    fp = np.arange(1, len(ranked) + 1) - tp
    positives = labels.sum()
    if rule == "f1":
        value = 2 * tp / (positives + tp + fp)
    else:
        value = tp / positives - fp / (~labels).sum()
    last_of_equal = np.append(ranked[1:] < ranked[:-1], True)
    best = int(np.argmax(np.where(last_of_equal, value, -np.inf)))
    if best == len(ranked) - 1:
        return float(ranked[best] - 1.0)
    return float((ranked[best] + ranked[best + 1]) / 2)


def best_score(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the score from which on, itself included, deciding positive has the best F1 on
    `scores` [n] against 0/1 `labels` [n]; of equal ones the lowest.

    The largest F1 along scikit-learn's precision-recall curve, where BenchX takes its thresholds
    from. Without a positive every F1 is 0: the lowest score. Raise DataError without an image.
    """
    from sklearn.metrics import precision_recall_curve

    scores = np.asarray(scores, dtype=float)
    labels = np.asarray(labels).astype(bool)
    if not len(scores):
        raise DataError("a threshold cannot be chosen on no image.", "Add images.")
    if not labels.any():
        return float(scores.min())
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = ratio(2 * recall * precision, recall + precision, empty=0.0)
    return float(thresholds[int(f1.argmax())])


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature T > 0 that minimises the log loss of logits / T (Guo 2017).

    `logits` [n] with 0/1 `labels` [n], or [n, K] with class numbers [n]. Golden-section search over
    log T; convex in 1 / T.
    """
    logits = np.asarray(logits, dtype=float)
    labels = np.asarray(labels)
    low, high = np.log(TEMPERATURES)
    golden = (np.sqrt(5) - 1) / 2
    while high - low > 1e-5:
        left = high - golden * (high - low)
        right = low + golden * (high - low)
        left_loss = _log_loss(logits / np.exp(left), labels)
        right_loss = _log_loss(logits / np.exp(right), labels)
        if left_loss <= right_loss:
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean log loss of logits [n] against 0/1, or [n, K] against class numbers."""
    if logits.ndim == 1:
        against = np.where(labels.astype(bool), -logits, logits)
        return float(np.logaddexp(0.0, against).mean())
    images = np.arange(len(logits))
    return float(-log_softmax(logits)[images, labels.astype(int)].mean())
