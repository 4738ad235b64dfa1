"""Thresholds and temperatures equal a search over all candidates; Holm and the paired p-value equal
their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies._internal.core import DataObject
from scipy.optimize import minimize_scalar
from scipy.stats import t
from sklearn.metrics import f1_score, log_loss

from bench.core.errors import DataError
from bench.metrics.bootstrap import estimate_of
from bench.metrics.decision import (
    best_score,
    choose_threshold,
    fit_temperature,
    log_softmax,
    sigmoid,
)
from bench.metrics.paired import all_differences, holm, paired_p_value


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(float, st.integers(2, 15), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0])),
    st.data(),
)
def test_threshold_is_the_best_of_all(scores: np.ndarray, data: DataObject) -> None:
    labels = data.draw(hnp.arrays(np.int64, len(scores), elements=st.integers(0, 1)))
    assume(0 < labels.sum() < len(labels))
    candidates = np.append(np.unique(scores) - 1e-6, scores.max() + 1)
    best = max(f1_score(labels, scores > t, zero_division=0) for t in candidates)
    assert f1_score(
        labels, scores > choose_threshold(scores, labels), zero_division=0
    ) == pytest.approx(best)
    t = choose_threshold(scores, labels, "youden")

    def index(t: float | np.float64) -> np.float64:
        return (scores > t)[labels == 1].mean() - (scores > t)[labels == 0].mean()

    assert index(t) == pytest.approx(max(index(c) for c in candidates))


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(float, st.integers(1, 15), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0])),
    st.data(),
)
def test_best_score_has_the_best_f1_from_it_on(scores: np.ndarray, data: DataObject) -> None:
    labels = data.draw(hnp.arrays(np.int64, len(scores), elements=st.integers(0, 1)))
    values = {t: f1_score(labels, scores >= t, zero_division=0) for t in np.unique(scores)}
    assert values[best_score(scores, labels)] == pytest.approx(max(values.values()))


def test_of_two_best_scores_the_lowest_is_taken() -> None:
    """From 4 on F1 is 2/3, and from 1 on as well."""
    assert best_score(np.array([4.0, 3.0, 2.0, 1.0]), np.array([1, 0, 0, 1])) == 1.0


def test_threshold_needs_both_values() -> None:
    with pytest.raises(DataError, match="no image"):
        best_score(np.array([]), np.array([]))
    with pytest.raises(DataError, match="one label value"):
        choose_threshold(np.array([0.1, 0.2]), np.array([1, 1]))


@pytest.mark.parametrize("classes", [1, 3])
def test_temperature_minimises_the_log_loss(classes: int) -> None:
    rng = np.random.default_rng(classes)
    logits = rng.normal(size=(200, classes)) * 4
    if classes == 1:
        logits, labels = logits[:, 0], (rng.random(200) < sigmoid(logits[:, 0] / 2.5)).astype(int)
    else:
        labels = (logits / 3 + rng.gumbel(size=logits.shape)).argmax(1)

    def loss(t: np.float64) -> float:
        return log_loss(
            labels, sigmoid(logits / t) if classes == 1 else np.exp(log_softmax(logits / t))
        )

    expected = minimize_scalar(loss, bounds=(0.1, 20), method="bounded", options={"xatol": 1e-6}).x
    assert fit_temperature(logits, labels) == pytest.approx(expected, rel=1e-3)


def test_temperature_stays_bounded_where_logits_are_always_right() -> None:
    assert fit_temperature(np.array([-1.0, 1.0]), np.array([0, 1])) == pytest.approx(0.01, rel=1e-3)


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, np.nan, 0.6]), [1.0, np.nan, 1.0])
    assert len(holm([])) == 0


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(float, st.integers(1, 8), elements=st.floats(0, 1)))
def test_holm_is_monotone_and_never_smaller(p: np.ndarray) -> None:
    adjusted = holm(p.tolist())
    assert (adjusted >= p).all() and (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_paired_p_value_and_differences() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0.7, 0.05, 999)
    better = base + rng.normal(0.05, 0.01, 999)
    assert paired_p_value(better, base) == pytest.approx(2 / 1000)
    assert paired_p_value(base, base) == 1.0
    assert np.isnan(paired_p_value(np.array([np.nan]), np.array([1.0])))


def test_differences_of_all_pairs_are_corrected_for_their_number() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0.7, 0.05, 999)
    better = base + rng.normal(0.05, 0.02, 999)
    estimates = {
        name: estimate_of(values, [float(values.mean())], freedom=99)
        for name, values in (("a", better), ("b", base), ("c", base))
    }
    first, second, third = all_differences(estimates)
    assert [(d.one, d.other) for d in (first, second, third)] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    expected = 2 * t.sf(first.value / (better - base).std(ddof=1), 99)
    assert first.p == pytest.approx(expected)
    assert first.p_holm == pytest.approx(3 * expected)
    assert first.differs
    assert first.low > 0
    assert third.p_holm == 1.0
    assert not third.differs
    counted = all_differences(estimates, "percentile")[0]
    assert counted.p == paired_p_value(better, base)
