"""Resampling weights: bounded blocks, weighted means, and values that several metrics share."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")

Statistic = Callable[[np.ndarray], np.ndarray]
BLOCK = 2**21
"""Most elements of a block of weights: 16 MB at a time, whatever the number of resamples."""


def in_blocks(function: Statistic, weights: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Apply `function` to blocks of rows of `weights` [R, n] and join what it returns; memory stays
    bounded."""
    rows = max(1, BLOCK // max(1, weights.shape[1] if columns is None else columns))
    parts = [function(weights[start : start + rows]) for start in range(0, len(weights), rows)]
    return np.concatenate(parts) if parts else np.empty(0)


def ratio(numerator: np.ndarray, denominator: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """Divide; where the denominator is 0 the value is `empty` (NaN: undefined)."""
    numerator, denominator = np.broadcast_arrays(
        np.asarray(numerator, float), np.asarray(denominator, float)
    )
    return np.divide(
        numerator, denominator, out=np.full(numerator.shape, empty), where=denominator != 0
    )


def weighted_sums(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sum_i w_ri v_ij [R, J] of `values` [n, J] for every row of `weights` [R, n]."""
    table = np.asarray(values, dtype=float)
    return in_blocks(lambda block: block.astype(float) @ table, weights)


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean of `values` [n] per row of `weights` [R, n]; undefined (NaN) where
    all weights are 0."""
    return ratio(weighted_sums(values[:, None], weights)[:, 0], weights.sum(axis=1))


def mean_of_known(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean of those `values` [n] that are not NaN [R]; NaN where none is."""
    known = ~np.isnan(values)
    return weighted_mean(values[known], weights[:, known])


def mean_of_defined(parts: Sequence[Statistic], weights: np.ndarray) -> np.ndarray:
    """Return the mean over `parts` [R] of those that are defined (not NaN) in a resample; NaN where
    none is."""
    values = np.stack([part(weights) for part in parts])
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the median of `values` [n], value i counted w_ri times, per row of `weights` [R, n];
    mean of the middle two."""
    order = np.argsort(values, kind="stable")
    ranked = np.asarray(values, dtype=float)[order]

    def block(part: np.ndarray) -> np.ndarray:
        reached = np.cumsum(part[:, order], axis=1)
        half = reached[:, -1:] / 2 if len(order) else np.zeros((len(part), 1))
        slack = 1e-9 * half  # weights that are shares, e.g. thirds, do not add up exactly
        low, high = (reached < half - slack).sum(axis=1), (reached <= half + slack).sum(axis=1)
        middle = (
            ranked[np.minimum(low, len(ranked) - 1)] + ranked[np.minimum(high, len(ranked) - 1)]
        ) / 2
        return np.where(reached[:, -1] > 0, middle, np.nan)

    return in_blocks(block, weights) if len(order) else np.full(len(weights), np.nan)


class Once(Generic[T]):
    """A function of weights that is computed once per weight matrix: metrics that share a part
    share its cost."""

    def __init__(self, function: Callable[[np.ndarray], T]) -> None:
        self._function = function
        self._kept: tuple[Callable[[], np.ndarray | None], T] | None = None

    def __call__(self, weights: np.ndarray) -> T:
        """Return the value for `weights`, which nobody may change afterwards."""
        if self._kept is None or self._kept[0]() is not weights:
            self._kept = (weakref.ref(weights), self._function(weights))
        return self._kept[1]


@dataclass(frozen=True)
class Named:
    """A statistic that knows on how many images it stands (`n`): a subgroup's is smaller than the
    test set."""

    function: Statistic
    n: int

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return the value per row of `weights` [R, n_images]."""
        return self.function(weights)
