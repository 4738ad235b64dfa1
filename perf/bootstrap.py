"""Bootstrap of AUROC and average precision: integer weights on scores sorted once against a loop
over resampled copies."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from bench.metrics.bootstrap import cluster_weights, interval
from bench.metrics.ranking import auroc, average_precision, rank

RESAMPLES = 1000
LOOPED = 250
"""The loop over copies runs this many of the resamples and its time is scaled up; its values are
compared one by one."""


def run() -> list[dict[str, Any]]:
    """Return a row per metric and number of images."""
    return [
        _row(name, n) for n in (500, 1500, 5000, 15000) for name in ("auroc", "average precision")
    ]


def _row(name: str, n: int) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    label = (rng.random(n) < 0.1).astype(int)
    score = np.round(rng.normal(size=n) + label, 3)
    weights = cluster_weights([str(i // 2) for i in range(n)], RESAMPLES)
    ours, plain = (
        (auroc, roc_auc_score) if name == "auroc" else (average_precision, average_precision_score)
    )
    start = time.perf_counter()
    fast = ours(rank(score, label), weights)
    ours_s = time.perf_counter() - start
    start = time.perf_counter()
    slow = np.array(
        [plain(np.repeat(label, row), np.repeat(score, row)) for row in weights[:LOOPED]]
    )
    usual_s = (time.perf_counter() - start) * RESAMPLES / LOOPED
    same = np.allclose(fast[:LOOPED], slow, atol=1e-12) and np.allclose(
        interval(fast[:LOOPED]), interval(slow), atol=1e-12
    )
    size, wanted = f"{n} images, {RESAMPLES} resamples", 20 if n == 5000 else ""
    return {"name": f"bootstrap, {name}", "size": size, "usual_s": usual_s, "ours_s": ours_s,
    "ratio": usual_s / ours_s,
            "equal": bool(same), "wanted": wanted}  # fmt: skip
