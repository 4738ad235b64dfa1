"""Retrieval P@K and Hit@K: the classes of the top K gathered against one-hot products over K."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from perf._timing import row, timed
from tasks.retrieval.metrics import label_values, relevance

KS = (1, 5, 10, 100)


def one_hot(scores: np.ndarray, classes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return P@K and Hit@K of every query the usual way: an n x k x n one-hot of the top K times
    the n x n match."""
    top = np.argsort(-scores, axis=1)[:, :k]
    in_top = np.zeros((*top.shape, scores.shape[1]), dtype=np.float32)
    np.put_along_axis(in_top, top[:, :, None], 1.0, axis=2)
    match = (classes[:, None] == classes[None]).astype(np.float32)
    hits = np.einsum("qkm,qm->qk", in_top, match)
    return hits.mean(axis=1), (hits.sum(axis=1) > 0).astype(float)


def run() -> list[dict[str, Any]]:
    """Return a row per number of candidates."""
    return [_row(n) for n in (125, 250, 500, 1000)]


def _row(n: int) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    classes = rng.integers(0, 5, n)
    scores = rng.normal(size=(n, n))

    def ours() -> Mapping[str, np.ndarray]:
        """Return every metric of every query."""
        gains = relevance(np.eye(5), classes, np.arange(n), n)
        return label_values(scores, classes, gains, KS)

    ours_s, values = timed(ours)
    usual_s, expected = timed(lambda: {k: one_hot(scores, classes, k) for k in KS})
    same = True
    for k, (precision, hit) in expected.items():
        same &= np.allclose(values[f"p@{k}"], precision)
        same &= np.allclose(values[f"hit@{k}"], hit)
    return row(
        "retrieval P@K, Hit@K (ours: nDCG and ties too)",
        f"{n} x {n}, K = {', '.join(map(str, KS))}",
        usual_s,
        ours_s,
        same,
        10 if n == 1000 else "",
    )
