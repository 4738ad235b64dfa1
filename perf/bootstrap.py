"""Bootstrap of AUROC and average precision: integer weights on scores sorted once against a loop
over resampled copies."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from bench.metrics.bootstrap import cluster_weights, interval
from bench.metrics.ranking import auroc, average_precision, rank
from perf._timing import row, timed

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
    ours = auroc if name == "auroc" else average_precision
    usual = roc_auc_score if name == "auroc" else average_precision_score

    def looped() -> np.ndarray:
        """Return the metric of the first resamples, one after the other."""
        values = []
        for counts in weights[:LOOPED]:
            values.append(usual(np.repeat(label, counts), np.repeat(score, counts)))
        return np.array(values)

    ours_s, resampled = timed(lambda: ours(rank(score, label), weights))
    looped_s, expected = timed(looped)
    first = resampled[:LOOPED]
    same_values = np.allclose(first, expected, atol=1e-12)
    same_interval = np.allclose(interval(first), interval(expected), atol=1e-12)
    return row(
        f"bootstrap, {name}",
        f"{n} images, {RESAMPLES} resamples",
        looped_s * RESAMPLES / LOOPED,
        ours_s,
        same_values and same_interval,
        20 if n == 5000 else "",
    )
