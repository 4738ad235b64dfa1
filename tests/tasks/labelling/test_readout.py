"""Where decisions are cut, above all as BenchX does: on the test images themselves."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies._internal.core import DataObject
from sklearn.metrics import accuracy_score, f1_score, precision_recall_curve

from bench.contracts import Profile
from bench.metrics.bootstrap import point
from bench.metrics.classification import classification_statistics
from tasks.classification import settings as classification
from tasks.labelling import readout
from tasks.labelling.readout import Readout
from tasks.labelling.settings import ReadoutSettings
from tasks.zero_shot import settings as zero_shot
from tests.tasks.fakes import task

NAN = float("nan")


def metrics(
    scores: list[list[int]] | np.ndarray,
    values: np.ndarray | list[Any],
    settings: ReadoutSettings,
) -> dict[str, float]:
    """Return every metric of scores [n, C] against targets [n, C] cut as the settings say."""
    scores, values = np.asarray(scores, float), np.asarray(values, float)
    classes = scores.shape[1]
    index = pd.DataFrame({"image_id": range(len(scores)), "patient_id": range(len(scores))})
    chosen = Readout((1.0,) * classes, (0.0,) * classes)
    table = readout.table(index, scores, values, chosen, settings)
    found = classification_statistics(table, settings.mode)
    return {name: point(function, len(scores)) for name, function in found.items()}


def settings_of(
    module: ModuleType, protocol: str, labels: tuple[str, str], mode: str, **changes: str | Any
) -> ReadoutSettings:
    spec = task(labels=labels, mode=mode)
    return module.resolve(spec, protocol, "paper", {"subgroups": "false", **changes})


# ----------------------------------------------------------------------------------------- settings
@pytest.mark.parametrize("profile", ["demo", "paper"])
@pytest.mark.parametrize(
    "mode, labels, threshold",
    [
        ("multilabel", ("a", "b"), "test"),
        ("multiclass", ("a", "b"), "half"),
        ("binary", ("a",), "half"),
    ],
)
def test_benchx_cuts_several_labels_on_test_and_one_label_at_the_half(
    mode: str, labels: tuple[str, ...], threshold: str, profile: Profile
) -> None:
    spec = task(labels=labels, mode=mode)
    assert classification.resolve(spec, "benchx", profile, {}).threshold == threshold
    changed = classification.resolve(spec, "benchx", profile, {"threshold": "validation"})
    assert changed.threshold == "validation"
    for protocol in ("default", "mgca", "gloria"):
        assert classification.resolve(spec, protocol, profile, {}).threshold == "validation"


def test_only_benchx_warms_up_from_zero() -> None:
    for protocol in ("default", "mgca", "gloria", "benchx"):
        found = classification.resolve(task(), protocol, "paper", {})
        assert found.warmup_from_zero is (protocol == "benchx")


def test_benchx_joins_prompts_by_the_maximum_and_decides_every_class_by_itself() -> None:
    found = zero_shot.resolve(task(labels=("a", "b"), mode="multiclass"), "benchx", "paper", {})
    assert (found.aggregate, found.mode, found.threshold) == ("max", "multilabel", "test_per_class")
    found = zero_shot.resolve(task(labels=("a",), mode="binary"), "benchx", "paper", {})
    assert found.mode == "binary"


# ------------------------------------------------------------------------------------- right values
LOGITS, TRUTH = [[2, -3], [1, -3], [0, -3]], [[1, 0], [1, 0], [0, 0]]


@pytest.mark.parametrize("protocol, expected", [("default", 1.0), ("benchx", 2 / 3)])
def test_benchx_loses_the_image_on_its_threshold(protocol: str, expected: float) -> None:
    settings = settings_of(classification, protocol, ("a", "b"), "multilabel", threshold="test")
    assert metrics(LOGITS, TRUTH, settings)["f1_micro"] == pytest.approx(expected)


def test_benchx_zero_shot_has_a_threshold_per_class_and_its_accuracy_loses_the_image_on_it() -> (
    None
):
    settings = settings_of(zero_shot, "benchx", ("a", "b"), "multilabel")
    scores = np.array([[3, 2, 1, 0], [0.9, 0.8, 0.7, 0.6]]).T
    found = metrics(scores, [[1, 1], [1, 1], [0, 0], [0, 0]], settings)
    assert (found["f1"], found["accuracy"]) == (1.0, 0.75)
    assert found["f1_micro"] == 1.0 and found["accuracy:b"] == 0.75


def test_unknown_labels_choose_no_threshold() -> None:
    settings = settings_of(zero_shot, "benchx", ("a", "b"), "multilabel")
    scores = [[3, 9], [2, 9], [1, 9], [7, 9]]
    found = metrics(scores, [[1, NAN], [1, NAN], [0, NAN], [NAN, NAN]], settings)
    assert found["f1"] == 1.0 and np.isnan(found["f1:b"])


@pytest.mark.parametrize("threshold", ["test", "test_per_class"])
def test_a_test_set_of_one_label_value_is_cut_at_one_half(threshold: str) -> None:
    settings = settings_of(classification, "default", ("a", "b"), "multilabel", threshold=threshold)
    found = metrics([[2, -3], [-1, -3]], [[0, 0], [0, 0]], settings)
    assert found["specificity"] == pytest.approx(0.75)


def test_the_thresholds_chosen_on_test_are_stated() -> None:
    settings = settings_of(zero_shot, "benchx", ("a", "b"), "multilabel")
    scores = np.array([[3, 2, 1, 0], [0.9, 0.8, 0.7, 0.6]]).T
    values = np.array([[1, 1], [1, 1], [0, 0], [0, 0]], float)
    chosen = Readout((2.0, 1.0), (0.0, 0.0))
    facts = readout.facts_on_test(scores, values, chosen, settings)
    assert facts["threshold:a"] == pytest.approx(1 / (1 + np.exp(-2 / 2.0)))
    assert facts["threshold:b"] == pytest.approx(1 / (1 + np.exp(-0.8)))
    plain = settings_of(classification, "default", ("a", "b"), "multilabel")
    assert readout.facts_on_test(scores, values, chosen, plain) == {}


# ----------------------------------------------------------------------------- published procedures
SCORES = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 2.0])


@given(st.data(), st.integers(2, 9))
def test_benchx_zero_shot_equals_its_evaluation(data: DataObject, n: int) -> None:
    """Per class: the largest F1 of the precision-recall curve, and the accuracy above its place."""
    scores = data.draw(hnp.arrays(float, (n, 2), elements=SCORES))
    values = data.draw(hnp.arrays(float, (n, 2), elements=st.sampled_from([0.0, 1.0])))
    values[0] = 1.0  # scikit-learn warns where there is no positive
    largest, accuracies = [], []
    for c in range(2):
        precision, recall, thresholds = precision_recall_curve(values[:, c], scores[:, c])
        total = recall + precision
        f1 = np.divide(2 * recall * precision, total, out=np.zeros_like(total), where=total != 0)
        largest.append(f1.max())
        above = scores[:, c] > thresholds[f1.argmax()]
        accuracies.append(accuracy_score(values[:, c], above))
    found = metrics(scores, values, settings_of(zero_shot, "benchx", ("a", "b"), "multilabel"))
    assert found["f1"] == pytest.approx(np.mean(largest))
    assert found["accuracy"] == pytest.approx(np.mean(accuracies))


@given(st.data(), st.integers(2, 9))
def test_benchx_classification_equals_its_evaluation(data: DataObject, n: int) -> None:
    """One threshold over all pairs, decided above it."""
    scores = data.draw(hnp.arrays(float, (n, 2), elements=SCORES))
    values = data.draw(hnp.arrays(float, (n, 2), elements=st.sampled_from([0.0, 1.0])))
    values[0, 0] = 1.0
    precision, recall, thresholds = precision_recall_curve(values.ravel(), scores.ravel())
    total = recall + precision
    f1 = np.divide(2 * recall * precision, total, out=np.zeros_like(total), where=total != 0)
    above = scores > thresholds[f1.argmax()]
    found = metrics(scores, values, settings_of(classification, "benchx", ("a", "b"), "multilabel"))
    expected = f1_score(values.ravel(), above.ravel(), zero_division=np.nan)
    assert found["f1_micro"] == pytest.approx(expected, nan_ok=True)


def test_a_class_without_a_positive_has_an_f1_of_nothing_in_benchx() -> None:
    settings = settings_of(zero_shot, "benchx", ("a", "b"), "multilabel")
    found = metrics([[1, 1], [0, 0]], [[1, 0], [0, 0]], settings)
    assert found["f1:b"] == 0.0 and found["accuracy:b"] == 0.5  # all but the lowest score
