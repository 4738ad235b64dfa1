"""Clinical efficacy: precision, recall and F1 of the 14 observations named in generated text,
against the reference's."""

from __future__ import annotations

from functools import partial

import numpy as np

from bench.metrics.weights import Once, Statistic, ratio, weighted_mean, weighted_sums
from bench.text.observations import MAIN, OBSERVATIONS, POSITIVE, UNCERTAIN

FIVE = tuple(OBSERVATIONS.index(name) for name in MAIN)
FOURTEEN = tuple(range(len(OBSERVATIONS)))
ABNORMAL = tuple(
    place
    for place, name in enumerate(OBSERVATIONS)
    if name not in ("No Finding", "Support Devices")
)
"""Most studies are normal: a report that always says so names No Finding rightly and wins by it."""


def named(labels: np.ndarray, uncertain: str) -> np.ndarray:
    """Return which observations count as named, bool [n, 14]; `uncertain` says whether an uncertain
    one does."""
    return np.isin(labels, (POSITIVE, UNCERTAIN) if uncertain == "positive" else (POSITIVE,))


def clinical_statistics(hypothesis: np.ndarray, reference: np.ndarray) -> dict[str, Statistic]:
    """Return `ce_*` of bool [n, 14]: micro and macro over 14 observations, over the 12 abnormal
    ones (`_abnormal`: without No Finding and Support Devices) and over the 5 main ones (`_5`),
    example-based, and each F1.

    What divides by nothing counts as 0, as the field does (scikit-learn's zero_division=0): an
    observation that neither text names has F1 0, and so has a report in which neither names any.
    """
    matched = hypothesis & reference
    invented = hypothesis & ~reference
    missed = ~hypothesis & reference
    parts = np.concatenate([matched, invented, missed], axis=1)
    counts = Once(lambda weights: weighted_sums(parts, weights).reshape(len(weights), 3, -1))
    functions: dict[str, Statistic] = {}
    for suffix, observations in (("", FOURTEEN), ("_abnormal", ABNORMAL), ("_5", FIVE)):
        for number, score in enumerate(("precision", "recall", "f1")):
            functions[f"ce_{score}_micro{suffix}"] = _pooled(counts, observations, number)
            functions[f"ce_{score}_macro{suffix}"] = _averaged(counts, observations, number)
    for name, values in _per_example(hypothesis, reference).items():
        functions[f"ce_{name}_example"] = partial(weighted_mean, values)
    for number, name in enumerate(OBSERVATIONS):
        functions[f"ce_f1:{name}"] = _single(counts, number)
    return functions


def _scores(
    tp: np.ndarray, fp: np.ndarray, fn: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    precision = ratio(tp, tp + fp, 0.0)
    recall = ratio(tp, tp + fn, 0.0)
    return precision, recall, ratio(2 * tp, 2 * tp + fp + fn, 0.0)


def _pooled(counts: Once[np.ndarray], chosen: tuple[int, ...], place: int) -> Statistic:
    return lambda weights: _scores(*counts(weights)[:, :, chosen].sum(axis=2).T)[place]


def _averaged(counts: Once[np.ndarray], chosen: tuple[int, ...], place: int) -> Statistic:
    return lambda weights: _scores(*np.moveaxis(counts(weights)[:, :, chosen], 1, 0))[place].mean(
        axis=1
    )


def _single(counts: Once[np.ndarray], observation: int) -> Statistic:
    return lambda weights: _scores(*counts(weights)[:, :, observation].T)[2]


def _per_example(hypothesis: np.ndarray, reference: np.ndarray) -> dict[str, np.ndarray]:
    tp = (hypothesis & reference).sum(axis=1)
    scores = _scores(
        tp, (hypothesis & ~reference).sum(axis=1), (~hypothesis & reference).sum(axis=1)
    )
    return dict(zip(("precision", "recall", "f1"), scores, strict=True))
