"""The whole table of metrics equals scikit-learn on copies: ties, unknown labels, an empty class,
one image, empty resamples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies._internal.core import DataObject
from sklearn import metrics as sk

from bench.metrics.classification import COUNTED, classification_statistics
from bench.metrics.decision import log_softmax, sigmoid
from tests.bench.metrics import reference

QUICK = settings(max_examples=25, deadline=None)
SCORES = st.sampled_from([-2.0, -0.5, 0.0, 0.5, 2.0])


@st.composite
def tables(
    draw: Callable[..., Any], classes: int = 3, unknown: bool = True
) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw a table of 1 to 9 images with tied scores, labels 0/1 (or unknown) and a group, and
    weights [2, n]."""
    n = draw(st.integers(1, 9))
    score = draw(hnp.arrays(float, (n, classes), elements=SCORES))
    label = draw(
        hnp.arrays(
            float,
            (n, classes),
            elements=st.sampled_from([0.0, 1.0, np.nan] if unknown else [0.0, 1.0]),
        )
    )
    columns = {
        "label": label,
        "score": score,
        "prob": sigmoid(score / 2),
        "pred": (score > 0).astype(float),
    }
    table = pd.DataFrame(
        {f"{kind}:{c}": values[:, c] for kind, values in columns.items() for c in range(classes)}
    )
    table["group:sex"] = draw(st.lists(st.sampled_from(["F", "M", ""]), min_size=n, max_size=n))
    return table, draw(hnp.arrays(np.int64, (2, n), elements=st.integers(0, 2)))


def known(table: pd.DataFrame, row: np.ndarray, c: int) -> tuple[np.ndarray, ...]:
    """Return label, score, probability and decision of the copies whose label of class c is
    known."""
    kept = table[table[f"label:{c}"].notna()]
    weights = row[table[f"label:{c}"].notna().to_numpy()]
    return reference.expand(
        weights, *(kept[f"{kind}:{c}"].to_numpy() for kind in ("label", "score", "prob", "pred"))
    )


def mean_defined(values: list[float]) -> float:
    values = [value for value in values if not np.isnan(value)]
    return float(np.mean(values)) if values else float("nan")


@QUICK
@given(tables())
def test_multiple_labels(case: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, weights = case
    found = {
        name: function(weights)
        for name, function in classification_statistics(table, "multilabel").items()
    }
    for r, row in enumerate(weights):
        parts = [known(table, row, c) for c in range(3)]
        aurocs = [reference.auroc(score, label.astype(int)) for label, score, *_ in parts]
        auprcs = [
            reference.average_precision(score, label.astype(int)) for label, score, *_ in parts
        ]
        np.testing.assert_allclose([found[f"auroc:{c}"][r] for c in range(3)], aurocs, atol=1e-12)
        np.testing.assert_allclose(found["auroc"][r], mean_defined(aurocs), atol=1e-12)
        np.testing.assert_allclose(found["auprc"][r], mean_defined(auprcs), atol=1e-12)
        assert found["undefined_classes"][r] == np.isnan(aurocs).sum()
        each = [
            reference.decisions(pred.astype(int), label.astype(int)) for label, _, _, pred in parts
        ]
        for name in COUNTED:
            np.testing.assert_allclose(
                found[name][r], mean_defined([one[name] for one in each]), atol=1e-12, err_msg=name
            )
        label, score, _, pred = (np.concatenate(column) for column in zip(*parts, strict=True))
        np.testing.assert_allclose(
            found["auroc_micro"][r], reference.auroc(score, label.astype(int)), atol=1e-12
        )
        np.testing.assert_allclose(
            found["auprc_micro"][r],
            reference.average_precision(score, label.astype(int)),
            atol=1e-12,
        )
        expected = reference.decisions(pred.astype(int), label.astype(int))
        for name, metric in (("f1", "f1"), ("precision", "precision"), ("recall", "sensitivity")):
            np.testing.assert_allclose(
                found[f"{name}_micro"][r], expected[metric], atol=1e-12, err_msg=name
            )


@QUICK
@given(tables(classes=1, unknown=False))
def test_subgroups_are_the_metrics_of_their_images(case: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, weights = case
    found: Mapping[str, Any] = classification_statistics(table, "binary")
    for value in set(table["group:sex"]) - {""}:
        rows = (table["group:sex"] == value).to_numpy()
        assert found[f"auroc@sex={value}"].n == rows.sum()
        for r, row in enumerate(weights):
            label, score, _, pred = known(table[rows].reset_index(drop=True), row[rows], 0)
            expected = reference.auroc(score, label.astype(int))
            np.testing.assert_allclose(
                found[f"auroc@sex={value}"](weights)[r], expected, atol=1e-12
            )
            expected = reference.decisions(pred.astype(int), label.astype(int))["sensitivity"]
            np.testing.assert_allclose(
                found[f"sensitivity@sex={value}"](weights)[r], expected, atol=1e-12
            )


@QUICK
@given(tables(classes=3, unknown=False), st.data())
def test_exclusive_classes(case: tuple[pd.DataFrame, np.ndarray], data: DataObject) -> None:
    table, weights = case
    n = len(table)
    true = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, 2)))
    scores = log_softmax(table[[f"score:{c}" for c in range(3)]].to_numpy())
    chosen = scores.argmax(axis=1)
    for c in range(3):
        table[f"label:{c}"], table[f"score:{c}"] = (true == c).astype(float), scores[:, c]
        table[f"prob:{c}"], table[f"pred:{c}"] = np.exp(scores[:, c]), (chosen == c).astype(float)
    found = {
        name: function(weights)
        for name, function in classification_statistics(table, "multiclass").items()
    }
    for r, row in enumerate(weights):
        y, p, logs = reference.expand(row, true, chosen, scores)
        np.testing.assert_allclose(
            found["accuracy"][r], (y == p).mean() if len(y) else np.nan, atol=1e-12
        )
        each = [reference.decisions((p == c).astype(int), (y == c).astype(int)) for c in range(3)]
        for name, metric in (
            ("balanced_accuracy", "sensitivity"),
            ("f1", "f1"),
            ("specificity", "specificity"),
        ):
            np.testing.assert_allclose(
                found[name][r],
                mean_defined([one[metric] for one in each]),
                atol=1e-12,
                err_msg=name,
            )
        aurocs = [reference.auroc(logs[:, c], (y == c).astype(int)) for c in range(3)]
        np.testing.assert_allclose(found["auroc"][r], mean_defined(aurocs), atol=1e-12)
        expected = ((np.exp(logs) - np.eye(3)[y]) ** 2).sum(axis=1).mean() if len(y) else np.nan
        np.testing.assert_allclose(found["brier"][r], expected, atol=1e-12)
        if len(y):
            right, confidence = (y == p).astype(float), np.exp(logs).max(axis=1)
            np.testing.assert_allclose(
                found["ece"][r], reference.calibration_error(confidence, right, 15), atol=1e-9
            )
            assert found["accuracy"][r] == np.float64(sk.accuracy_score(y, p))
