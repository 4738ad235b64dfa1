"""Differences between methods measured on the same resamples: p-values and their correction for
many comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.metrics.bootstrap import Estimate, interval
from bench.metrics.intervals import (
    FEWEST_POSITIVE,
    IntervalMethod,
    Spread,
    difference_spread,
    t_interval,
    t_p_value,
)


def paired_p_value(one: np.ndarray, other: np.ndarray) -> float:
    """Return the two-sided bootstrap p-value that `one` and `other` [R] (same resamples) do not
    differ.

    Twice the smaller share of resamples on either side of 0, a difference of 0 counted on both, one
    added to both counts so that p is never 0 (Davison & Hinkley 1997, 4.2). Undefined resamples
    (NaN) are left out; none left gives NaN.
    """
    gap = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    gap = gap[~np.isnan(gap)]
    if not len(gap):
        return float("nan")
    smaller = min(int((gap <= 0).sum()), int((gap >= 0).sum()))
    return min(1.0, 2 * (smaller + 1) / (len(gap) + 1))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values corrected for their number by Holm's step-down procedure (Holm 1979), in the
    order given; NaN stays NaN."""
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(p), np.nan)
    defined = np.flatnonzero(~np.isnan(p))
    order = defined[np.argsort(p[defined], kind="stable")]
    if not len(order):
        return adjusted
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


@dataclass(frozen=True)
class Difference:
    """One paired comparison: value of `one` minus value of `other`, the 95% interval of this pair
    alone, its p-value, and the p-value corrected by Holm for all comparisons made with it."""

    one: str
    other: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float
    spread: Spread

    @property
    def differs(self) -> bool:
        """Return whether the two differ after correction, at the 5% level."""
        return self.p_holm < ALPHA


ALPHA = 0.05
"""The rate at which one table of equal encoders says that some pair differs."""


def compare(
    one: Estimate, other: Estimate, method: IntervalMethod = "standard"
) -> tuple[float, float, float, Spread]:
    """Return the 95% interval of the paired difference one - other, its p-value and its spread.

    Student's t from the standard error of the difference, of patients (both on the same resamples)
    and of training; "percentile": from the resamples alone, of which the p-value can be no smaller
    than 2 / (R + 1).
    """
    gap = one.resampled - other.resampled
    spread = difference_spread(one.spread, other.spread, gap)
    value = one.value - other.value
    if method == "percentile":
        return (*interval(gap), paired_p_value(one.resampled, other.resampled), spread)
    if not spread.patient_freedom >= FEWEST_POSITIVE - 1:
        return math.nan, math.nan, math.nan, spread
    return (*t_interval(value, spread), t_p_value(value, spread), spread)


def all_differences(
    estimates: Mapping[str, Estimate], method: IntervalMethod = "standard"
) -> list[Difference]:
    """Compare every pair of `estimates` (all of the same resamples); the correction is over all
    pairs."""
    pairs = list(combinations(estimates, 2))
    compared = [compare(estimates[one], estimates[other], method) for one, other in pairs]
    corrected = holm([p for _, _, p, _ in compared])
    differences = []
    for (one, other), (low, high, p, spread), p_holm in zip(
        pairs, compared, corrected, strict=True
    ):
        value = estimates[one].value - estimates[other].value
        differences.append(Difference(one, other, value, low, high, p, float(p_holm), spread))
    return differences
