"""Ranking metrics per query over all candidates; ties count as their expected value under a random
order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from bench.contracts import Predictions, TaskSpec
from bench.metrics.weights import OnSomeImages, Statistic, ratio, weighted_median, weighted_sums

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

BLOCK = 2**22
"""Most scores looked at together."""
CANDIDATE = "candidate:"
"""Before the name of a metric: the column of what an image adds to it as a candidate."""


@dataclass(frozen=True)
class Relevance:
    """What candidates [m] are worth to a query of one of L kinds.

    relevant [L, m] bool: same labels; gain [L, m] in 0..1: overlap of the labels (1: the same).
    """

    relevant: np.ndarray
    gain: np.ndarray


def relevance(kinds: np.ndarray, kind_of: np.ndarray, item_of: np.ndarray, items: int) -> Relevance:
    """Return what candidates are worth by their labels.

    `kinds` [L, C]: the different 0/1 label vectors; image i has labels `kinds[kind_of[i]]` and
    belongs to candidate `item_of[i]`. A candidate of several images is worth what the best of them
    is. Overlap is Jaccard's; two empty vectors are the same.
    """
    both = kinds @ kinds.T
    either = kinds.shape[1] - (1 - kinds) @ (1 - kinds).T
    overlap = ratio(both, either, empty=1.0)
    relevant = np.zeros((items, len(kinds)), bool)
    gain = np.zeros((items, len(kinds)))
    relevant[item_of, kind_of] = True
    np.maximum.at(gain, item_of, overlap[kind_of])
    return Relevance(np.ascontiguousarray(relevant.T), np.ascontiguousarray(gain.T))


def label_values(
    scores: np.ndarray,
    kind_of: np.ndarray,
    worth: Relevance,
    ks: Sequence[int],
    *,
    whole_k: bool = False,
) -> dict[str, np.ndarray]:
    """Return `p@k`, `hit@k` and `ndcg@k` of every query [q] by the labels of what it finds.

    scores [q, m]; `kind_of` [q]: the label vector of each query. P@K divides by the smaller of K
    and m (`whole_k`: by K). nDCG discounts by log2(1 + rank) and compares with the best order of
    all candidates (Jarvelin & Kekalainen 2002).
    """
    queries, items = scores.shape
    most = min(max(ks), items)
    metrics = {f"{name}@{k}": np.empty(queries) for k in ks for name in ("p", "hit", "ndcg")}
    ideal = _ideal(worth.gain, most)
    step = max(1, BLOCK // items)
    for start in range(0, queries, step):
        rows = slice(start, start + step)
        block = _block(scores[rows], kind_of[rows], worth, most)
        for k in ks:
            taken = min(k, items)
            last = taken - 1
            metrics[f"p@{k}"][rows] = block.hits[:, last] / (k if whole_k else taken)
            metrics[f"hit@{k}"][rows] = 1 - block.miss[:, last]
            metrics[f"ndcg@{k}"][rows] = ratio(block.dcg[:, last], ideal[kind_of[rows], last])
    return metrics


def candidate_effects(
    scores: np.ndarray,
    kind_of: np.ndarray,
    worth: Relevance,
    counted: np.ndarray,
    same_patient: csr_matrix,
    ks: Sequence[int],
    *,
    whole_k: bool = False,
) -> dict[str, np.ndarray]:
    """Return per `p@k` what each candidate adds to its sum over all queries [m]: how much that
    rises with the candidate's weight.

    Within the first K a candidate takes a place from the last of them, and adds the difference of
    their relevance. `counted` [q] is the weight of a query in the mean; candidates of the query's
    own patient (`same_patient` [q, m]) come with the query and add nothing. Of ties at the last
    place each holds its share.
    """
    queries, items = scores.shape
    effects = {f"p@{k}": np.zeros(items) for k in ks}
    step = max(1, BLOCK // items)
    for start in range(0, queries, step):
        rows = slice(start, start + step)
        relevant = worth.relevant[kind_of[rows]]
        strangers = same_patient[rows].toarray() == 0
        for k in ks:
            taken = min(k, items)
            member, last = _membership(scores[rows], relevant, taken)
            gain = member * strangers * (relevant - last[:, None])
            effects[f"p@{k}"] += counted[rows] @ gain / (k if whole_k else taken)
    return effects


def _membership(
    scores: np.ndarray, relevant: np.ndarray, taken: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each candidate is among the first `taken` [q, m], and how relevant the last
    place is [q]; where all are taken, it is as relevant as they are on average."""
    items = scores.shape[1]
    if taken == items:
        return np.ones(scores.shape), relevant.mean(axis=1)
    cut = np.partition(scores, items - taken, axis=1)[:, items - taken, None]
    above = scores > cut
    tied = scores == cut
    size = tied.sum(axis=1)
    left = (taken - above.sum(axis=1)) / size
    return above + tied * left[:, None], (relevant & tied).sum(axis=1) / size


