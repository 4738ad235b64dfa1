"""Every weighted metric equals scikit-learn (or brute force) on the resampled copies: ties, one
class, one image, no image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies._internal.core import DataObject
from sklearn import metrics as sk

from bench.metrics import counting, weights
from bench.metrics.ranking import (
    auroc,
    average_precision,
    class_aurocs,
    influence,
    mean_auroc,
    rank,
)
from bench.metrics.weights import Once, weighted_mean, weighted_median
from tests.bench.metrics import reference

QUICK = settings(max_examples=40, deadline=None)


@st.composite
def resamples(
    draw: Callable[..., Any], most: int = 12
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw tied scores [n], labels 0/1 [n] and weights [3, n]; n may be 1 and a resample may be
    empty."""
    n = draw(st.integers(1, most))
    score = draw(
        hnp.arrays(float, n, elements=st.sampled_from([-1.5, -0.5, 0.0, 0.25, 0.5, 1.0, 3.0]))
    )
    label = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 1)))
    return score, label, draw(hnp.arrays(np.int64, (3, n), elements=st.integers(0, 3)))


@QUICK
@given(resamples())
def test_ranking_metrics_equal_scikit_learn_on_copies(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    score, label, weight = case
    ranking = rank(score, label)
    copies = [reference.expand(row, score, label) for row in weight]
    np.testing.assert_allclose(
        auroc(ranking, weight), [reference.auroc(*c) for c in copies], atol=1e-12
    )
    np.testing.assert_allclose(
        average_precision(ranking, weight),
        [reference.average_precision(*c) for c in copies],
        atol=1e-12,
    )


def test_the_mean_auroc_is_over_the_classes_that_have_one() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 3))
    labels = rng.integers(0, 2, (40, 3)).astype(float)
    labels[:5, 0] = np.nan
    labels[:, 2] = 1
    expected = [
        sk.roc_auc_score(labels[5:, 0], scores[5:, 0]),
        sk.roc_auc_score(labels[:, 1], scores[:, 1]),
    ]
    np.testing.assert_allclose(class_aurocs(scores, labels), [*expected, np.nan])
    assert mean_auroc(scores, labels) == pytest.approx(np.mean(expected))
    assert np.isnan(mean_auroc(scores[:, 2:], labels[:, 2:]))


@QUICK
@given(resamples())
def test_decisions_equal_scikit_learn_on_copies(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    score, label, weight = case
    predicted = (score > 0).astype(int)
    counts = counting.confusion(predicted, label, weight)
    for r, row in enumerate(weight):
        p, y = reference.expand(row, predicted, label)
        for name, value in reference.decisions(p, y).items():
            np.testing.assert_allclose(
                getattr(counting, name)(counts)[r], value, atol=1e-12, err_msg=name
            )


@QUICK
@given(resamples(), st.integers(2, 4))
def test_exclusive_classes_equal_scikit_learn_on_copies(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], classes: int
) -> None:
    score, label, weight = case
    true, chosen = (
        (label + np.arange(len(label))) % classes,
        np.abs(score * 4).astype(int) % classes,
    )
    table = counting.class_counts(chosen, true, classes, weight)
    for r, row in enumerate(weight):
        p, y = reference.expand(row, chosen, true)
        np.testing.assert_array_equal(
            table[r], sk.confusion_matrix(y, p, labels=range(classes)) if len(y) else 0
        )
        expected = sk.matthews_corrcoef(y, p) if len(set(y.tolist())) > 1 else np.nan
        np.testing.assert_allclose(counting.multiclass_mcc(table)[r], expected, atol=1e-12)


@QUICK
@given(resamples(), st.integers(1, 20))
def test_probabilities_equal_a_loop_over_bins(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], bins: int
) -> None:
    score, label, weight = case
    prob = np.clip((score + 1.5) / 4.5, 0, 1)
    # 8/18 as a quotient and as an edge of 18 bins differ in the last bit: either bin is right.
    exact = np.isin(prob, (0.0, 0.5, 1.0))
    assume((exact | (np.abs(prob * bins - np.round(prob * bins)) > 1e-9)).all())
    found, error = (
        counting.calibration_error(prob, label, weight, bins),
        counting.brier(prob, label, weight),
    )
    for r, row in enumerate(weight):
        p, y = reference.expand(row, prob, label)
        np.testing.assert_allclose(found[r], reference.calibration_error(p, y, bins), atol=1e-12)
        np.testing.assert_allclose(
            error[r], sk.brier_score_loss(y, p, pos_label=1) if len(y) else np.nan, atol=1e-12
        )


