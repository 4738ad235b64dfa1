"""From scores to probabilities and decisions: temperature and thresholds from validation, and the
table that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.metrics.decision import (
    best_score,
    choose_threshold,
    fit_temperature,
    log_softmax,
    sigmoid,
)
from tasks.labelling.settings import ReadoutSettings
from tasks.labelling.subgroups import groups

_ON_TEST = ("test", "test_per_class")


@dataclass(frozen=True)
class Readout:
    """One temperature and one threshold (on the score) per class; `unread` names the classes
    validation could not decide."""

    temperatures: tuple[float, ...]
    thresholds: tuple[float, ...]
    unread: tuple[str, ...] = ()

    def probabilities(self, scores: np.ndarray, exclusive: bool) -> np.ndarray:
        """Return calibrated probabilities [n, C] of scores [n, C]."""
        scaled = scores / np.array(self.temperatures)
        return np.exp(log_softmax(scaled)) if exclusive else sigmoid(scaled)

    def facts(self, labels: tuple[str, ...]) -> dict[str, Any]:
        """Return what was chosen, thresholds as calibrated probabilities."""
        rows = zip(labels, self.temperatures, self.thresholds, strict=True)
        entries: dict[str, Any] = {}
        for label, temperature, threshold in rows:
            entries[f"temperature:{label}"] = temperature
            entries[f"threshold:{label}"] = float(sigmoid(np.array(threshold / temperature)))
        if self.unread:
            entries["not_decided_on_validation"] = ", ".join(self.unread)
        return entries


def choose(scores: np.ndarray, values: np.ndarray, settings: ReadoutSettings) -> Readout:
    """Return the readout that is best on validation scores [n, C] against targets [n, C].

    A class with one label value on validation keeps temperature 1 and threshold 0 (probability
    0.5), and is named in `unread`.
    """
    if settings.mode == "multiclass":
        fitted = settings.calibration == "temperature"
        temperature = fit_temperature(scores, values.argmax(axis=1)) if fitted else 1.0
        return Readout((temperature,) * scores.shape[1], (0.0,) * scores.shape[1])
    temperatures = []
    thresholds = []
    unread = []
    for c, label in enumerate(settings.labels):
        labelled = ~np.isnan(values[:, c])
        score = scores[labelled, c]
        value = values[labelled, c]
        two = len(set(value.tolist())) == 2
        temperatures.append(
            fit_temperature(score, value) if two and settings.calibration == "temperature" else 1.0
        )
        is_chosen = two and settings.threshold == "validation"
        thresholds.append(
            choose_threshold(score, value, settings.threshold_by) if is_chosen else 0.0
        )
        unread += [] if two else [label]
    return Readout(tuple(temperatures), tuple(thresholds), tuple(unread))


def decisions(
    scores: np.ndarray, values: np.ndarray, readout: Readout, settings: ReadoutSettings
) -> dict[str, np.ndarray]:
    """Return the columns `pred` and, where accuracy has decisions of its own, `above`: bool [n, C]
    each, of scores [n, C] with targets [n, C]."""
    if settings.mode == "multiclass":
        return {"pred": np.eye(scores.shape[1])[scores.argmax(axis=1)]}
    if settings.threshold not in _ON_TEST:
        return {"pred": scores > np.array(readout.thresholds)}
    if settings.strict == "none":
        return {"pred": scores > thresholds_on_test(scores, values, settings)}
    best = thresholds_on_test(scores, values, settings)
    if settings.strict == "all":
        return {"pred": scores > best}
    return {"pred": scores >= best, "above": scores > best}


def thresholds_on_test(
    scores: np.ndarray, values: np.ndarray, settings: ReadoutSettings
) -> np.ndarray:
    """Return the thresholds [C] with the best F1 on the images that are scored by them: one for all
    (image, class) pairs, or one per class.

    With `strict` they are scores themselves, else they lie between two scores. Where nothing can be
    chosen the threshold is 0 (probability 0.5): without an image, or, unless `strict`, where the
    labels have one value only.
    """

    def pick(score: np.ndarray, value: np.ndarray) -> float:
        """Return the threshold of logits against targets whose unknown ones are NaN."""
        labelled = ~np.isnan(value)
        score = score[labelled]
        label = value[labelled]
        if settings.strict != "none":
            return best_score(score, label) if len(score) else 0.0
        return choose_threshold(score, label) if len(set(label.tolist())) == 2 else 0.0

    if settings.threshold == "test":
        return np.full(scores.shape[1], pick(scores, values))
    return np.array([pick(scores[:, c], values[:, c]) for c in range(scores.shape[1])])


def facts_on_test(
    scores: np.ndarray, values: np.ndarray, readout: Readout, settings: ReadoutSettings
) -> dict[str, Any]:
    """Return the thresholds chosen on the test images as calibrated probabilities; nothing where
    none were."""
    if settings.mode == "multiclass" or settings.threshold not in _ON_TEST:
        return {}
    thresholds = thresholds_on_test(scores, values, settings)
    probabilities = sigmoid(thresholds / np.array(readout.temperatures))
    return {
        f"threshold:{label}": float(value)
        for label, value in zip(settings.labels, probabilities, strict=True)
    }


def table(
    index: pd.DataFrame,
    scores: np.ndarray,
    values: np.ndarray,
    readout: Readout,
    settings: ReadoutSettings,
) -> pd.DataFrame:
    """Return the columns of `bench.metrics.classification`: one row per image of `index`."""
    matrices = {
        "label": values,
        "score": scores,
        "prob": readout.probabilities(scores, settings.mode == "multiclass"),
        **decisions(scores, values, readout, settings),
    }
    columns: dict[str, Any] = {
        "image_id": index["image_id"].to_numpy(),
        "patient_id": index["patient_id"].to_numpy(),
    }
    for name, matrix in matrices.items():
        for c, label in enumerate(settings.labels):
            columns[f"{name}:{label}"] = matrix[:, c].astype(float)
    if settings.subgroups:
        for name, group in groups(index).items():
            columns[f"group:{name}"] = group
    return pd.DataFrame(columns)


def counts(found: pd.DataFrame, settings: ReadoutSettings) -> dict[str, Any]:
    """Return what the result states beside the metrics: positives per class, undefined classes,
    sizes of subgroups."""
    facts: dict[str, Any] = {"mode": settings.mode}
    for label in settings.labels:
        facts[f"positives:{label}"] = int((found[f"label:{label}"] == 1).sum())
    one_valued = [
        label for label in settings.labels if found[f"label:{label}"].dropna().nunique() < 2
    ]
    if one_valued:
        facts["undefined_on_test"] = ", ".join(one_valued)
    for column in (name for name in found if name.startswith("group:")):
        group = column.removeprefix("group:")
        for value, size in found[column].value_counts().items():
            if value:
                facts[f"n@{group}={value}"] = int(size)
    return facts
