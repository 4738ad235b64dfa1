"""How small a difference a test set can show, and how many patients another one needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bench.metrics.intervals import Spread


@dataclass(frozen=True)
class PairDesign:
    """A paired comparison of two encoders as it was made: the spread of their difference on
    `patients` test patients, and over how many comparisons p-values are corrected."""

    spread: Spread
    patients: int
    comparisons: int = 1

    def with_patients(self, patients: float) -> PairDesign:
        """Return the same comparison on another number of patients of the same kind: their standard
        error falls with the root of the number, what training adds stays."""
        ratio = patients / self.patients
        spread = replace(
            self.spread,
            patients=self.spread.patients / math.sqrt(ratio),
            patient_freedom=max(1.0, (self.spread.patient_freedom + 1) * ratio - 1),
        )
        return replace(self, spread=spread, patients=math.ceil(patients))


def power(design: PairDesign, difference: float, alpha: float = 0.05) -> float:
    """Return the probability that a true difference is shown: two-sided t, at `alpha` over the
    number of comparisons (what Holm asks of the first one)."""
    from scipy.stats import nct, t

    total = design.spread.total
    freedom = design.spread.freedom
    if total == 0:
        return 1.0 if difference else alpha
    limit = float(t.isf(alpha / design.comparisons / 2, freedom))
    shift = abs(difference) / total
    shown = float(nct.sf(limit, freedom, shift) + nct.cdf(-limit, freedom, shift))
    if math.isnan(shown):  # so many standard errors that the distribution cannot be computed
        return float(shift > limit)
    return shown


def smallest_difference(design: PairDesign, wanted: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest true difference that is shown with the probability `wanted`."""
    from scipy.optimize import brentq

    total = design.spread.total
    if total == 0:
        return 0.0
    high = total
    while power(design, high, alpha) < wanted:
        high *= 2
    return float(brentq(lambda size: power(design, size, alpha) - wanted, 0.0, high))


def patients_needed(
    design: PairDesign, difference: float, wanted: float = 0.8, alpha: float = 0.05
) -> float:
    """Return how many test patients show a true difference with the probability `wanted`; infinity
    where no number does, because what training adds alone is too much."""
    from scipy.optimize import brentq

    fewest = 4.0

    def lacking(patients: float) -> float:
        return power(design.with_patients(patients), difference, alpha) - wanted

    if lacking(fewest) >= 0:
        return fewest
    most = float(max(design.patients, fewest))
    while lacking(most) < 0:
        most *= 2
        if most > 1e8:
            return math.inf
    return math.ceil(brentq(lacking, fewest, most))
