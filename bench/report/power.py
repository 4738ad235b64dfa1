"""What difference a table could have shown, and how many test patients another one needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.contracts import KINDS
from bench.metrics.paired import Difference
from bench.metrics.power import PairDesign, patients_needed, smallest_difference
from bench.report.leaderboard import Column, Table

DIFFERENCE = 0.03
"""The difference that the line under a table speaks of."""


@dataclass(frozen=True)
class PairPower:
    """One pair of encoders: the smallest difference that this test set shows with 80 % power, alone
    and among all pairs, and the test patients that `difference` would need, alone and among all."""

    one: str
    other: str
    smallest: float
    smallest_corrected: float
    patients: float
    patients_corrected: float


@dataclass(frozen=True)
class ColumnPower:
    """The power of one column of a table: every pair of encoders, and `typical`, the pair in the
    middle."""

    fraction: float
    difference: float
    pairs: Sequence[PairPower]
    comparisons: int

    @property
    def typical(self) -> PairPower:
        """Return the pair whose smallest difference is the median (the lower of two)."""
        ordered = sorted(self.pairs, key=lambda pair: pair.smallest)
        return ordered[(len(ordered) - 1) // 2]


def column_power(table: Table, column: Column, difference: float) -> ColumnPower | None:
    """Return the power of a column; None where it has no two encoders to compare.

    Pairs of encoders that were trained are what a table is asked about; those of its floor are
    taken where there are no others.
    """
    measured = [pair for pair in column.pairs if not math.isnan(pair.spread.total)]
    measured = [pair for pair in measured if pair.spread.patient_freedom >= 1]
    floor = set(table.floor)
    trained = [pair for pair in measured if not floor & {pair.one, pair.other}]
    chosen = trained or measured
    if not chosen:
        return None
    comparisons = len(column.pairs)
    pairs = [_pair_power(pair, table.test_patients, comparisons, difference) for pair in chosen]
    return ColumnPower(column.fraction, difference, pairs, comparisons)


def _pair_power(pair: Difference, patients: int, comparisons: int, difference: float) -> PairPower:
    alone = PairDesign(pair.spread, patients)
    among_all = PairDesign(pair.spread, patients, comparisons)
    return PairPower(
        one=pair.one,
        other=pair.other,
        smallest=smallest_difference(alone),
        smallest_corrected=smallest_difference(among_all),
        patients=patients_needed(alone, difference),
        patients_corrected=patients_needed(among_all, difference),
    )


def power_lines(table: Table) -> list[str]:
    """Return the line under a table, after an empty one; nothing where no two encoders stand in
    it."""
    power = column_power(table, table.columns[-1], DIFFERENCE)
    if power is None:
        return []
    typical = power.typical
    needed = patients_text(typical.patients)
    training = ""
    if KINDS.get(table.task.kind).trained and _one_seed(table.columns[-1]):
        training = ", the noise of training left out"
    return [
        "",
        f"Power: between two encoders this test set shows a difference of {typical.smallest:.3f} "
        f"with 80% probability ({typical.smallest_corrected:.3f} after correction for "
        f"{power.comparisons} pairs{training}). A difference of {DIFFERENCE} needs {needed} "
        f"(`place-bench power {table.task.name}`).",
    ]


def _one_seed(column: Column) -> bool:
    return any(len(estimate.seeds) == 1 for estimate in column.estimates.values())


def patients_text(patients: float) -> str:
    """Return a number of patients in words, rounded up to two digits; what no number reaches is
    said."""
    if math.isinf(patients):
        return "more seeds: no number of patients takes away the noise of training"
    if patients < 100:
        return f"{math.ceil(patients)} test patients"
    step = 10 ** (int(np.log10(patients)) - 1)
    return f"about {math.ceil(patients / step) * step} test patients"
