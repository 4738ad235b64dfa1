"""What a value's uncertainty is made of: patients, training, and few positives; intervals and
p-values from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.contracts.tasks import Scale

IntervalMethod = Literal["standard", "percentile"]
"""How intervals and p-values are made: "standard" as docs/statistics.md says; "percentile" as they
were before: percentiles of the resamples, and p-values counted from them."""

FEWEST_POSITIVE = 3
"""Below so many patients with a positive there is no interval: nobody can say."""
FEW_POSITIVE = 10
"""Below so many a table warns."""


@dataclass(frozen=True)
class Spread:
    """The standard error of a value and its degrees of freedom.

    `patients`: standard error under resampling of patients, with `patient_freedom` degrees of
    freedom; `training`: standard error of the mean over seeds (standard deviation over seeds /
    sqrt(seeds)), with `training_freedom`; 0 where there is one seed or nothing is trained.
    """

    patients: float
    patient_freedom: float
    training: float = 0.0
    training_freedom: float = 0.0

    @property
    def total(self) -> float:
        """Return the standard error of both together: they are independent, their variances add."""
        return math.hypot(self.patients, self.training)

    @property
    def freedom(self) -> float:
        """Return the degrees of freedom of `total` (Satterthwaite 1946)."""
        parts = [
            (self.patients**2, self.patient_freedom),
            (self.training**2, self.training_freedom),
        ]
        shares = [variance**2 / freedom for variance, freedom in parts if variance > 0]
        if not shares:
            return self.patient_freedom
        return self.total**4 / sum(shares)


def difference_spread(one: Spread, other: Spread, resampled: np.ndarray) -> Spread:
    """Return the spread of a difference whose resampled values [R] are paired; the trainings of
    both sides are independent.

    A side that is the same in every resample, such as the AUROC of a constant answer, is known
    exactly: the freedom is then that of the other side.
    """
    uncertain = [side.patient_freedom for side in (one, other) if side.patients != 0]
    training = math.hypot(one.training, other.training)
    parts = [(one.training, one.training_freedom), (other.training, other.training_freedom)]
    shares = [error**4 / freedom for error, freedom in parts if error > 0]
    return Spread(
        standard_error(resampled),
        min(uncertain or (one.patient_freedom, other.patient_freedom)),
        training,
        training**4 / sum(shares) if shares else 0.0,
    )


def standard_error(resampled: np.ndarray) -> float:
    """Return the standard deviation of the resampled values [R] that are defined; NaN for none."""
    defined = resampled[~np.isnan(resampled)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else math.nan


def training_error(values: np.ndarray) -> tuple[float, float]:
    """Return the standard error of the mean of one value per seed [S], and its degrees of freedom;
    (0, 0) for one seed."""
    seeds = len(values)
    if seeds < 2:
        return 0.0, 0.0
    return float(np.std(values, ddof=1)) / math.sqrt(seeds), seeds - 1.0


def patient_numbers(patients: Sequence[str]) -> np.ndarray:
    """Return a whole number from 0 for the patient of each image [n]: quicker to count than
    names."""
    return np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1]


def patients_behind(labels: np.ndarray, patients: np.ndarray) -> int:
    """Return on how many patients a metric stands that compares images of label 1 with images of
    label 0: the fewer of those that have one and those that have the other.

    labels [n]: 1, 0, or NaN for an image that does not count; patients [n]: their numbers
    (`patient_numbers`). Where no image has label 0 (a mean over lesions), those with label 1 are
    counted.
    """
    counts = [int(np.count_nonzero(np.bincount(patients[labels == value]))) for value in (1, 0)]
    return min(counts) if counts[1] else counts[0]


def combined_freedom(variances: np.ndarray, freedoms: np.ndarray) -> float:
    """Return the degrees of freedom of a mean of independent parts, such as an AUROC over classes:
    Satterthwaite's, from each part's variance [K] and degrees of freedom [K]."""
    spread = np.isfinite(variances) & (variances > 0) & (freedoms > 0)
    if not spread.any():
        return float(freedoms.min()) if len(freedoms) else math.nan
    shares = variances[spread] ** 2 / freedoms[spread]
    return float(variances[spread].sum() ** 2 / shares.sum())


def interval_of(
    value: float,
    resampled: np.ndarray,
    spread: Spread,
    *,
    scale: Scale = "mean",
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the interval of a value from its resampled values [R]; (NaN, NaN) where it stands on
    fewer than three patients.

    "share": the logit of the value plus and minus t times its standard error (by the delta method),
    with one degree of freedom fewer than there are patients with a positive; a share of 0 or 1 has
    no spread, and its interval is Clopper and Pearson's for that many patients. "mean": the
    expanded percentile interval (Hesterberg 2015, doi 10.1080/00031305.2015.1089789), widened for
    what training adds. Both cover 95 % where the plain percentile interval covers 85 to 92 %:
    docs/statistics.md.
    """
    if math.isnan(value) or not spread.patient_freedom >= FEWEST_POSITIVE - 1:
        return math.nan, math.nan
    if scale == "share" and 0 <= value <= 1:
        return _share_interval(value, spread, level)
    return _mean_interval(value, resampled, spread, level)


