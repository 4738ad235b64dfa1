"""The segmentation task kind: what the engine asks of it; the body is imported when first
needed."""

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
from bench.data.annotations import Masks
from bench.data.reference import TrainedKind
from tasks.segmentation.settings import PRESETS, SegmentationSettings, resolve

if TYPE_CHECKING:
    import numpy as np


METRICS = (
    "dice_per_image",
    "dice_global",
    "iou",
    "iou_per_image",
    "dice_positive",
    "mdice",
    "mdice_per_image",
    "miou",
    "dice_small",
    "dice_medium",
    "dice_large",
    "image_sensitivity",
    "image_specificity",
    "hd95",
    "surface_dice",
)
"""All that `statistics` gives, without those of single classes."""


class SegmentationKind(TrainedKind):
    """One mask per class and image, several may overlap; scored by overlap, boundary and decision
    per image."""

    name = "segmentation"
    evaluator_version = 2
    scaling: ClassVar[Mapping[str, Scaling]] = {"mgca": "mgca", "gloria": "mgca"}
    metrics = (
        "dice_per_image",
        "dice_positive",
        "dice_global",
        "mdice",
        "surface_dice",
        "hd95",
        "image_sensitivity",
        "image_specificity",
    )
    baselines: ClassVar[Mapping[str, str]] = {"prior_mask": "tasks.segmentation.fit:fit_prior"}
    lower_is_better = ("hd95*",)
    options = NoOptions

    def settings(
        self, task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
    ) -> SegmentationSettings:
        """Return the preset of `protocol` and `profile` with `overrides`."""
        return resolve(protocol, profile, overrides)

    def needs(self, settings: SegmentationSettings) -> tuple[Annotation[Any], ...]:
        """Return the masks."""
        return (Masks(),)

    def protocols(self) -> tuple[str, ...]:
        """Return the names of the protocol presets."""
        return tuple(PRESETS)

    def metric_names(self, task: TaskSpec, settings: SegmentationSettings) -> tuple[str, ...]:
        """Return the metrics of these settings."""
        return (*METRICS, "dice_batch_mean") if settings.batch_mean else METRICS

    def fit(self, backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Any:
        """Train the head; return a `tasks.segmentation.fit.Segmenter`."""
        from tasks.segmentation.fit import fit

        return fit(backbone, train, val, context)

    def predict(self, predictor: Any, test: Subset, context: CellContext) -> Predictions:
        """Return pixel counts and boundary distances per image and class, and the masks packed to
        bits."""
        from tasks.segmentation.fit import predict

        return predict(predictor, test, context)

    def statistics(
        self, predictions: Predictions, task: TaskSpec
    ) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        """Return every metric as a function of resampling weights [R, n]."""
        from tasks.segmentation.metrics import statistics

        return statistics(predictions.table)

    def figure(
        self, task: TaskSpec, test: Subset, predictions: Mapping[str, Predictions], out: Path
    ) -> Path | None:
        """Draw each method's best, median and worst images with what it marked, and Dice against
        the size of the true mask."""
        from tasks.segmentation.figures import draw_predictions

        return draw_predictions(test, predictions, out)
