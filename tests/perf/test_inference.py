"""The harness proves its own intervals, comparisons and power, on simulated test sets whose true
values are known. The tables of docs/statistics.md are made by the same code with more draws."""

from __future__ import annotations

import pytest

from perf.inference import (
    coverage,
    false_alarms,
    retrieval_coverage,
    seed_coverage,
    shown_at_the_stated_difference,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("metric", ["AUROC", "average precision", "F1", "mean overlap"])
@pytest.mark.parametrize("images", [60, 300])
def test_intervals_hold_the_truth_about_95_times_in_100(metric: str, images: int) -> None:
    result = coverage(metric, images, prevalence=0.2, draws=400)
    assert 0.91 <= result.ours <= 0.995
    assert result.ours >= result.percentile - 0.01


def test_with_few_positives_the_percentile_interval_holds_too_little_and_ours_does_not() -> None:
    result = coverage("AUROC", 100, prevalence=0.05, draws=400)
    assert result.percentile < 0.9
    assert result.ours >= 0.93


@pytest.mark.parametrize("images", [60, 200])
def test_the_interval_of_retrieval_holds_the_truth_where_candidates_are_drawn_too(
    images: int,
) -> None:
    result = retrieval_coverage(images, draws=300)
    assert result.queries < 0.91
    assert 0.92 <= result.both <= 0.995


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_three_seeds_make_up_for_the_noise_of_training(ratio: float) -> None:
    assert 0.92 <= seed_coverage(ratio, seeds=3, draws=1500) <= 0.99


def test_one_seed_does_not() -> None:
    assert seed_coverage(1.0, seeds=1, draws=1500) < 0.9


@pytest.mark.parametrize("rows", [2, 5, 10])
def test_equal_encoders_are_said_to_differ_in_one_table_of_20_at_most(rows: int) -> None:
    assert false_alarms(100, rows, draws=400) <= 0.08


def test_power_is_what_it_says() -> None:
    """At the difference stated for 80 % power, a simulated difference of that size is found in 75
    to 85 % of test sets."""
    _, shown = shown_at_the_stated_difference(1000, draws=800)
    assert shown == pytest.approx(0.8, abs=0.05)
