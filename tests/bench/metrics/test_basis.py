"""On how many patients a metric stands."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bench.contracts import KINDS, TASKS, Basis, Predictions
from bench.metrics.basis import patient_freedom
from bench.metrics.classification_basis import classification_basis
from bench.metrics.intervals import patient_numbers

PATIENTS = patient_numbers(["p", "p", "q", "r", "s", "t"])


def freedom(basis: Basis, resampled: dict[str, np.ndarray] | None = None) -> float:
    return patient_freedom(basis, "m", resampled or {}, PATIENTS)


def test_a_mean_over_images_stands_on_all_patients() -> None:
    assert freedom(Basis()) == 4


def test_a_ranking_stands_on_the_fewer_of_positive_and_negative_patients() -> None:
    assert freedom(Basis("share", np.array([1, 1, 1, 0, 0, 0]))) == 1
    assert freedom(Basis("share", np.array([1, 0, 1, 0, 0, np.nan]))) == 1


def test_a_mean_over_lesions_stands_on_the_patients_with_one() -> None:
    assert freedom(Basis("mean", np.array([1, 1, np.nan, 1, 1, np.nan]))) == 2


def test_a_mean_over_classes_is_decided_by_the_class_that_spreads_most() -> None:
    labels = np.stack([[1, 1, 1, 0, 0, 0], [1, 0, 1, 1, 0, 0]], axis=1).astype(float)
    basis = Basis("share", labels, ("a", "b"))
    rng = np.random.default_rng(0)
    resampled = {"m:a": rng.normal(size=500), "m:b": 1e-6 * rng.normal(size=500)}
    assert freedom(basis, resampled) == pytest.approx(1, rel=1e-3)
    assert freedom(basis) == 1


def test_classes_share_their_patients() -> None:
    """Two even classes of ten patients have no more degrees of freedom than ten patients give."""
    patients = patient_numbers([str(number) for number in range(10)])
    labels = np.stack([[1, 0] * 5, [0, 1] * 5], axis=1).astype(float)
    rng = np.random.default_rng(1)
    resampled = {f"m:{name}": rng.normal(size=500) for name in "abc"}
    three = np.concatenate([labels, labels[:, :1]], axis=1)
    basis = Basis("share", three, ("a", "b", "c"))
    assert patient_freedom(basis, "m", resampled, patients) == 9


TABLE = pd.DataFrame(
    {
        "label:a": [1, 0, 1, 0, np.nan, 0],
        "label:b": [0, 0, 0, 0, 1, 1],
        "group:sex": ["F", "F", "M", "M", "M", ""],
    }
)


@pytest.mark.parametrize(
    ("metric", "scale", "labels"),
    [
        ("auroc:a", "share", [1, 0, 1, 0, np.nan, 0]),
        ("sensitivity:b", "mean", [np.nan, np.nan, np.nan, np.nan, 1, 1]),
        ("specificity:a", "mean", [np.nan, 1, np.nan, 1, np.nan, 1]),
        ("f1_micro", "share", [1, 0, 1, 0, 1, 1]),
        ("accuracy@sex=F", "mean", [1, 1, np.nan, np.nan, np.nan, np.nan]),
    ],
)
def test_metrics_of_classification_know_their_images(
    metric: str, scale: str, labels: list[float]
) -> None:
    basis = classification_basis(Predictions(TABLE), metric)
    assert basis.scale == scale
    assert basis.labels is not None
    np.testing.assert_array_equal(basis.labels.ravel(), labels)


def test_a_mean_over_classes_names_them_and_calibration_stands_on_all() -> None:
    assert classification_basis(Predictions(TABLE), "auroc").classes == ("a", "b")
    assert classification_basis(Predictions(TABLE), "brier").labels is None
    of_women = classification_basis(Predictions(TABLE), "auroc@sex=F").labels
    assert of_women is not None
    assert np.isnan(of_women[2:]).all()


def test_segmentation_tells_lesions_from_all_images() -> None:
    kind = KINDS.get(TASKS.get("siim_seg").kind)
    predictions = Predictions(pd.DataFrame({"target:x": [0, 5, 0, 9]}))
    lesions = kind.basis(predictions, "dice_global").labels
    np.testing.assert_array_equal(lesions, [[np.nan], [1], [np.nan], [1]])
    healthy = kind.basis(predictions, "image_specificity").labels
    np.testing.assert_array_equal(healthy, [[1], [np.nan], [1], [np.nan]])
    assert kind.basis(predictions, "dice_per_image").labels is None


def test_detection_stands_on_images_with_a_true_box_of_the_class() -> None:
    kind = KINDS.get(TASKS.get("rsna_det").kind)
    table = pd.DataFrame({"boxes:a": [0, 1, 2], "boxes:b": [0, 0, 1]})
    truth = np.array([[-1, -1], [0, -1], [0, 1]])
    predictions = Predictions(table, {"truth_classes": truth})
    np.testing.assert_array_equal(
        kind.basis(predictions, "map").labels, [[np.nan, np.nan], [1, np.nan], [1, 1]]
    )
    assert kind.basis(predictions, "rsna_score").labels is None


def test_clinical_efficacy_stands_on_reports_that_name_something() -> None:
    kind = KINDS.get(TASKS.get("iu_rg").kind)
    named = np.zeros((3, 14), bool)
    named[1, 0] = named[2, 2] = True
    predictions = Predictions(pd.DataFrame(index=range(3)), {"reference_named": named})
    labels = kind.basis(predictions, "ce_f1_micro").labels
    np.testing.assert_array_equal(labels, [np.nan, 1, 1])
    assert kind.basis(predictions, "ce_f1_example").labels is None
    assert kind.basis(predictions, "bleu4").labels is None
