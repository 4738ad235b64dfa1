"""Linear probe over a sweep of penalties: all of them at once against scikit-learn one by one
(logistic by L-BFGS, and ridge)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from bench.metrics.ranking import auroc, rank
from perf._timing import row
from tasks.classification.linear import logistic_path, ridge_path

VALIDATION = 1000
PENALTIES = np.logspace(-4, 2, 45)
TOLERANCE = 0.002
SIZES = ((1000, 256), (2000, 256), (4000, 256), (10000, 768))


def run() -> list[dict[str, Any]]:
    """Return a row per kind of probe and size; equal: the best AUROC within 0.002."""
    x, y = _data(100, 8)
    # once untimed, for the imports and threads
    logistic_path(x[:100], y[:100], PENALTIES, exclusive=False)
    return [row for n, width in SIZES for row in _rows(n, width)]


def _rows(n: int, width: int) -> list[dict[str, Any]]:
    x, y = _data(n, width)
    pairs: dict[str, tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]] = {
        "logistic": (
            lambda: _one_by_one(_logistic, x, y, n),
            lambda: _sweep(x, y, n, logistic=True),
        ),
        "ridge": (lambda: _one_by_one(_ridge, x, y, n), lambda: _sweep(x, y, n, logistic=False)),
    }
    rows = []
    for name, (usual, ours) in pairs.items():
        usual_s, usual_best = _timed(usual, y[n:, 0])
        ours_s, ours_best = _timed(ours, y[n:, 0])
        size = f"{n} x {width}, {len(PENALTIES)} penalties"
        equal = bool(abs(ours_best - usual_best) <= TOLERANCE)
        ratio = 5 if n == SIZES[-1][0] else ""
        rows.append(row(f"probe sweep, {name}", size, usual_s, ours_s, equal, ratio))
    return rows


def _data(n: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated features and a noisy binary label, `n` to train on and the rest to choose
    by."""
    rng = np.random.default_rng(n)
    strength = np.linspace(2, 0.1, width)[:, None]
    mixing = strength * rng.normal(size=(width, width)) / np.sqrt(width)
    x = (rng.normal(size=(n + VALIDATION, width)) @ mixing).astype(np.float32)
    signal = x @ rng.normal(size=width) / np.sqrt(width) * 2
    noise = rng.normal(size=len(x))
    return x, (signal + noise > 1).astype(float)[:, None]


def _timed(scores: Callable[[], np.ndarray], label: np.ndarray) -> tuple[float, float]:
    """Return seconds and the best AUROC of scores [L, n]."""
    start = time.perf_counter()
    levels = scores()
    seconds = time.perf_counter() - start
    once = np.ones((1, len(label)), dtype=np.int64)
    return seconds, float(max(auroc(rank(level, label), once)[0] for level in levels))


def _sweep(x: np.ndarray, y: np.ndarray, n: int, logistic: bool) -> np.ndarray:
    path = (
        logistic_path(x[:n], y[:n], PENALTIES, exclusive=False).path
        if logistic
        else ridge_path(x[:n], y[:n], PENALTIES)
    )
    return path.scores(x[n:])[:, :, 0]


def _one_by_one(fit: Callable[..., np.ndarray], x: np.ndarray, y: np.ndarray, n: int) -> np.ndarray:
    mean = x[:n].mean(axis=0)
    scale = x[:n].std(axis=0)
    train = (x[:n] - mean) / scale
    val = (x[n:] - mean) / scale
    return np.stack([fit(train, y[:n, 0], val, penalty) for penalty in PENALTIES])


def _logistic(train: np.ndarray, label: np.ndarray, val: np.ndarray, penalty: float) -> np.ndarray:
    model = LogisticRegression(C=1 / (len(train) * penalty), max_iter=1000)
    return model.fit(train, label).decision_function(val)


def _ridge(train: np.ndarray, label: np.ndarray, val: np.ndarray, penalty: float) -> np.ndarray:
    return Ridge(alpha=penalty * len(train)).fit(train, 2 * label - 1).predict(val)