def _discounts(most: int) -> np.ndarray:
    return 1 / np.log2(np.arange(2, most + 2))


def _ideal(gain: np.ndarray, most: int) -> np.ndarray:
    best = -np.sort(-gain, axis=1)[:, :most]
    return np.cumsum(best * _discounts(most), axis=1)


@dataclass(frozen=True)
class _Block:
    """Expected values at every cut-off [q, most]: relevant items found, chance of none, discounted
    gain."""

    hits: np.ndarray
    miss: np.ndarray
    dcg: np.ndarray


def _block(scores: np.ndarray, kind_of: np.ndarray, worth: Relevance, most: int) -> _Block:
    top, values = _top(scores, most)
    relevant = worth.relevant[kind_of[:, None], top]
    hits = np.cumsum(relevant, axis=1).astype(float)
    gain = worth.gain[kind_of[:, None], top]
    dcg = np.cumsum(gain * _discounts(most), axis=1)
    block = _Block(hits, (hits == 0).astype(float), dcg)
    tied_inside = (values[:, 1:] == values[:, :-1]).any(axis=1)
    tied_at_the_end = (scores == values[:, -1:]).sum(axis=1) > 1
    tied = tied_inside | tied_at_the_end
    for row in np.flatnonzero(tied):
        kind = kind_of[row]
        exact = _expected(scores[row], worth.relevant[kind], worth.gain[kind], most)
        block.hits[row], block.miss[row], block.dcg[row] = exact
    return block


