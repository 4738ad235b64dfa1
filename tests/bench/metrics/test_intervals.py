"""Standard errors of patients and of training add up; intervals and p-values have no floor."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.metrics.intervals import (
    Spread,
    combined_freedom,
    difference_spread,
    interval_of,
    standard_error,
    t_interval,
    t_p_value,
    training_error,
)
from bench.metrics.paired import holm


def test_without_training_noise_the_spread_is_that_of_the_patients() -> None:
    spread = Spread(patients=0.02, patient_freedom=59)
    assert spread.total == 0.02
    assert spread.freedom == pytest.approx(59)


def test_satterthwaite_agrees_with_welch() -> None:
    """Two means of unequal variance: the best known case of the formula."""
    rng = np.random.default_rng(0)
    one = rng.normal(size=8)
    other = rng.normal(scale=3, size=5)
    spread = Spread(
        one.std(ddof=1) / math.sqrt(8), 7, other.std(ddof=1) / math.sqrt(5), training_freedom=4
    )
    welch = stats.ttest_ind(one, other, equal_var=False)
    assert spread.freedom == pytest.approx(welch.df)
    assert t_p_value(one.mean() - other.mean(), spread) == pytest.approx(welch.pvalue)
    low, high = t_interval(one.mean() - other.mean(), spread)
    theirs = welch.confidence_interval(0.95)
    assert (low, high) == pytest.approx((theirs.low, theirs.high))


def test_against_what_no_resample_changes_the_freedom_is_that_of_the_other_side() -> None:
    """A constant answer has an AUROC of 0.5 whoever is drawn, though a class has two patients."""
    encoder = Spread(patients=0.03, patient_freedom=40)
    constant = Spread(patients=0.0, patient_freedom=1)
    resampled = np.random.default_rng(0).normal(0.2, 0.03, 1000)
    for one, other in ((encoder, constant), (constant, encoder)):
        assert difference_spread(one, other, resampled).patient_freedom == 40
    rare = Spread(patients=0.1, patient_freedom=1)
    assert difference_spread(encoder, rare, resampled).patient_freedom == 1
    assert difference_spread(constant, constant, np.zeros(1000)).patient_freedom == 1


def test_training_error_is_that_of_the_mean_over_seeds() -> None:
    values = np.array([0.4, 0.5, 0.7])
    error, freedom = training_error(values)
    assert error == pytest.approx(stats.sem(values))
    assert freedom == 2
    assert training_error(values[:1]) == (0.0, 0.0)


def test_freedom_of_a_mean_over_classes_is_that_of_the_class_that_spreads_most() -> None:
    even = combined_freedom(np.array([1.0, 1.0]), np.array([9.0, 9.0]))
    assert even == pytest.approx(18)
    one_rare = combined_freedom(np.array([100.0, 1e-6]), np.array([4.0, 400.0]))
    assert one_rare == pytest.approx(4, rel=1e-3)
    assert combined_freedom(np.array([0.0, np.nan]), np.array([3.0, 5.0])) == 3


def test_share_interval_is_the_logit_plus_and_minus_t_standard_errors() -> None:
    resampled = np.random.default_rng(1).normal(0.9, 0.03, 1000)
    spread = Spread(standard_error(resampled), 11)
    low, high = interval_of(0.9, resampled, spread, scale="share")
    reach = stats.t.ppf(0.975, 11) * resampled.std(ddof=1) / (0.9 * 0.1)
    logits = [math.log(end / (1 - end)) for end in (low, high)]
    assert logits == pytest.approx([math.log(9) - reach, math.log(9) + reach])
    assert 0 < low < 0.9 < high < 1


@pytest.mark.parametrize("patients", [5, 40])
def test_a_perfect_share_has_clopper_and_pearsons_interval(patients: int) -> None:
    spread = Spread(0.0, patients - 1)
    exact = stats.binomtest(patients, patients).proportion_ci(0.95, method="exact")
    assert interval_of(1.0, np.ones(100), spread, scale="share") == pytest.approx((exact.low, 1.0))
    low, high = interval_of(0.0, np.zeros(100), spread, scale="share")
    assert (low, high) == pytest.approx((0.0, 1 - exact.low))


def test_below_three_patients_with_a_positive_there_is_no_interval() -> None:
    resampled = np.random.default_rng(2).uniform(0.2, 0.6, 500)
    for scale in ("share", "mean"):
        low, high = interval_of(0.4, resampled, Spread(0.1, 1), scale=scale)
        assert math.isnan(low)
        assert math.isnan(high)
        low, high = interval_of(0.4, resampled, Spread(0.1, 2), scale=scale)
        assert low < 0.4 < high


def test_expanded_percentiles_are_those_of_hesterberg() -> None:
    """For 11 patients: the percentiles at the normal tail of sqrt(11/10) times t(10)'s quantile."""
    resampled = np.random.default_rng(3).normal(size=4000)
    low, high = interval_of(0.0, resampled, Spread(standard_error(resampled), 10))
    tail = stats.norm.sf(math.sqrt(11 / 10) * stats.t.ppf(0.975, 10))
    assert (low, high) == pytest.approx(tuple(np.quantile(resampled, [tail, 1 - tail])))


def test_training_noise_widens_an_interval_and_never_narrows_it() -> None:
    resampled = np.random.default_rng(4).normal(0.5, 0.02, 2000)
    plain = Spread(0.02, 99)
    noisy = Spread(0.02, 99, 0.04, 2)
    for scale in ("share", "mean"):
        low, high = interval_of(0.5, resampled, plain, scale=scale)
        noisy_low, noisy_high = interval_of(0.5, resampled, noisy, scale=scale)
        assert noisy_low < low < high < noisy_high


def test_training_noise_alone_still_gives_an_interval() -> None:
    low, high = interval_of(0.5, np.full(100, 0.5), Spread(0.0, 99, 0.01, 2))
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 2) * 0.01)


def test_with_eight_rows_a_clear_difference_is_found() -> None:
    """Eight estimates a whole unit apart with noise of 1e-6: every pair differs after Holm's
    correction; a p-value counted from 1,000 resamples could not fall below 0.056."""
    spread = Spread(1e-6, 59)
    p_values = [t_p_value(float(gap), spread) for gap in range(1, 8) for _ in range(8 - gap)]
    assert len(p_values) == 28
    assert holm(p_values).max() < 1e-6


def test_a_difference_without_spread_is_no_difference_or_the_same_for_every_patient() -> None:
    assert t_p_value(0.0, Spread(0.0, 9)) == 1.0
    assert t_p_value(0.1, Spread(0.0, 9)) == pytest.approx(2**-9)
    assert math.isnan(t_p_value(math.nan, Spread(0.1, 9)))
    assert math.isnan(t_p_value(0.1, Spread(math.nan, 9)))


def test_undefined_resamples_are_left_out_of_the_standard_error() -> None:
    values = np.array([0.1, np.nan, 0.3, 0.5])
    assert standard_error(values) == pytest.approx(np.std([0.1, 0.3, 0.5], ddof=1))
    assert math.isnan(standard_error(np.full(3, np.nan)))
