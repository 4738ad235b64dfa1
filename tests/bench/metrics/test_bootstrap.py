"""Intervals: clustered by patient, shared between methods, equal to a loop over resamples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics.bootstrap import (
    Estimate,
    cluster_weights,
    difference,
    interval,
    mean_estimate,
    point,
    ranked,
    tie_groups,
    tied_with_best,
)


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


def test_ties_use_the_paired_difference() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(size=200)
    weights = cluster_weights([str(i) for i in range(200)])
    # b is worse than a by a constant: a tiny but certain difference, which overlapping intervals
    # would hide.
    values = {"a": base, "b": base - 0.01, "c": rng.permutation(base) - 0.02}
    found = {name: mean_estimate([_mean_of(v)], weights) for name, v in values.items()}
    low, high = difference(found["a"], found["b"])
    assert np.isclose(low, 0.01) and np.isclose(high, 0.01)
    assert tied_with_best(found) == {"a", "c"}


def test_undefined_resamples_are_left_out() -> None:
    assert interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert all(np.isnan(interval(np.array([np.nan]))))
    assert point(_mean_of(np.arange(4.0)), 4) == 1.5


def test_tie_groups_start_at_their_leaders() -> None:
    noise = np.random.default_rng(3).normal(scale=0.01, size=500)
    own = np.random.default_rng(4).normal(scale=0.05, size=500)
    samples = {
        "best": 0.9 + noise,
        "near": 0.89 + noise + own,
        "mid": 0.7 + noise,
        "last": 0.2 + noise,
    }
    found = {name: Estimate(float(v.mean()), *interval(v), v) for name, v in samples.items()}
    samples["wide"] = (
        0.65 + noise + 40 * own
    )  # worse than mid, and yet it does not differ from the best
    assert (
        tie_groups({n: Estimate(float(v.mean()), *interval(v), v) for n, v in samples.items()})[
            "wide"
        ]
        == 0
    )
    found["none"] = Estimate(float("nan"), float("nan"), float("nan"), np.full(500, np.nan))
    assert tie_groups(found) == {"best": 0, "near": 0, "mid": 1, "last": 2}
    assert tie_groups(found, lower_is_better=True) == {"last": 0, "mid": 1, "near": 2, "best": 2}
    assert ranked(found)[-1] == ranked(found, lower_is_better=True)[-1] == "none"