@QUICK
@given(resamples())
def test_mean_and_median_equal_those_of_copies(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    score, _, weight = case
    copies = [reference.expand(row, score)[0] for row in weight]
    np.testing.assert_allclose(
        weighted_mean(score, weight), [c.mean() if len(c) else np.nan for c in copies], atol=1e-12
    )
    np.testing.assert_allclose(
        weighted_median(score, weight),
        [np.median(c) if len(c) else np.nan for c in copies],
        atol=1e-12,
    )


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    score, label, weight = (
        rng.normal(size=60).round(1),
        rng.integers(0, 2, 60),
        rng.integers(0, 4, (50, 60)),
    )
    whole = (
        auroc(rank(score, label), weight),
        average_precision(rank(score, label), weight),
        weighted_median(score, weight),
    )
    monkeypatch.setattr(weights, "BLOCK", 130)
    parts = (
        auroc(rank(score, label), weight),
        average_precision(rank(score, label), weight),
        weighted_median(score, weight),
    )
    np.testing.assert_array_equal(whole, parts)


def test_no_image_is_undefined() -> None:
    none = np.zeros((2, 0), dtype=np.int64)
    assert np.isnan(auroc(rank(np.empty(0), np.empty(0, int)), none)).all()
    assert (
        np.isnan(weighted_mean(np.empty(0), none)).all()
        and np.isnan(weighted_median(np.empty(0), none)).all()
    )


def test_shared_parts_are_computed_once_per_matrix() -> None:
    calls = []

    def total(weights: np.ndarray) -> float:
        calls.append(1)
        return float(weights.sum())

    once = Once(total)
    first, second = np.ones((1, 2)), np.ones((1, 2))
    assert (once(first), once(first), once(second)) == (2, 2, 2) and len(calls) == 2


def test_auroc_variance_agrees_with_delong() -> None:
    """The bootstrap's standard errors of two AUROCs and of their paired difference are DeLong's
    within 10%."""
    from bench.metrics.bootstrap import cluster_weights

    rng = np.random.default_rng(3)
    label = (rng.random(600) < 0.3).astype(int)
    one = rng.normal(size=600) + label
    other = 0.6 * one + rng.normal(size=600) + 0.3 * label
    areas, covariance = reference.delong(one, other, label)
    weight = cluster_weights([str(i) for i in range(600)], resamples=2000)
    resampled = np.stack([auroc(rank(score, label), weight) for score in (one, other)])
    for k, score in enumerate((one, other)):
        assert areas[k] == pytest.approx(sk.roc_auc_score(label, score))
        assert resampled[k].std() == pytest.approx(np.sqrt(covariance[k, k]), rel=0.1)
    paired = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert (resampled[0] - resampled[1]).std() == pytest.approx(np.sqrt(paired), rel=0.1)


@QUICK
@given(resamples(most=20), st.data())
def test_influence_is_delongs_variance(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], data: DataObject
) -> None:
    """The squares add up to DeLong's variance, those of differences to that of the paired
    difference (1/n for 1/(n - 1))."""
    score, label, _ = case
    other = data.draw(hnp.arrays(float, len(score), elements=st.sampled_from([0.0, 1.0, 2.0])))
    positives = label.sum()
    if not 1 < positives < len(label) - 1:
        assert (influence(score, label) == 0).all() or 0 < positives < len(label)
        return
    wins = [
        (s[label == 1][:, None] > s[label == 0]) + 0.5 * (s[label == 1][:, None] == s[label == 0])
        for s in (score, other)
    ]
    expected = [
        [np.var(w.mean(axis=k)) / len(w.mean(axis=k)) for k in (0, 1)]
        for w in (*wins, wins[0] - wins[1])
    ]
    one, two = influence(score, label), influence(other, label)
    found = [(one**2).sum(), (two**2).sum(), ((one - two) ** 2).sum()]
    np.testing.assert_allclose(found, np.sum(expected, axis=1), atol=1e-12)
