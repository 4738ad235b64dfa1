"""The zero-shot task kind: what the engine asks of it; the body is imported when first needed."""

from __future__ import annotations

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
    TaskKind,
    TaskSpec,
)
from bench.data.annotations import Labels
from bench.metrics.names import classification_names
from tasks.classification.settings import ClassificationOptions
from tasks.zero_shot.settings import PRESETS, ZeroShotSettings, resolve

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class ZeroShotKind(TaskKind):
    """Classification by prompts, nothing trained; thresholds (classes not exclusive) and
    temperature from validation."""

    name = "zero_shot"
    evaluator_version = 1
    scaling: ClassVar[Mapping[str, Scaling]] = {"gloria": "mgca"}
    metrics = ("accuracy", "f1", "auroc", "auprc", "balanced_accuracy", "mcc")
    options = ClassificationOptions
    trained = False
    compares_texts = True

    def settings(
        self, task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
    ) -> ZeroShotSettings:
        """Return the preset of `protocol` and `profile` for the labels of `task`, with
        `overrides`."""
        return resolve(task, protocol, profile, overrides)

    def needs(self, settings: ZeroShotSettings) -> tuple[Annotation[Any], ...]:
        """Return the labels."""
        return (Labels(),)

    def protocols(self) -> tuple[str, ...]:
        """Return the names of the protocol presets."""
        return tuple(PRESETS)

    def metric_names(self, task: TaskSpec, settings: ZeroShotSettings) -> tuple[str, ...]:
        """Return the metrics of these settings."""
        return classification_names(settings.mode)

    def split(
        self, index: pd.DataFrame, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame | None:
        """Return the official split; a dataset that is a test set as a whole stays one."""
        return index if set(index["split"]) == {"test"} else None

    def subset(
        self, train: pd.DataFrame, fraction: float, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame:
        """Return all training rows: nothing is trained on them."""
        return train

    def fit(self, backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Any:
        """Return a `tasks.zero_shot.fit.ZeroShot`; raise SettingError for a backbone without a text
        side."""
        from tasks.zero_shot.fit import fit

        return fit(backbone, val, context)

    def predict(self, predictor: Any, test: Subset, context: CellContext) -> Predictions:
        """Return label, score, probability and decision per image and class."""
        from tasks.zero_shot.fit import predict

        return predict(predictor, test, context)

    def statistics(
        self, predictions: Predictions, task: TaskSpec
    ) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        """Return every metric as a function of resampling weights [R, n]; see
        `bench.metrics.classification`."""
        from bench.metrics.classification import classification_statistics

        return classification_statistics(predictions.table, predictions.extra["mode"])
