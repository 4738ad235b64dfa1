"""The smallest difference that is shown with 80 % power, and the patients that another one needs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.metrics.intervals import Spread
from bench.metrics.power import PairDesign, patients_needed, power, smallest_difference

DESIGN = PairDesign(Spread(0.02, 99), patients=100)


@pytest.mark.parametrize(
    ("difference", "theirs"),
    [
        (0.01, 0.0785297314784373),
        (0.03, 0.31785489917517223),
        (0.06, 0.8439471027374158),
        (0.1, 0.9986097259857082),
    ],
)
def test_power_agrees_with_statsmodels(difference: float, theirs: float) -> None:
    """A paired t-test on 100 patients whose differences have the standard deviation 0.2; `theirs`
    is TTestPower().power(difference / 0.2, nobs=100, alpha=0.05) of statsmodels 0.15.0."""
    assert power(DESIGN, difference) == pytest.approx(theirs, abs=1e-6)


def test_the_smallest_difference_has_the_power_asked_for() -> None:
    for wanted in (0.5, 0.8, 0.95):
        assert power(DESIGN, smallest_difference(DESIGN, wanted)) == pytest.approx(wanted)


def test_patients_needed_agree_with_statsmodels() -> None:
    theirs = 350.76382009280655  # TTestPower().solve_power(0.03 / 0.2, alpha=0.05, power=0.8)
    assert abs(patients_needed(DESIGN, 0.03) - theirs) <= 1
    assert power(DESIGN.with_patients(patients_needed(DESIGN, 0.03)), 0.03) >= 0.8


def test_half_the_difference_needs_about_four_times_the_patients() -> None:
    assert patients_needed(DESIGN, 0.01) / patients_needed(DESIGN, 0.02) == pytest.approx(
        4, rel=0.02
    )


def test_correction_for_many_comparisons_needs_more() -> None:
    corrected = PairDesign(DESIGN.spread, 100, comparisons=10)
    assert smallest_difference(corrected) > smallest_difference(DESIGN)
    needed = patients_needed(corrected, 0.03) / patients_needed(DESIGN, 0.03)
    assert 1.5 < needed < 1.9


def test_what_training_adds_no_number_of_patients_takes_away() -> None:
    noisy = PairDesign(Spread(0.02, 99, 0.05, 4), 100)
    assert patients_needed(noisy, 0.03) == math.inf
    assert patients_needed(noisy, 0.5) < 100


def test_equal_predictions_show_any_difference() -> None:
    design = PairDesign(Spread(0.0, 99), 100)
    assert smallest_difference(design) == 0
    assert power(design, 0.01) == 1
    assert power(design, 0.0) == 0.05


def test_a_difference_of_very_many_standard_errors_is_shown() -> None:
    design = PairDesign(Spread(1e-17, 99), 100)
    assert power(design, 0.03) == 1
    assert patients_needed(design, 0.03) == 4


def test_power_is_the_share_of_simulated_tests_that_find_the_difference() -> None:
    """2,000 paired t-tests of normal differences, at the difference stated for 80 %."""
    rng = np.random.default_rng(0)
    patients = 60
    design = PairDesign(Spread(1 / math.sqrt(patients), patients - 1), patients)
    size = smallest_difference(design)
    samples = rng.normal(size, 1, (2000, patients))
    shown = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05
    assert shown.mean() == pytest.approx(0.8, abs=0.03)
