"""What difference a table could have shown, and how many test patients another one needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bench.contracts import KINDS
from bench.metrics.power import PairDesign, patients_needed, smallest_difference
from bench.report.leaderboard import Column, Table

DIFFERENCE = 0.03
"""The difference that the line under a table speaks of."""


@dataclass(frozen=True)
class PairPower:
    """The power of the comparison of two encoders: as it was made, `alone`, and `among_all` pairs
    of the column, for which p-values are corrected."""

    one: str
    other: str
    alone: PairDesign
    among_all: PairDesign
    difference: float

    @cached_property
    def smallest(self) -> float:
        """Return the smallest difference that this test set shows with 80% probability."""
        return smallest_difference(self.alone)

    @property
    def smallest_corrected(self) -> float:
        """Return the same after correction for all pairs."""
        return smallest_difference(self.among_all)

    @property
    def patients(self) -> float:
        """Return how many test patients `difference` needs."""
        return patients_needed(self.alone, self.difference)

    @property
    def patients_corrected(self) -> float:
        """Return the same after correction for all pairs."""
        return patients_needed(self.among_all, self.difference)


@dataclass(frozen=True)
class ColumnPower:
    """The power of one column of a table: every pair of encoders, and `typical`, the pair in the
    middle."""

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
    taken where there are no others. Two rows that no resample tells apart say nothing of it.
    """
    measured = [pair for pair in column.pairs if pair.spread.total > 0]
    measured = [pair for pair in measured if pair.spread.patient_freedom >= 1]
    floor = set(table.floor)
    trained = [pair for pair in measured if not floor & {pair.one, pair.other}]
    chosen = trained or measured
    if not chosen:
        return None
    comparisons = len(column.pairs)
    pairs = []
    for pair in chosen:
        alone = PairDesign(pair.spread, table.test_patients)
        among_all = replace(alone, comparisons=comparisons)
        pairs.append(PairPower(pair.one, pair.other, alone, among_all, difference))
    return ColumnPower(difference, pairs, comparisons)


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
