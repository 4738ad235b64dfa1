"""Intervals and comparisons: one patient-clustered resampling matrix shared by every method of a
test set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]
RESAMPLES = 1000


def cluster_weights(
    patients: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Draw bootstrap weights clustered by patient.

    Patients are drawn with replacement, all images of a patient together (cluster bootstrap; Field
    & Welsh 2007). The draw depends on the sorted patient ids, their number, `resamples` and `seed`
    alone, so that all methods tested on the same images share it and differences between them are
    paired.

    Returns: integer weights [resamples, n_images].
    """
    unique, inverse = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    rng = np.random.default_rng(seed)
    uniform = np.full(len(unique), 1 / len(unique))
    counts = rng.multinomial(len(unique), uniform, size=resamples)
    return counts[:, inverse]


def point(statistic: Statistic, n: int) -> float:
    """Return a statistic with every image counted once."""
    once = np.ones((1, n), dtype=np.int64)
    return float(statistic(once)[0])


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of resampled values; undefined resamples (NaN) are left out,
    all undefined gives NaN."""
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Estimate:
    """A value, its 95% interval, and the resampled values behind it [R] for paired comparisons."""

    value: float
    low: float
    high: float
    resampled: np.ndarray

    @property
    def text(self) -> str:
        """Return `0.712 [0.690, 0.733]`."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_estimate(statistics: Sequence[Statistic], weights: np.ndarray) -> Estimate:
    """Return the mean of one statistic over seeds: every seed sees the same resample, so that the
    interval is of the mean."""
    n = weights.shape[1]
    values = np.mean([point(statistic, n) for statistic in statistics])
    resampled = np.mean([statistic(weights) for statistic in statistics], axis=0)
    return Estimate(float(values), *interval(resampled), resampled)


def difference(one: Estimate, other: Estimate) -> tuple[float, float]:
    """Return the 95% interval of the paired difference one - other (both estimated on the same
    resamples)."""
    return interval(one.resampled - other.resampled)


def ranked(estimates: Mapping[str, Estimate], *, lower_is_better: bool = False) -> list[str]:
    """Return the names from best to worst; an undefined value (NaN) comes last, equal values by
    name."""
    sign = 1 if lower_is_better else -1

    def order(name: str) -> tuple[bool, float, str]:
        """Return what names are sorted by: an undefined value last, then the value, then the
        name."""
        value = estimates[name].value
        return bool(np.isnan(value)), sign * value, name

    return sorted(estimates, key=order)


def differ(one: Estimate, other: Estimate) -> bool:
    """Return whether the 95% interval of the paired difference leaves 0 out; an undefined one does
    not tell."""
    low, high = difference(one, other)
    return low > 0 or high < 0


def tie_groups(
    estimates: Mapping[str, Estimate], *, lower_is_better: bool = False
) -> dict[str, int]:
    """Return the group of every name: that of the first group, from the best down, whose leader it
    does not differ from.

    A name that differs from every leader so far leads the next group; group 0 are the ties with the
    best. Names with an undefined value belong to no group.
    """
    groups: dict[str, int] = {}
    leaders: list[str] = []
    for name in ranked(estimates, lower_is_better=lower_is_better):
        if np.isnan(estimates[name].value):
            continue
        tied = [
            group
            for group, leader in enumerate(leaders)
            if not differ(estimates[leader], estimates[name])
        ]
        if tied:
            groups[name] = tied[0]
        else:
            groups[name] = len(leaders)
            leaders.append(name)
    return groups


def tied_with_best(estimates: Mapping[str, Estimate], *, lower_is_better: bool = False) -> set[str]:
    """Return the names whose paired difference to the best has an interval containing 0 (the best
    itself included)."""
    order = ranked(estimates, lower_is_better=lower_is_better)
    return {name for name in order if not differ(estimates[order[0]], estimates[name])}
