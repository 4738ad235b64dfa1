"""The classification task kind: what the engine asks of it; the body is imported when first
needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from bench.contracts import (
    Annotation,
    Backbone,
    CellContext,
    Predictions,
    Profile,
    Scaling,
    Subset,
    TaskSpec,
)
from bench.data.annotations import Labels
from bench.data.reference import TrainedKind
from bench.metrics.names import classification_names
from tasks.classification.settings import (
    PRESETS,
    ClassificationOptions,
    ClassificationSettings,
    resolve,
    task_labels,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_logger = logging.getLogger(__name__)


class ClassificationKind(TrainedKind):
    """One or several findings per image; scored by ranking, by decisions at thresholds from
    validation, and by calibration."""

    name = "classification"
    evaluator_version = 1
    scaling: ClassVar[Mapping[str, Scaling]] = {"mgca": "mgca", "gloria": "mgca"}
    metrics = (
        "auroc",
        "auprc",
        "accuracy",
        "f1",
        "sensitivity",
        "specificity",
        "precision",
        "mcc",
        "brier",
        "ece",
    )
    lower_is_better = ("brier*", "ece*")
    options = ClassificationOptions

    def settings(
        self, task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
    ) -> ClassificationSettings:
        """Return the preset of `protocol` and `profile` for the labels of `task`, with
        `overrides`."""
        return resolve(task, protocol, profile, overrides)

    def needs(self, settings: ClassificationSettings) -> tuple[Annotation[Any], ...]:
        """Return the labels."""
        return (Labels(),)

    def protocols(self) -> tuple[str, ...]:
        """Return the names of the protocol presets."""
        return tuple(PRESETS)

    def metric_names(self, task: TaskSpec, settings: ClassificationSettings) -> tuple[str, ...]:
        """Return the metrics of these settings."""
        return classification_names(settings.mode)

    def own_subset(
        self, train: pd.DataFrame, fraction: float, task: TaskSpec, seed: int
    ) -> pd.DataFrame:
        """Return the training rows of one label fraction, stratified on the task's class (its first
        label where several)."""
        from bench.data.splits import label_subset

        columns = [
            name for name in (f"label:{label}" for label in task_labels(task)) if name in train
        ]
        if task.options.get("mode") != "multiclass" or not columns:
            return label_subset(
                train, fraction, seed=seed, stratify=columns[0] if columns else None
            )
        classes = train[columns].fillna(0).to_numpy(dtype=float).argmax(axis=1)
        kept = label_subset(
            train.assign(**{"label:": classes}), fraction, seed=seed, stratify="label:"
        )
        return train.loc[kept.index]

    def fit(self, backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Any:
        """Train the head; return a `tasks.classification.fit.Classifier`."""
        from tasks.classification.fit import fit

        return fit(backbone, train, val, context)

    def predict(self, predictor: Any, test: Subset, context: CellContext) -> Predictions:
        """Return label, score, calibrated probability and decision per image and class, and the
        subgroups of each image."""
        from tasks.classification.fit import predict

        return predict(predictor, test, context)

    def statistics(
        self, predictions: Predictions, task: TaskSpec
    ) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        """Return every metric as a function of resampling weights [R, n]; see
        `bench.metrics.classification`."""
        from bench.metrics.classification import classification_statistics

        return classification_statistics(predictions.table, predictions.extra["mode"])
