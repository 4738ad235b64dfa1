"""Sums over images with a row per image give the same bits as columns gathered in order of
score."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.metrics import counting, weights
from bench.metrics.bootstrap import cluster_weights
from bench.metrics.classification import classification_statistics
from bench.metrics.decision import sigmoid
from bench.metrics.ranking import auroc, average_precision, rank
from bench.metrics.weights import ByImage, SharedSums, group_matrix, weighted_sums
from tests.bench.metrics import reference


def table(n: int, classes: int, seed: int, unknown: bool) -> pd.DataFrame:
    """Return a table of tied scores, rare and frequent classes, and two group columns."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for c in range(classes):
        label = (rng.random(n) < (0.03, 0.5, 0.85)[c % 3]).astype(float)
        score = np.round(rng.normal(size=n) + label, 2)
        if unknown:
            label[rng.random(n) < 0.1] = np.nan
        columns |= {f"label:{c}": label, f"score:{c}": score}
        columns |= {f"prob:{c}": sigmoid(0.8 * score), f"pred:{c}": (score > 0.5).astype(float)}
    columns["group:sex"] = rng.choice(["F", "M", ""], n)
    columns["group:age"] = rng.choice(["0-39", "40+"], n)
    return pd.DataFrame(columns)


def expected(part: pd.DataFrame, resamples: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Return the metrics per class, and their means, of a table, by gathered columns and matrix
    products."""
    each = []
    for c in range(classes):
        known = np.flatnonzero(part[f"label:{c}"].notna())
        whole = len(known) == len(part)
        own = resamples if whole else np.ascontiguousarray(resamples[:, known])
        label, score, prob, pred = (
            part[f"{kind}:{c}"].to_numpy()[known] for kind in ("label", "score", "prob", "pred")
        )
        counts = counting.Confusion(*reference.multiplied_confusion(pred, label, own))
        ranking = rank(score, label)
        each.append(
            {
                "auroc": reference.gathered_auroc(ranking, own),
                "auprc": reference.gathered_average_precision(ranking, own),
                "sensitivity": counting.sensitivity(counts),
                "specificity": counting.specificity(counts),
                "mcc": counting.mcc(counts),
                "brier": counting.brier(prob, label, own),
                "ece": counting.calibration_error(prob, label, own),
                "ece_uncalibrated": counting.calibration_error(sigmoid(score), label, own),
            }
        )
    found = {f"{name}:{c}": one[name] for c, one in enumerate(each) for name in one}
    means = {
        name: weights.mean_of_defined([_always(one[name]) for one in each], resamples)
        for name in each[0]
    }
    return found | means


def _always(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a statistic that has these values whatever the weights."""
    return lambda _: values


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("n, block", [(300, 2**21), (400, 3000), (11_000, 2**21)])
def test_every_metric_equals_the_gathered_columns_to_the_last_bit(
    n: int, block: int, unknown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "BLOCK", block)
    monkeypatch.setattr(weights, "TURNED_BLOCK", 3 * block)
    found = table(n, 3, n, unknown)
    resamples = cluster_weights([str(i // 3) for i in range(n)], 14)
    statistics: Mapping[str, Any] = classification_statistics(found, "multilabel")
    for name, values in expected(found, resamples, 3).items():
        np.testing.assert_array_equal(statistics[name](resamples), values, err_msg=name)
    for group in ("sex=F", "sex=M", "age=40+"):
        column, value = group.split("=")
        rows = np.flatnonzero(found[f"group:{column}"] == value)
        part = found.iloc[rows].reset_index(drop=True)
        wanted = expected(part, np.ascontiguousarray(resamples[:, rows]), 3)
        for name in ("auroc", "sensitivity", "specificity"):
            np.testing.assert_array_equal(
                statistics[f"{name}@{group}"](resamples), wanted[name], err_msg=group
            )
            assert statistics[f"{name}@{group}"].n == len(rows)


@pytest.mark.parametrize("unknown", [False, True])
def test_pairs_of_image_and_class_equal_the_gathered_columns(unknown: bool) -> None:
    found = table(600, 4, 1, unknown)
    resamples = cluster_weights([str(i // 3) for i in range(600)], 12)
    statistics = classification_statistics(found, "multilabel")
    label, score = (
        np.stack([found[f"{kind}:{c}"] for c in range(4)]) for kind in ("label", "score")
    )
    known = ~np.isnan(label)
    images = np.broadcast_to(np.arange(600), label.shape)[known]
    ranking = rank(score[known], label[known], images)
    np.testing.assert_array_equal(
        statistics["auroc_micro"](resamples), reference.gathered_auroc(ranking, resamples)
    )
    np.testing.assert_array_equal(
        statistics["auprc_micro"](resamples),
        reference.gathered_average_precision(ranking, resamples),
    )


COUNTS = hnp.arrays(np.int64, (3, 7), elements=st.integers(0, 3))


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(float, 7, elements=st.sampled_from([0.0, 0.5, 1.0])),
    hnp.arrays(np.int64, 7, elements=st.integers(0, 1)),
    hnp.arrays(np.int64, 7, elements=st.integers(0, 6)),
    COUNTS,
)
def test_rankings_of_repeated_images_equal_the_gathered_columns(
    score: np.ndarray, label: np.ndarray, images: np.ndarray, resamples: np.ndarray
) -> None:
    ranking = rank(score, label, images)
    for mine, plain in (
        (auroc, reference.gathered_auroc),
        (average_precision, reference.gathered_average_precision),
    ):
        np.testing.assert_array_equal(mine(ranking, resamples), plain(ranking, resamples))


@pytest.mark.parametrize("scale", [1, 2**20, 2**22])
def test_sums_of_large_weights_stay_exact(scale: int) -> None:
    """Beyond what float32 holds exactly, the weights are float64."""
    resamples = np.array([[1, 2, 3, 5], [scale, 1, scale, 1]])
    turned = ByImage(resamples)
    groups = group_matrix(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 2]), 2, 4)
    assert turned.sums(groups).tolist() == [[3, scale + 1], [4, 2 * scale]]
    assert turned.total(np.arange(4)).tolist() == [11, 2 * scale + 2]
    kind = next(turned.blocks(4, 1))[0].dtype
    assert kind == (np.float32 if 2 * scale + 2 < 2**24 else np.float64)


def test_weights_that_are_shares_are_summed_in_float64() -> None:
    shares = np.array([[1 / 3, 0.5, 0.25], [0.1, 0.2, 0.7]])
    ranking = rank(np.array([0.0, 1.0, 2.0]), np.array([0, 1, 0]))
    np.testing.assert_allclose(auroc(ranking, shares), [4 / 7, 1 / 8])
    assert next(ByImage(shares).blocks(3, 1))[0].dtype == np.float64


def test_sums_of_several_tables_equal_each_alone() -> None:
    rng = np.random.default_rng(0)
    resamples, images = rng.integers(0, 4, (9, 50)), np.arange(10, 45)
    tables = [rng.random((35, width)) for width in (1, 15, 4)]
    shared = SharedSums(images, 50)
    asked = []

    def ask(place: int) -> np.ndarray:
        asked.append(place)
        return tables[place]

    sums = [shared.add(functools.partial(ask, place)) for place in range(3)]
    assert not asked
    for table_, own in zip(tables, sums, strict=True):
        alone = weighted_sums(table_, np.ascontiguousarray(resamples[:, images]))
        np.testing.assert_array_equal(own(resamples), alone)
    assert asked == [0, 1, 2]
