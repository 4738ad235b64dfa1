"""Ranking metrics equal the mean over random orders of ties, scikit-learn's nDCG, and brute
force."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_matrix
from sklearn.metrics import ndcg_score

from tasks.retrieval import metrics
from tasks.retrieval.metrics import (
    candidate_effects,
    label_values,
    own_values,
    relevance,
    statistics,
)


def orders(scores: np.ndarray) -> list[list[int]]:
    """Return every order of candidates by falling score, ties in all ways."""
    groups = [
        np.flatnonzero(scores == value).tolist()
        for value in sorted(set(scores.tolist()), reverse=True)
    ]
    return [
        list(itertools.chain(*parts))
        for parts in itertools.product(*(itertools.permutations(g) for g in groups))
    ]


@st.composite
def cases(draw: Callable[..., Any]) -> tuple[np.ndarray, ...]:
    """Draw scores [2, m] with ties, up to 3 kinds of labels, and which candidate each image belongs
    to."""
    m = draw(st.integers(1, 5))
    scores = draw(hnp.arrays(float, (2, m), elements=st.sampled_from([0.0, 0.5, 1.0])))
    kinds = np.unique(draw(hnp.arrays(float, (3, 2), elements=st.sampled_from([0.0, 1.0]))), axis=0)
    images = m + draw(st.integers(0, 2))
    item_of = np.append(
        np.arange(m), draw(hnp.arrays(np.int64, images - m, elements=st.integers(0, m - 1)))
    )
    kind_of = draw(hnp.arrays(np.int64, images, elements=st.integers(0, len(kinds) - 1)))
    return (
        scores,
        kinds,
        kind_of,
        item_of,
        draw(hnp.arrays(np.int64, 2, elements=st.integers(0, len(kinds) - 1))),
    )


def test_the_same_score_for_every_pair_gets_the_share_of_a_class() -> None:
    """Five classes of ten: whatever is found, a fifth of it is right."""
    kind_of = np.repeat(np.arange(5), 10)
    worth = relevance(np.eye(5), kind_of, np.arange(50), 50)
    values = label_values(np.zeros((50, 50)), kind_of, worth, (10,))
    np.testing.assert_allclose(values["p@10"], 0.2)


def _weighted_precision(
    scores: np.ndarray, relevant: np.ndarray, weights: np.ndarray, k: int
) -> float:
    """Return P@K of one query whose candidates count `weights` times, ties in proportion."""
    left, hits = float(k), 0.0
    for value in sorted(set(scores.tolist()), reverse=True):
        group = scores == value
        size = weights[group].sum()
        taken = min(left, size)
        hits += taken * (weights * relevant)[group].sum() / size
        left -= taken
        if left <= 0:
            break
    return hits / k


@pytest.mark.parametrize("ties", [False, True])
def test_the_effect_of_a_candidate_is_the_slope_of_precision_in_its_weight(ties: bool) -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(12, 12)).round(0 if ties else 9)
    kind_of, patient_of = rng.integers(0, 3, 12), np.arange(12) // 2
    worth = relevance(np.eye(3), kind_of, np.arange(12), 12)
    same = csr_matrix((patient_of[:, None] == patient_of[None]).astype(np.float32))
    counted = rng.random(12)
    effects = candidate_effects(scores, kind_of, worth, counted, same, [4])["p@4"]
    small = 1e-6
    for candidate in range(12):
        slope = 0.0
        for query in np.flatnonzero(patient_of != patient_of[candidate]):
            relevant = worth.relevant[kind_of[query]]
            weights = np.ones(12)
            before = _weighted_precision(scores[query], relevant, weights, 4)
            weights[candidate] += small
            after = _weighted_precision(scores[query], relevant, weights, 4)
            slope += counted[query] * (after - before) / small
        assert effects[candidate] == pytest.approx(slope, abs=1e-5)


def test_resampled_precision_counts_candidates_and_its_value_does_not_change() -> None:
    effects = np.array([1.0, 0.0, 0.0, -1.0])
    table = pd.DataFrame({"share": 1.0, "i2t_p@1": [1.0, 0.0, 1.0, 0.0]}, index=range(4))
    plain = statistics(table)["i2t_p@1"]
    both = statistics(table.assign(**{"candidate:i2t_p@1": effects}))["i2t_p@1"]
    ones, drawn = np.ones((1, 4)), np.array([[2, 1, 1, 0]])
    assert both(ones)[0] == plain(ones)[0] == 0.5
    assert both(drawn)[0] == plain(drawn)[0] + 2 / 4


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    both, either = ((a == 1) & (b == 1)).sum(), ((a == 1) | (b == 1)).sum()
    return both / either if either else 1.0


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(1, 7))
def test_label_values_are_means_over_orders(case: tuple[np.ndarray, ...], k: int) -> None:
    scores, kinds, kind_of, item_of, asked = case
    m = scores.shape[1]
    found = label_values(scores, asked, relevance(kinds, kind_of, item_of, m), [k])
    for q in range(2):
        images = [kind_of[item_of == j] for j in range(m)]
        relevant = np.array([(own == asked[q]).any() for own in images])
        gain = np.array([max(overlap(kinds[asked[q]], kinds[c]) for c in own) for own in images])
        discount = 1 / np.log2(np.arange(2, m + 2)[: min(k, m)])
        ideal = (np.sort(gain)[::-1][: min(k, m)] * discount).sum()
        every = orders(scores[q])
        tops = [order[:k] for order in every]
        assert found[f"p@{k}"][q] == pytest.approx(np.mean([relevant[t].mean() for t in tops]))
        assert found[f"hit@{k}"][q] == pytest.approx(np.mean([relevant[t].any() for t in tops]))
        expected = np.mean([(gain[t] * discount).sum() for t in tops]) / ideal if ideal else np.nan
        np.testing.assert_allclose(found[f"ndcg@{k}"][q], expected, atol=1e-12)
        if ideal and m > 1:
            assert found[f"ndcg@{k}"][q] == pytest.approx(
                ndcg_score(gain[None], scores[q][None], k=k)
            )


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(1, 7))
def test_own_values_are_means_over_orders(case: tuple[np.ndarray, ...], k: int) -> None:
    scores, _, _, item_of, _ = case
    m = scores.shape[1]
    item = item_of[:m] % 2  # two owners, several candidates each
    own = np.array([0, 1])
    found = own_values(scores, own, item, [k])
    for q in range(2):
        if not (item == q).any():
            continue
        places = [
            min(order.index(j) for j in np.flatnonzero(item == q).tolist()) + 1
            for order in orders(scores[q])
        ]
        assert found["rank"][q] == pytest.approx(np.mean(places))
        assert found[f"r@{k}"][q] == pytest.approx(np.mean(np.array(places) <= k))


def test_constant_scores_are_chance_and_not_favoured() -> None:
    n = 40
    kinds, kind_of = np.eye(4), np.repeat(np.arange(4), 10)
    scores = np.zeros((n, n))
    found = label_values(scores, kind_of, relevance(kinds, kind_of, np.arange(n), n), [5])
    np.testing.assert_allclose(found["p@5"], 0.25)
    own = own_values(scores, np.arange(n), np.arange(n), [5])
    np.testing.assert_allclose(own["r@5"], 5 / n)
    np.testing.assert_allclose(own["rank"], (n + 1) / 2)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores, kind_of = rng.normal(size=(30, 20)).round(1), rng.integers(0, 3, 30)
    worth = relevance(np.eye(3), kind_of, np.arange(30) % 20, 20)
    whole = label_values(scores, kind_of, worth, [1, 5]) | own_values(
        scores, np.arange(30) % 20, np.arange(20), [1, 5]
    )
    monkeypatch.setattr(metrics, "BLOCK", 50)
    parts = label_values(scores, kind_of, worth, [1, 5]) | own_values(
        scores, np.arange(30) % 20, np.arange(20), [1, 5]
    )
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name])


def test_whole_k_divides_by_k() -> None:
    worth = relevance(np.eye(1), np.zeros(2, int), np.arange(2), 2)
    assert (
        label_values(np.array([[1.0, 0.0]]), np.zeros(1, int), worth, [10], whole_k=True)["p@10"][0]
        == 0.2
    )
    assert label_values(np.array([[1.0, 0.0]]), np.zeros(1, int), worth, [10])["p@10"][0] == 1.0


def test_statistics_count_a_report_once() -> None:
    import pandas as pd

    table = pd.DataFrame(
        {
            "share": [1 / 3, 1 / 3, 1 / 3, 1],
            "i2t_rank": [1.0, 2, 3, 10],
            "t2i_rank": [4.0, 4, 4, 10],
        }
    )
    table["t2i_r@1"] = [1.0, 1, 1, 0]
    ones, twice = np.ones((1, 4), int), np.array([[0, 0, 0, 2]])
    found = statistics(table)
    assert found["i2t_mean_rank"](ones)[0] == 4 and found["i2t_median_rank"](ones)[0] == 2.5
    assert found["t2i_mean_rank"](ones)[0] == pytest.approx(7) and found["t2i_median_rank"](ones)[
        0
    ] == pytest.approx(7)
    assert found["t2i_r@1"](ones)[0] == pytest.approx(0.5) and found["t2i_r@1"](twice)[0] == 0
    assert np.isnan(found["i2t_mean_rank"](np.zeros((1, 4), int))[0])
