"""Intervals: clustered by patient, shared between methods, equal to a loop over resamples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics.bootstrap import (
    cluster_weights,
    estimate_of,
    interval,
    mean_estimate,
    point,
    ranked,
)
from bench.metrics.paired import compare


def _mean_of(values: np.ndarray) -> Callable[..., Any]:
    return lambda weights: weights @ values / weights.sum(axis=1)


@settings(max_examples=30)
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30))
def test_images_of_a_patient_are_drawn_together(patients: list[str]) -> None:
    weights = cluster_weights(patients, resamples=20)
    for patient in set(patients):
        columns = weights[:, [p == patient for p in patients]]
        assert (columns == columns[:, :1]).all()
    unique = weights[:, [patients.index(p) for p in sorted(set(patients))]]
    assert (unique.sum(axis=1) == len(set(patients))).all()


def test_interval_equals_a_loop_over_resampled_copies() -> None:
    rng = np.random.default_rng(0)
    values, patients = rng.normal(size=60), [str(i // 2) for i in range(60)]
    weights = cluster_weights(patients, resamples=200)
    loop = [np.mean(np.repeat(values, row)) for row in weights]
    np.testing.assert_allclose(_mean_of(values)(weights), loop)
    np.testing.assert_allclose(interval(np.array(loop)), interval(_mean_of(values)(weights)))


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        values = rng.normal(size=100)
        low, high = interval(_mean_of(values)(cluster_weights([str(i) for i in range(100)], 400)))
        hits += low <= 0 <= high
    assert 180 <= hits <= 199


def test_the_draw_is_the_same_for_all_methods_and_order_of_patients_does_not_matter() -> None:
    patients = ["b", "a", "c", "a"]
    weights, turned = cluster_weights(patients), cluster_weights(patients[::-1])
    np.testing.assert_array_equal(weights, turned[:, ::-1])


def test_differences_are_paired() -> None:
    """b is worse than a by a constant: a tiny but certain difference, which overlapping intervals
    would hide."""
    rng = np.random.default_rng(2)
    base = rng.normal(size=200)
    weights = cluster_weights([str(i) for i in range(200)])
    values = {"a": base, "b": base - 0.01, "c": rng.permutation(base) - 0.02}
    estimates = {
        name: mean_estimate([_mean_of(of_row)], weights, freedom=199)
        for name, of_row in values.items()
    }
    low, high, p, _ = compare(estimates["a"], estimates["b"])
    assert np.isclose(low, 0.01)
    assert np.isclose(high, 0.01)
    assert p < 1e-6
    assert compare(estimates["a"], estimates["c"])[2] > 0.05


def test_undefined_resamples_are_left_out() -> None:
    assert interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert all(np.isnan(interval(np.array([np.nan]))))
    assert point(_mean_of(np.arange(4.0)), 4) == 1.5


def test_a_mean_over_seeds_knows_the_noise_of_training() -> None:
    weights = cluster_weights([str(i) for i in range(50)])
    base = np.random.default_rng(6).normal(size=50)
    seeds = [_mean_of(base + shift) for shift in (0.0, 0.2, 0.4)]
    estimate = mean_estimate(seeds, weights, freedom=49)
    assert estimate.value == pytest.approx(base.mean() + 0.2)
    assert estimate.seed_sd == pytest.approx(0.2)
    assert estimate.spread.training == pytest.approx(0.2 / np.sqrt(3))
    alone = mean_estimate(seeds[:1], weights, freedom=49)
    assert alone.spread.training == 0
    assert estimate.high - estimate.low > alone.high - alone.low


def test_the_percentile_interval_stays_a_named_option() -> None:
    weights = cluster_weights([str(i) for i in range(50)])
    values = np.random.default_rng(7).normal(size=50)
    estimate = mean_estimate([_mean_of(values)], weights, freedom=49, method="percentile")
    assert (estimate.low, estimate.high) == interval(_mean_of(values)(weights))


def test_undefined_values_come_last_in_both_directions() -> None:
    values = {"low": 0.2, "high": 0.9, "none": float("nan")}
    estimates = {
        name: estimate_of(np.full(9, value), [value], freedom=8) for name, value in values.items()
    }
    assert ranked(estimates) == ["high", "low", "none"]
    assert ranked(estimates, lower_is_better=True) == ["low", "high", "none"]
