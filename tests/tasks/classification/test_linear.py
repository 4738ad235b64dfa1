"""Penalty paths against scikit-learn, few-row and gappy targets included; the batched L-BFGS
against known minima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from tasks.classification.fit import best_levels
from tasks.classification.lbfgs import minimise
from tasks.classification.linear import logistic_path, nearest_neighbours, ridge_path

PENALTIES = np.array([3.0, 0.1, 1e-3])


def problem(
    n: int = 200, width: int = 12, classes: int = 2, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width)) * np.linspace(3, 0.2, width) + 5
    logits = (x - 5) @ rng.normal(size=(width, classes)) / 3
    return x.astype(np.float32), (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(
        float
    )


def standard(x: np.ndarray) -> np.ndarray:
    x = x.astype(float)
    return (x - x.mean(0)) / x.std(0)


@pytest.mark.parametrize(("n", "width"), [(200, 12), (10, 30)])
def test_ridge_equals_scikit_learn(n: int, width: int) -> None:
    x, y = problem(n, width)
    found = ridge_path(x, y, PENALTIES).scores(x)
    for level, penalty in enumerate(PENALTIES):
        expected = Ridge(alpha=penalty * n).fit(standard(x), 2 * y - 1).predict(standard(x))
        np.testing.assert_allclose(found[level], expected, atol=1e-5)


@pytest.mark.parametrize(("n", "width"), [(200, 12), (20, 30)])
def test_logistic_equals_scikit_learn(n: int, width: int) -> None:
    x, y = problem(n, width)
    fit = logistic_path(x, y, PENALTIES, exclusive=False)
    assert fit.unconverged == 0
    for level, penalty in enumerate(PENALTIES):
        for c in range(y.shape[1]):
            reference = LogisticRegression(C=1 / (n * penalty), tol=1e-8, max_iter=5000).fit(
                standard(x), y[:, c]
            )
            np.testing.assert_allclose(
                fit.path.scores(x)[level, :, c],
                reference.decision_function(standard(x)),
                atol=0.02 * (1 + 0.1 / penalty**0.5),
            )


def test_softmax_equals_scikit_learn() -> None:
    x, _ = problem(300, 8)
    classes = np.random.default_rng(1).integers(0, 3, 300)
    x[np.arange(300), classes] += 2
    fit = logistic_path(x, np.eye(3)[classes], PENALTIES, exclusive=True)
    for level, penalty in enumerate(PENALTIES):
        reference = LogisticRegression(C=1 / (300 * penalty), tol=1e-8, max_iter=5000).fit(
            standard(x), classes
        )
        scores = fit.path.scores(x)[level]
        ours = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        np.testing.assert_allclose(ours, reference.predict_proba(standard(x)), atol=2e-3)


@pytest.mark.parametrize(
    "probe",
    [ridge_path, lambda x, y, penalties: logistic_path(x, y, penalties, exclusive=False).path],
)
def test_unknown_labels_are_left_out(probe: Callable[..., Any]) -> None:
    x, y = problem(80, 6)
    y[::3, 1] = np.nan
    known = ~np.isnan(y[:, 1])
    alone = probe(x[known], y[known][:, 1:], PENALTIES).scores(x)
    together = probe(x, y, PENALTIES).scores(x)
    for level in range(3):
        # Standardised on other rows, so the penalty weighs a little differently: the ranking must
        # agree.
        assert np.corrcoef(alone[level, :, 0], together[level, :, 1])[0, 1] > 0.97


def test_constant_features_and_one_value_stay_finite() -> None:
    x, y = problem(50, 5)
    x[:, 2], y[:, 1] = 7.0, 0.0
    for scores in (
        ridge_path(x, y, PENALTIES).scores(x),
        logistic_path(x, y, PENALTIES, exclusive=False).path.scores(x),
    ):
        assert np.isfinite(scores).all()
        assert (scores[:, :, 1] < 0).all()


def test_ridge_and_logistic_rank_alike() -> None:
    x, y = problem(2000, 12)
    ridge, logistic = (
        ridge_path(x, y, PENALTIES).scores(x),
        logistic_path(x, y, PENALTIES, exclusive=False).path.scores(x),
    )
    best = [
        max(roc_auc_score(y[:, 0], level[:, 0]) for level in scores) for scores in (ridge, logistic)
    ]
    assert abs(best[0] - best[1]) < 0.005


def test_minimise_reaches_every_minimum() -> None:
    rng = np.random.default_rng(0)
    curvature, centre = rng.uniform(0.1, 10, (5, 7)), rng.normal(size=(5, 7))

    def objective(x: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gap = x - centre[which]
        return (curvature[which] * gap**2).sum(1) / 2, curvature[which] * gap

    found = minimise(objective, np.zeros((5, 7)))
    assert found.converged.all()
    np.testing.assert_allclose(found.x, centre, atol=1e-3)
    assert not minimise(objective, np.zeros((5, 7)), steps=1).converged.all()


def test_nearest_neighbours_by_hand() -> None:
    bank, values = np.eye(3), np.array([[1.0], [0.0], [np.nan]])
    scores = nearest_neighbours(
        bank, values, np.array([[1.0, 0.1, 0.0], [0.0, 1.0, 0.0]]), np.array([1, 3])
    )
    np.testing.assert_allclose(scores[0, :, 0], [np.log(1.5 / 0.5), np.log(0.5 / 1.5)])
    assert scores[1, 0, 0] > 0 > scores[1, 1, 0]


def test_one_standard_error_takes_the_strong_end_on_noise_and_not_on_signal() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 2)) < 0.4).astype(float)
    noise = rng.normal(size=(6, 400))
    signal = np.stack(
        [truth[:, 1] * strength + rng.normal(size=400) for strength in (0, 0.2, 2, 2.4, 2.4, 1)]
    )
    levels = np.stack([noise, signal], axis=2)
    chosen = best_levels(levels, truth, exclusive=False, selection="one_se")
    assert chosen[0] == 0 and chosen[1] in (2, 3)
    best = best_levels(levels, truth, exclusive=False)
    areas = [[roc_auc_score(truth[:, c], level[:, c]) for c in range(2)] for level in levels]
    assert best == tuple(np.argmax(areas, axis=0))


def test_levels_of_exclusive_classes_are_shared_and_a_class_with_one_value_borrows() -> None:
    rng = np.random.default_rng(1)
    truth = np.eye(3)[rng.integers(0, 3, 90)]
    levels = np.stack(
        [
            rng.normal(size=(90, 3)),
            4 * truth + rng.normal(size=(90, 3)),
            4 * truth + rng.normal(size=(90, 3)),
        ]
    )
    assert set(best_levels(levels, truth, exclusive=True, selection="one_se")) == {1}
    truth[:, 2] = 0
    assert best_levels(levels, truth, exclusive=False, selection="one_se")[2] == 1
