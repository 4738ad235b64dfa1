"""The detection task kind: what the engine asks of it; the body is imported when first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.contracts import (
    Annotation,
    Backbone,
    CellContext,
    NoOptions,
    Predictions,
    Profile,
    Scaling,
    Subset,
    TaskSpec,
)
from bench.data.annotations import Boxes
from bench.data.reference import TrainedKind
from tasks.detection.settings import PRESETS, DetectionSettings, resolve

if TYPE_CHECKING:
    import numpy as np


METRICS = (
    "map",
    "map_rsna",
    "ap40",
    "ap50",
    "ar",
    "froc",
    "froc_0.125",
    "froc_0.25",
    "froc_0.5",
    "froc_1",
    "froc_2",
    "froc_4",
    "froc_8",
    "rsna_score",
)
"""All that `statistics` gives, without those of single classes."""


class DetectionKind(TrainedKind):
    """Boxes with a class and a score; scored by average precision and FROC over all images, healthy
    ones included."""

    name = "detection"
    evaluator_version = 2
    scaling: ClassVar[Mapping[str, Scaling]] = {"mgca": "mgca"}
    metrics = ("map_rsna", "map", "ap50", "ar", "froc")
    baselines: ClassVar[Mapping[str, str]] = {"frequent_boxes": "tasks.detection.fit:fit_frequent"}
    options = NoOptions

    def settings(
        self, task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
    ) -> DetectionSettings:
        """Return the preset of `protocol` and `profile` with `overrides`."""
        return resolve(protocol, profile, overrides)

    def needs(self, settings: DetectionSettings) -> tuple[Annotation[Any], ...]:
        """Return the boxes."""
        return (Boxes(),)

    def protocols(self) -> tuple[str, ...]:
        """Return the names of the protocol presets."""
        return tuple(PRESETS)

    def metric_names(self, task: TaskSpec, settings: DetectionSettings) -> tuple[str, ...]:
        """Return the metrics of these settings."""
        return (*METRICS, "map_mgca") if settings.mgca_filter else METRICS

    def fit(self, backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Any:
        """Train the detector; return a `tasks.detection.fit.Finder`."""
        from tasks.detection.fit import fit

        return fit(backbone, train, val, context)

    def predict(self, predictor: Any, test: Subset, context: CellContext) -> Predictions:
        """Return the detections of every image, and which true box each one hits at which IoU."""
        from tasks.detection.fit import predict

        return predict(predictor, test, context)

    def statistics(
        self, predictions: Predictions, task: TaskSpec
    ) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        """Return every metric as a function of resampling weights [R, n]."""
        from tasks.detection.metrics import statistics

        return statistics(predictions)

    def figure(
        self, task: TaskSpec, test: Subset, predictions: Mapping[str, Predictions], out: Path
    ) -> Path | None:
        """Draw each method's best, median and worst images with boxes and scores, and the PR and
        FROC curves."""
        from tasks.detection.figures import draw_predictions

        return draw_predictions(test, predictions, out)
