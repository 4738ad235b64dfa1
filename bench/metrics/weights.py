"""Resampling weights: bounded blocks, a row per image for sums over sorted images, weighted means,
and values that several metrics share."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

T = TypeVar("T")

Statistic = Callable[[np.ndarray], np.ndarray]
BLOCK = 2**21
"""Most elements of a block of weights: 16 MB at a time, whatever the number of resamples."""
TURNED_BLOCK = 2**23
"""Most elements of a block of weights with a row per image: 32 MB of float32."""
_EXACT = 2**24
"""Up to here float32 holds every whole number."""


def in_blocks(function: Statistic, weights: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Apply `function` to blocks of rows of `weights` [R, n] and join what it returns; memory stays
    bounded."""
    if columns is None:
        columns = weights.shape[1]
    rows = max(1, BLOCK // max(1, columns))
    starts = range(0, len(weights), rows)
    results = [function(weights[start : start + rows]) for start in starts]
    return np.concatenate(results) if results else np.empty(0)


def ratio(numerator: np.ndarray, denominator: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """Divide; where the denominator is 0 the value is `empty` (NaN: undefined)."""
    numerator, denominator = np.broadcast_arrays(
        np.asarray(numerator, float), np.asarray(denominator, float)
    )
    quotient = np.full(numerator.shape, empty)
    return np.divide(numerator, denominator, out=quotient, where=denominator != 0)


def weighted_sums(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sum_i w_ri v_ij [R, J] of `values` [n, J] for every row of `weights` [R, n]."""
    table = np.asarray(values, dtype=float)
    return in_blocks(lambda block: block.astype(float) @ table, weights)


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean of `values` [n] per row of `weights` [R, n]; undefined (NaN) where
    all weights are 0."""
    sums = weighted_sums(values[:, None], weights)[:, 0]
    return ratio(sums, weights.sum(axis=1))


def mean_of_known(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean of those `values` [n] that are not NaN [R]; NaN where none is."""
    defined = ~np.isnan(values)
    return weighted_mean(values[defined], weights[:, defined])


def mean_of_defined(parts: Sequence[Statistic], weights: np.ndarray) -> np.ndarray:
    """Return the mean over `parts` [R] of those that are defined (not NaN) in a resample; NaN where
    none is."""
    values = np.stack([statistic(weights) for statistic in parts])
    defined = ~np.isnan(values)
    sums = np.where(defined, values, 0.0).sum(axis=0)
    return ratio(sums, defined.sum(axis=0))


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the median of `values` [n], value i counted w_ri times, per row of `weights` [R, n];
    mean of the middle two."""
    order = np.argsort(values, kind="stable")
    ranked = np.asarray(values, dtype=float)[order]
    last = len(ranked) - 1

    def medians(block: np.ndarray) -> np.ndarray:
        """Return the median per row of a block of weights."""
        reached = np.cumsum(block[:, order], axis=1)
        half = reached[:, -1:] / 2
        slack = 1e-9 * half  # weights that are shares, e.g. thirds, do not add up exactly
        low = (reached < half - slack).sum(axis=1)
        high = (reached <= half + slack).sum(axis=1)
        middle = (ranked[np.minimum(low, last)] + ranked[np.minimum(high, last)]) / 2
        return np.where(reached[:, -1] > 0, middle, np.nan)

    if not len(order):
        return np.full(len(weights), np.nan)
    return in_blocks(medians, weights)


class ByImage:
    """Resampling weights [R, n] once more with a row per image, [n, R] in float32.

    A sum over some images in some order then adds up whole rows, which is several times faster than
    gathering columns. Sums of whole weights are exact: where one could leave what float32 holds
    exactly, and for weights that are no whole numbers, float64 is used.
    """

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights
        self._turned: dict[type, list[np.ndarray]] = {}
        self._totals: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @classmethod
    def of(cls, weights: np.ndarray | ByImage) -> ByImage:
        """Return `weights` [R, n] turned; those that are turned already as they are."""
        return weights if isinstance(weights, cls) else cls(np.asarray(weights))

    def total(self, images: np.ndarray) -> np.ndarray:
        """Return the sum over `images` [m] per resample [R]; kept, so that metrics of the same
        array of images share it."""
        if id(images) not in self._totals:
            one_group = np.zeros(len(images), np.int64)
            every = group_matrix(one_group, images, 1, self.weights.shape[1])
            self._totals[id(images)] = (images, self.sums(every)[0])
        return self._totals[id(images)][1]

    def sums(self, groups: csr_matrix) -> np.ndarray:
        """Return the sums [K, R] of K groups of images (`group_matrix`)."""
        per_image = int(groups.sum(axis=0).max()) if groups.nnz else 1
        sums = [groups @ turned for turned, _ in self.blocks(groups.nnz, per_image)]
        empty = np.empty((groups.shape[0], 0))
        return np.concatenate([empty, *sums], axis=1)

    def blocks(self, entries: int, per_image: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield blocks of resamples, [n, r] and [r, n]: few enough for `entries` values each.

        `per_image` is how often an image may count in one sum.
        """
        exact = self._largest * per_image < _EXACT
        rows = max(1, TURNED_BLOCK // max(1, entries))
        start = 0
        for turned in self._turn(np.float32 if exact else np.float64):
            for first in range(0, turned.shape[1], rows):
                block = np.ascontiguousarray(turned[:, first : first + rows])
                begin = start + first
                end = begin + block.shape[1]
                yield block, self.weights[begin:end]
            start += turned.shape[1]

    @cached_property
    def _largest(self) -> float:
        """Return the largest total weight of a resample; infinity for weights that are not
        counts."""
        whole = self.weights.dtype.kind in "biu"
        if not whole or not self.weights.size or self.weights.min() < 0:
            return np.inf
        return float(self.weights.sum(axis=1).max())

    def _turn(self, kind: type) -> list[np.ndarray]:
        if kind not in self._turned:
            rows = max(1, TURNED_BLOCK // max(1, self.weights.shape[1]))
            starts = range(0, len(self.weights), rows)
            self._turned[kind] = [
                np.ascontiguousarray(self.weights[start : start + rows].T, dtype=kind)
                for start in starts
            ]
        return self._turned[kind]


def group_matrix(groups: np.ndarray, images: np.ndarray, count: int, n: int) -> csr_matrix:
    """Return the matrix [count, n] that sums entries by group: entry i is image `images[i]` in
    group `groups[i]`, and an image may have several."""
    from scipy.sparse import csr_matrix

    ones = np.ones(len(images), np.float32)
    return csr_matrix((ones, (groups, images)), shape=(count, n))


class SharedSums:
    """Weighted sums of several tables of values over the same images: each block of weights is
    turned to floats once for all of them."""

    def __init__(self, images: np.ndarray, n: int) -> None:
        self._images = None if len(images) == n else images
        self._tables: list[Callable[[], np.ndarray]] = []
        self._sums = Once(self._all)

    def add(self, table: Callable[[], np.ndarray]) -> Statistic:
        """Return f(weights [R, n]) -> [R, J]: the sums of what `table` gives, [m, J], one row per
        image; it is asked when a sum is first wanted."""
        position = len(self._tables)
        self._tables.append(table)
        return lambda weights: self._sums(weights)[position]

    def _all(self, weights: np.ndarray) -> list[np.ndarray]:
        count = weights.shape[1] if self._images is None else len(self._images)
        rows = max(1, BLOCK // max(1, count))
        tables = [np.asarray(table(), dtype=float) for table in self._tables]
        sums: list[list[np.ndarray]] = [[] for _ in tables]
        for start in range(0, len(weights), rows):
            block = weights[start : start + rows]
            if self._images is not None:
                block = np.ascontiguousarray(block[:, self._images])
            floats = block.astype(float)
            for table_sums, table in zip(sums, tables, strict=True):
                table_sums.append(floats @ table)
        return [np.concatenate(blocks) if blocks else np.empty((0, 0)) for blocks in sums]


class Once(Generic[T]):
    """A function of weights that is computed once per weight matrix: metrics that share a part
    share its cost."""

    def __init__(self, function: Callable[[np.ndarray], T]) -> None:
        self._function = function
        self._last: tuple[Callable[[], np.ndarray | None], T] | None = None

    def __call__(self, weights: np.ndarray) -> T:
        """Return the value for `weights`, which nobody may change afterwards."""
        if self._last is None or self._last[0]() is not weights:
            self._last = (weakref.ref(weights), self._function(weights))
        return self._last[1]


@dataclass(frozen=True)
class OnSomeImages:
    """A statistic of fewer images than the test set has: of a subgroup, or of those with a label.

    `n` is their number, which a result states beside the value.
    """

    function: Statistic
    n: int

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return the value per row of `weights` [R, n_images]."""
        return self.function(weights)


def images_counted(statistic: Statistic, test_images: int) -> int:
    """Return the number of images that a statistic stands on: all `test_images`, unless it is one
    of some of them."""
    if isinstance(statistic, OnSomeImages) and statistic.n:
        return statistic.n
    return test_images
