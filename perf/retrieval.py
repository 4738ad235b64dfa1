"""Retrieval P@K and Hit@K: the classes of the top K gathered against one-hot products over K."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tasks.retrieval.metrics import label_values, relevance

KS = (1, 5, 10, 100)


def one_hot(scores: np.ndarray, classes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return P@K and Hit@K of every query the usual way: an n x k x n one-hot of the top K times
    the n x n match."""
    top = np.argsort(-scores, axis=1)[:, :k]
    chosen = np.zeros((*top.shape, scores.shape[1]), dtype=np.float32)
    np.put_along_axis(chosen, top[:, :, None], 1.0, axis=2)
    match = (classes[:, None] == classes[None]).astype(np.float32)
    hits = np.einsum("qkm,qm->qk", chosen, match)
    return hits.mean(axis=1), (hits.sum(axis=1) > 0).astype(float)


def run() -> list[dict[str, Any]]:
    """Return a row per number of candidates."""
    return [_row(n) for n in (125, 250, 500, 1000)]


def _row(n: int) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    classes = rng.integers(0, 5, n)
    scores = rng.normal(size=(n, n))
    start = time.perf_counter()
    ours = label_values(scores, classes, relevance(np.eye(5), classes, np.arange(n), n), KS)
    ours_s = time.perf_counter() - start
    start = time.perf_counter()
    usual = {k: one_hot(scores, classes, k) for k in KS}
    usual_s = time.perf_counter() - start
    same = all(
        np.allclose(ours[f"p@{k}"], usual[k][0]) and np.allclose(ours[f"hit@{k}"], usual[k][1])
        for k in KS
    )
    return {"name": "retrieval P@K, Hit@K (ours: nDCG and ties too)",
    "size": f"{n} x {n}, K = {', '.join(map(str, KS))}",
            "usual_s": usual_s, "ours_s": ours_s, "ratio": usual_s / ours_s, "equal": bool(same),
            "wanted": 10 if n == 1000 else ""}  # fmt: skip
