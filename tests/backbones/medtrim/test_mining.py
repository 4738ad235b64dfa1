"""Triplets are mined as the published code mines them; pools fill batches with whole triplets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backbones.medtrim.mining import Triplets, batches_of_triplets, mine

PARITY = json.loads(
    (Path(__file__).parents[2] / "parity" / "medtrim" / "similarity.json").read_text()
)
LOWER = 0.25
UPPER = 0.6


def mined(similarity: np.ndarray) -> dict[int, tuple[int, int]]:
    triplets = mine(similarity, lower=LOWER, upper=UPPER)
    columns = (triplets.anchors, triplets.positives, triplets.negatives)
    rows = np.column_stack(columns).tolist()
    return {anchor: (positive, negative) for anchor, positive, negative in rows}


def test_triplets_are_those_of_the_published_code() -> None:
    mining = PARITY["mining"]
    assert (mining["threshold"], mining["upper"], mining["semi_hard_prob"]) == (LOWER, UPPER, 1)
    expected = {anchor: (int(p), int(n)) for anchor, (p, n, *_) in enumerate(mining["rows"])}
    assert mined(np.array(PARITY["S"])) == expected


def one_by_one(similarity: np.ndarray) -> dict[int, tuple[int, int]]:
    """Return anchor -> positive and negative by the words of the description."""
    triplets = {}
    for anchor, row in enumerate(similarity.tolist()):
        others = [place for place in range(len(row)) if place != anchor]
        positive = max(others, key=lambda place: row[place])
        below = [place for place in others if place != positive and row[place] < UPPER]
        hard = [place for place in below if row[place] >= LOWER]
        if row[positive] > 0 and below:
            negative = min(hard, key=row.__getitem__) if hard else max(below, key=row.__getitem__)
            triplets[anchor] = positive, negative
    return triplets


SIMILARITIES = st.integers(2, 7).flatmap(
    lambda n: arrays(float, (n, n), elements=st.sampled_from([0, 0.1, 0.2, 0.25, 0.3, 0.6, 0.85]))
)


@given(SIMILARITIES)
@settings(deadline=None)
def test_mining_equals_its_description_anchor_by_anchor(similarity: np.ndarray) -> None:
    assert mined(similarity) == one_by_one(similarity)


def test_an_anchor_without_a_positive_or_a_negative_is_left_out() -> None:
    assert mined(np.zeros((3, 3))) == {}  # nobody is alike
    assert mined(np.full((3, 3), 0.85)) == {}  # all are: nobody is below 0.6
    assert mined(np.ones((2, 2))) == {}


def random_similarity(n: int) -> np.ndarray:
    return np.random.default_rng(0).random((n, n)) ** 2


@pytest.mark.parametrize(
    ("studies", "batch_size", "pool"), [(100, 8, 32), (64, 8, 30), (20, 8, 512)]
)
def test_a_pool_fills_as_many_whole_batches_with_rows_that_differ(
    studies: int, batch_size: int, pool: int
) -> None:
    similarity = random_similarity(studies)
    order = np.random.default_rng(1).permutation(studies)

    def triplets_of(rows: np.ndarray) -> Triplets:
        assert len(rows) <= max(pool, batch_size)
        return mine(similarity[np.ix_(rows, rows)], lower=LOWER, upper=UPPER)

    rows = batches_of_triplets(order, triplets_of, batch_size=batch_size, pool=pool)
    assert len(rows) == studies // batch_size * batch_size
    for batch in rows.reshape(-1, batch_size):
        assert len(set(batch.tolist())) == batch_size


def test_a_batch_mined_again_gives_the_triplets_of_its_pool() -> None:
    similarity = random_similarity(32)
    pool = mined(similarity)
    triplets = mine(similarity, lower=LOWER, upper=UPPER)
    rows = batches_of_triplets(np.arange(32), lambda _: triplets, batch_size=8, pool=32)
    again = set()
    for batch in rows.reshape(-1, 8):
        inside = mined(similarity[np.ix_(batch, batch)])
        again |= {
            (int(batch[a]), (int(batch[p]), int(batch[n])))
            for a, (p, n) in inside.items()
            if pool[int(batch[a])] == (int(batch[p]), int(batch[n]))
        }
    assert len(again) >= 8  # two whole triplets a batch at least


@pytest.mark.parametrize("pool", [4, 8])
def test_without_a_triplet_batches_are_filled_all_the_same(pool: int) -> None:
    nothing = Triplets(*(np.zeros(0, int) for _ in range(3)))
    order = np.arange(10)[::-1].copy()
    rows = batches_of_triplets(order, lambda _: nothing, batch_size=4, pool=pool)
    assert rows.tolist() == order[:8].tolist()


def test_what_no_triplet_holds_fills_up_batches_once_each() -> None:
    one = Triplets(np.array([0]), np.array([1]), np.array([2]))
    rows = batches_of_triplets(np.arange(8), lambda _: one, batch_size=4, pool=8)
    assert sorted(rows.tolist()) == list(range(8))
