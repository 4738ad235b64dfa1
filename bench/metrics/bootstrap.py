"""Intervals and comparisons: one patient-clustered resampling matrix shared by every method of a
test set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.metrics.intervals import (
    IntervalMethod,
    Scale,
    Spread,
    interval_of,
    standard_error,
    training_error,
)

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
    """The mean of a metric over seeds, its 95% interval, and what both come from.

    `resampled` [R]: its values under resampling of patients, the same resamples for every row of a
    table; `seeds`: the value of each seed; `spread`: its standard error, of patients and of
    training.
    """

    value: float
    low: float
    high: float
    resampled: np.ndarray
    spread: Spread
    seeds: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """Return `0.712 [0.690, 0.733]`; `0.712 [no interval]` where there is none."""
        if np.isnan(self.low):
            return f"{self.value:.3f} [no interval]"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def seed_sd(self) -> float:
        """Return the standard deviation over seeds; NaN for one seed."""
        if len(self.seeds) < 2 or np.isnan(self.seeds).any():
            return float("nan")
        return float(np.std(self.seeds, ddof=1))

    @property
    def undefined(self) -> float:
        """Return the share of resamples in which the metric has no value."""
        return float(np.isnan(self.resampled).mean()) if len(self.resampled) else 0.0


def estimate_of(
    resampled: np.ndarray,
    seeds: Sequence[float],
    *,
    freedom: float,
    scale: Scale = "mean",
    method: IntervalMethod = "standard",
) -> Estimate:
    """Return the estimate of a metric whose mean over seeds has the values `resampled` [R].

    `freedom`: the number of patients that it stands on, less one. `method` "percentile" gives the
    plain percentile interval of the resamples, as tables had it before: of patients alone.
    """
    value = float(np.mean(seeds))
    training, training_freedom = training_error(np.asarray(seeds, dtype=float))
    spread = Spread(standard_error(resampled), freedom, training, training_freedom)
    if method == "percentile":
        low, high = interval(resampled)
    else:
        low, high = interval_of(value, resampled, spread, scale=scale)
    return Estimate(value, low, high, resampled, spread, tuple(float(seed) for seed in seeds))


def mean_estimate(
    statistics: Sequence[Statistic],
    weights: np.ndarray,
    *,
    freedom: float,
    scale: Scale = "mean",
    method: IntervalMethod = "standard",
) -> Estimate:
    """Return the mean of one statistic over seeds: every seed sees the same resamples.

    Resamples come before values: metrics that share a part keep it for one matrix of weights.
    """
    resampled = np.mean([statistic(weights) for statistic in statistics], axis=0)
    values = [point(statistic, weights.shape[1]) for statistic in statistics]
    return estimate_of(resampled, values, freedom=freedom, scale=scale, method=method)


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
