"""A metric is the mean over labels of the mean over images, of the images that are drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from bench.metrics.bootstrap import point
from bench.metrics.maps import shuffled_auc
from bench.metrics.weights import OnSomeImages
from tasks.grounding import metrics
from tasks.grounding.kind import METRICS


def table() -> pd.DataFrame:
    """Values of five images of two labels."""
    rng = np.random.default_rng(1)
    columns: dict[str, np.ndarray] = {}
    for name in (*METRICS, f"{metrics.CANDIDATE}{metrics.SHUFFLED}"):
        one, two = rng.random((2, 5))
        columns |= {f"{name}:A": np.where([1, 1, 1, 0, 0], one, np.nan)}
        columns |= {f"{name}:B": np.where([0, 1, 1, 1, 1], two, np.nan)}
    return pd.DataFrame(columns)


def test_a_metric_is_the_mean_over_labels_of_the_mean_over_images() -> None:
    values = table()
    functions = metrics.statistics(values)
    for name in METRICS:
        of_labels = [values[f"{name}:{label}"].mean() for label in "AB"]
        assert point(functions[name], 5) == pytest.approx(np.mean(of_labels))
        assert point(functions[f"{name}:A"], 5) == pytest.approx(of_labels[0])
    pointing = functions["pointing:A"]
    assert isinstance(pointing, OnSomeImages) and pointing.n == 3
    weights = np.array([[2.0, 0, 1, 0, 0], [0, 0, 0, 1, 1]])
    drawn = values["pointing:A"].to_numpy()
    assert pointing(weights)[0] == pytest.approx((2 * drawn[0] + drawn[2]) / 3)
    assert np.isnan(pointing(weights)[1])
    only = functions["pointing"](weights)[1]
    assert only == pytest.approx(values["pointing:B"][3:].mean())


def test_an_image_that_is_drawn_twice_is_twice_among_the_others() -> None:
    rng = np.random.default_rng(2)
    maps = rng.random((30, 60))
    fixated = rng.random((30, 60)) < 0.2
    fixated[:, 0] = True
    values, effects = shuffled_auc(maps, fixated, np.arange(30))
    columns = {f"{name}:A": rng.random(30) for name in METRICS}
    columns |= {"shuffled_auc:A": values, "candidate:shuffled_auc:A": effects}
    function = metrics.statistics(pd.DataFrame(columns))["shuffled_auc"]
    rows = np.r_[np.arange(1, 30), 5]  # image 0 is left out, image 5 stands twice
    against = np.array(
        [[_auc(maps[i][fixated[i]], maps[i][fixated[j]]) for j in rows] for i in rows]
    )
    others = rows[:, None] != rows[None]
    exact = (against * others).sum() / others.sum()
    weights = np.bincount(rows, minlength=30)[None].astype(float)
    assert function(weights)[0] == pytest.approx(exact, abs=2e-3)
    alone = values[rows].mean()
    assert abs(function(weights)[0] - exact) < abs(alone - exact)


def _auc(hits: np.ndarray, misses: np.ndarray) -> float:
    truth = np.r_[np.ones(len(hits)), np.zeros(len(misses))]
    return float(roc_auc_score(truth, np.r_[hits, misses]))