def _share_interval(value: float, spread: Spread, level: float) -> tuple[float, float]:
    from scipy.stats import t

    tail = (1 - level) / 2
    if value in (0.0, 1.0):
        reach = tail ** (1 / (spread.patient_freedom + 1))
        return (reach, 1.0) if value == 1 else (0.0, 1 - reach)
    centre = math.log(value / (1 - value))
    reach = float(t.isf(tail, spread.freedom)) * spread.total / (value * (1 - value))
    return _logistic(centre - reach), _logistic(centre + reach)


def _logistic(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


def _mean_interval(
    value: float, resampled: np.ndarray, spread: Spread, level: float
) -> tuple[float, float]:
    from scipy.stats import norm, t

    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        return math.nan, math.nan
    freedom = spread.patient_freedom
    if freedom + 1 < FEW_POSITIVE:
        narrow = math.sqrt((freedom + 1) / freedom)  # resampling n patients knows (n - 1) / n of it
        return t_interval(value, replace(spread, patients=spread.patients * narrow), level)
    tail = (1 - level) / 2
    reach = float(t.isf(tail, freedom)) * math.sqrt((freedom + 1) / freedom)
    expanded = float(norm.sf(reach))
    low, high = np.quantile(defined, [expanded, 1 - expanded])
    if spread.training > 0:
        if spread.patients == 0:
            around = float(t.isf(tail, spread.freedom)) * spread.total
            return value - around, value + around
        wider = spread.total / spread.patients
        wider *= float(t.isf(tail, spread.freedom)) / float(t.isf(tail, freedom))
        low = value - (value - low) * max(1.0, wider)
        high = value + (high - value) * max(1.0, wider)
    return float(low), float(high)


def t_interval(value: float, spread: Spread, level: float = 0.95) -> tuple[float, float]:
    """Return value plus and minus t standard errors: the interval that belongs to `t_p_value`."""
    from scipy.stats import t

    if not spread.freedom > 0 or math.isnan(spread.total):
        return math.nan, math.nan
    reach = float(t.isf((1 - level) / 2, spread.freedom)) * spread.total
    return value - reach, value + reach


def t_p_value(value: float, spread: Spread) -> float:
    """Return the two-sided p-value that the true value is 0, by Student's t.

    It has no floor, as one counted from resamples has (2 / (R + 1)): with eight rows and more
    nothing could be significant after correction. A difference without any spread has p 1 where it
    is 0; else it is the same for every patient, and has the p-value of the sign test.
    """
    from scipy.stats import t

    if math.isnan(value) or math.isnan(spread.total) or not spread.freedom > 0:
        return math.nan
    if spread.total == 0:
        return 1.0 if value == 0 else float(min(1.0, 2.0**-(spread.patient_freedom)))
    return float(2 * t.sf(abs(value) / spread.total, spread.freedom))