def _top(scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return places and scores of the `most` highest scores of each row, in falling order."""
    last = scores.shape[1] - most
    places = (
        np.argpartition(scores, last, axis=1)[:, last:]
        if last
        else np.broadcast_to(np.arange(most), scores.shape)
    )
    values = np.take_along_axis(scores, places, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(values, order, axis=1)


def _expected(
    scores: np.ndarray, relevant: np.ndarray, gain: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return hits, chance of none and discounted gain at cut-offs 1..most of one query, over all
    orders of its ties.

    McSherry & Najork 2008: within a group of ties every place holds the group's mean.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    is_first = np.append(True, ranked[1:] != ranked[:-1])
    starts = np.flatnonzero(is_first)
    sizes = np.diff(np.append(starts, len(ranked)))
    of_group = np.add.reduceat(relevant[order].astype(int), starts)
    hits = np.repeat(of_group / sizes, sizes)[:most].cumsum()
    gain_of_group = np.add.reduceat(gain[order], starts)
    mean_gain = np.repeat(gain_of_group / sizes, sizes)[:most]
    miss = np.zeros(most)
    for start, size, count in zip(starts, sizes, of_group, strict=True):
        end = min(start + size, most)
        draws = range(1, end - start + 1)
        miss[start:end] = [comb(size - count, taken) / comb(size, taken) for taken in draws]
        if count or end == most:
            break  # a relevant one is found in this group for certain, once all of it is taken
    return hits, miss, (mean_gain * _discounts(most)).cumsum()


def own_values(
    scores: np.ndarray, own: np.ndarray, item: np.ndarray, ks: Sequence[int]
) -> dict[str, np.ndarray]:
    """Return `r@k` and `rank` of every query [q]: the place of the first candidate that belongs to
    it.

    scores [q, m]; candidate j belongs to query i where `item[j] == own[i]`. `r@k` is the chance
    that such a one is among the first k, `rank` its expected place (from 1), both over all orders
    of ties.
    """
    names = ("rank", *(f"r@{k}" for k in ks))
    metrics = {name: np.empty(len(scores)) for name in names}
    step = max(1, BLOCK // scores.shape[1])
    for start in range(0, len(scores), step):
        rows = slice(start, start + step)
        mine = own[rows, None] == item[None]
        best = np.where(mine, scores[rows], -np.inf).max(axis=1, keepdims=True)
        equal = scores[rows] == best
        above = (scores[rows] > best).sum(axis=1)
        tied = equal.sum(axis=1)
        good = (equal & mine).sum(axis=1)
        metrics["rank"][rows] = above + (tied + 1) / (good + 1)
        for k in ks:
            taken = np.clip(k - above, 0, tied)
            metrics[f"r@{k}"][rows] = 1 - _none_taken(tied, good, taken)
    return metrics


def _none_taken(size: np.ndarray, good: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Return the chance that `taken` of `size` draws without return hold none of the `good`."""
    chance = np.ones(len(size))
    for row in np.flatnonzero(taken):
        draws = int(taken[row])
        without = comb(int(size[row] - good[row]), draws)
        chance[row] = without / comb(int(size[row]), draws)
    return chance


def score(predictions: Predictions, task: TaskSpec) -> Mapping[str, Statistic]:
    """Return the metrics of what was kept of the test images."""
    return statistics(predictions.table)


def statistics(table: pd.DataFrame) -> Mapping[str, Statistic]:
    """Return name -> f(weights [R, n]) -> [R] for a table of per-query values.

    Columns `i2t_<metric>` (query: the image), `t2i_<metric>` (query: its report) and `share`: one
    over the number of images with that report, so that with weights of one every report counts
    once; and `attr_<metric>` (query: the image), NaN where it is not defined. Resampling is of
    queries. Where `candidate:<metric>` says what each image adds to the sum as a candidate
    (`candidate_effects`), it is of candidates too, to the first order: an image that is drawn twice
    is found twice.
    """
    share = table["share"].to_numpy(dtype=float)
    functions: dict[str, Statistic] = {}
    for name in (str(column) for column in table if str(column)[:4] in ("i2t_", "t2i_")):
        values = table[name].to_numpy(dtype=float)
        counted = share if name.startswith("t2i_") else np.ones(len(share))
        if name.endswith("_rank"):
            functions[name.replace("_rank", "_mean_rank")] = partial(_mean, values, counted)
            functions[name.replace("_rank", "_median_rank")] = partial(_median, values, counted)
        elif f"{CANDIDATE}{name}" in table:
            effects = table[f"{CANDIDATE}{name}"].to_numpy(dtype=float)
            functions[name] = partial(_mean_of_both, values, counted, effects - effects.mean())
        else:
            functions[name] = partial(_mean, values, counted)
    for name in (str(column) for column in table if str(column).startswith("attr_")):
        functions[name] = _of_defined(table[name].to_numpy(dtype=float))
    return functions


def _mean_of_both(
    values: np.ndarray, share: np.ndarray, effects: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    sums = weighted_sums(np.stack([values * share, share, effects], axis=1), weights)
    return ratio(sums[:, 0] + sums[:, 2], sums[:, 1])


def _of_defined(values: np.ndarray) -> Statistic:
    """Return the mean of the queries that have a value."""
    defined = np.isfinite(values)
    mean = partial(_mean, np.where(defined, values, 0.0), defined.astype(float))
    return mean if defined.all() else OnSomeImages(mean, int(defined.sum()))


def _mean(values: np.ndarray, share: np.ndarray, weights: np.ndarray) -> np.ndarray:
    sums = weighted_sums(np.stack([values * share, share], axis=1), weights)
    return ratio(sums[:, 0], sums[:, 1])


def _median(values: np.ndarray, share: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weighted_median(values, weights if (share == 1).all() else weights * share)
