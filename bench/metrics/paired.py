"""Differences between methods measured on the same resamples: p-values and their correction for
many comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.metrics.bootstrap import Estimate, difference


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
    """One paired comparison: value of `one` minus value of `other`, 95% interval, p-value and
    Holm-corrected p-value."""

    one: str
    other: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float


def all_differences(estimates: Mapping[str, Estimate]) -> list[Difference]:
    """Compare every pair of `estimates` (all of the same resamples); the correction is over all
    pairs."""
    pairs = list(combinations(estimates, 2))
    p_values = [paired_p_value(estimates[a].resampled, estimates[b].resampled) for a, b in pairs]
    differences = []
    for (a, b), p, corrected in zip(pairs, p_values, holm(p_values), strict=True):
        value = estimates[a].value - estimates[b].value
        low, high = difference(estimates[a], estimates[b])
        differences.append(Difference(a, b, value, low, high, p, float(corrected)))
    return differences
