"""Does the score follow what studies have in common, side and severity among it? Rank correlation
and nDCG against the similarity of their attributes (MedTrim, arXiv 2504.15929)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from bench.text.attributes import Findings, attribute_similarity, encode, findings
from tasks.retrieval.metrics import Relevance, label_values

DEPTH = 10
"""Of how many first reports the gain is counted."""


def study_similarity(
    texts: Sequence[str], text_of: np.ndarray, truth: Sequence[Findings | None]
) -> np.ndarray:
    """Return how alike the study of each image [n] and each report [T] are, 0..1.

    Where the truth of all images is known (rendered data), a report stands for the study of its
    first image; else what the reports say decides.
    """
    if len(truth) == len(text_of) and all(study is not None for study in truth):
        first = {text: row for row, text in reversed(list(enumerate(text_of.tolist())))}
        images = encode([study for study in truth if study is not None])
        return attribute_similarity(
            images, images.take(np.array([first[text] for text in range(len(texts))]))
        )
    reports = encode([findings(text) for text in texts])
    return attribute_similarity(reports, reports)[text_of]


def attribute_values(
    scores: np.ndarray, similarity: np.ndarray, same_class: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Return `attr_rho`, `attr_ndcg@10` and, with `same_class` bool [n, T], `attr_rho_within` of
    every image [n], from scores and similarities [n, T].

    rho is Spearman's, ties have their average rank: 0 for scores that are all equal, NaN where the
    similarities are, because there is nothing to find. `within`: among the reports of the image's
    own class.
    """
    queries = np.arange(len(scores))
    worth = Relevance(np.zeros(similarity.shape, bool), similarity)
    values = {
        "attr_rho": spearman(scores, similarity),
        f"attr_ndcg@{DEPTH}": label_values(scores, queries, worth, (DEPTH,))[f"ndcg@{DEPTH}"],
    }
    if same_class is not None:
        values["attr_rho_within"] = _within(scores, similarity, same_class)
    return values


def _within(scores: np.ndarray, similarity: np.ndarray, same_class: np.ndarray) -> np.ndarray:
    values = np.full(len(scores), np.nan)
    classes, class_of = np.unique(same_class, axis=0, return_inverse=True)
    for number, members in enumerate(classes):
        block = np.ix_(class_of.reshape(-1) == number, members)
        values[class_of.reshape(-1) == number] = spearman(scores[block], similarity[block])
    return values


def spearman(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of each row [n] of two arrays [n, m]: NaN where a row of
    `targets` is constant, 0 where only that of `scores` is."""
    if scores.shape[1] < 2:
        return np.full(len(scores), np.nan)
    centred = [rankdata(rows, axis=1) - (rows.shape[1] + 1) / 2 for rows in (scores, targets)]
    product = (centred[0] * centred[1]).sum(1)
    spread = np.sqrt(np.square(centred[0]).sum(1) * np.square(centred[1]).sum(1))
    rho = np.divide(product, spread, out=np.zeros(len(scores)), where=spread > 0)
    return np.where(np.square(centred[1]).sum(1) > 0, rho, np.nan)
