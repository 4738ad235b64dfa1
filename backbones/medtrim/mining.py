"""Which studies make a triplet, and in which order studies fill batches so that triplets meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Triplets:
    """Anchors with their positives and negatives: three arrays of places in the same studies."""

    anchors: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    def __len__(self) -> int:
        return len(self.anchors)


def mine(similarity: np.ndarray, *, lower: float, upper: float) -> Triplets:
    """Return a triplet of every study that has one, from similarities [n, n] (anchor, other).

    The positive is the most alike of the others, if it is alike at all (above 0). The negative is
    one of those below `upper`, the positive excluded: the least alike from `lower` on (semi-hard),
    or where there is none the most alike. Of equal ones the first counts. (MedTrim, arXiv
    2504.15929.)
    """
    n = len(similarity)
    anchors = np.arange(n)
    others = np.where(np.eye(n, dtype=bool), -np.inf, similarity)
    positives = others.argmax(axis=1)
    best = others[anchors, positives]
    others[anchors, positives] = -np.inf
    below = np.where(others < upper, others, -np.inf)
    semi_hard = np.where(below >= lower, below, np.inf)
    has_semi_hard = np.isfinite(semi_hard).any(axis=1)
    negatives = np.where(has_semi_hard, semi_hard.argmin(axis=1), below.argmax(axis=1))
    valid = (best > 0) & np.isfinite(below[anchors, negatives])
    return Triplets(anchors[valid], positives[valid], negatives[valid])


def batches_of_triplets(
    order: np.ndarray,
    triplets_of: Callable[[np.ndarray], Triplets],
    *,
    batch_size: int,
    pool: int,
) -> np.ndarray:
    """Return rows for as many whole batches as `order` has, each filled with triplets of one pool.

    `order` is cut into pools of whole batches, `pool` rows or a little fewer. `triplets_of(rows)`
    mines in one. A batch takes triplet after triplet, and where these run out other rows of its
    pool, at first those that no batch has had; no row is in it twice.
    """
    whole = order[: len(order) // batch_size * batch_size]
    step = max(1, pool // batch_size) * batch_size
    batches = [
        batch
        for start in range(0, len(whole), step)
        for batch in _fill(whole[start : start + step], triplets_of, batch_size)
    ]
    return np.concatenate(batches) if batches else whole


def _fill(
    rows: np.ndarray, triplets_of: Callable[[np.ndarray], Triplets], batch_size: int
) -> Iterator[np.ndarray]:
    triplets = triplets_of(rows)
    columns = np.column_stack([triplets.anchors, triplets.positives, triplets.negatives])
    waiting = iter(columns.tolist())
    drawn: set[int] = set()
    for _ in range(len(rows) // batch_size):
        places: dict[int, None] = {}
        while len(places) + 3 <= batch_size and (triplet := next(waiting, None)) is not None:
            places |= dict.fromkeys(triplet)
        others = [place for place in range(len(rows)) if place not in places]
        others.sort(key=drawn.__contains__)  # those that no batch has had yet come first
        places |= dict.fromkeys(others[: batch_size - len(places)])
        drawn |= places.keys()
        yield rows[list(places)]
