"""The segmentation task kind: a declaration; its body is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from bench.contracts import Annotation, Body, NoOptions, Profile, Scaling, SubmissionForm, TaskSpec
from bench.data.annotations import Masks
from bench.data.reference import TrainedKind
from bench.training.end_to_end import end_to_end
from tasks.segmentation.settings import PRESETS, SegmentationSettings

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
    "image_auroc",
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
    presets = PRESETS
    evaluator_version = 2
    scaling: ClassVar[Mapping[str, Scaling]] = {"mgca": "mgca", "gloria": "mgca"}
    metrics = (
        "dice_global",
        "dice_positive",
        "image_auroc",
        "image_specificity",
        "dice_per_image",
        "mdice",
        "surface_dice",
        "hd95",
        "image_sensitivity",
    )
    published_metrics: ClassVar[Mapping[str, str]] = {
        protocol: "dice_per_image" for protocol in PRESETS if protocol != "default"
    }
    baselines: ClassVar[Mapping[str, Body]] = {
        "prior_mask": Body("tasks.segmentation.fit:fit_prior")
    }
    lower_is_better = ("hd95*",)
    options = NoOptions
    submission = SubmissionForm(
        name="masks",
        path="FOLDER",
        help="A folder with a PNG per image, IMAGE_ID.png; of several classes one folder each.",
        read=Body("tasks.segmentation.submitted:read"),
        write=Body("tasks.segmentation.submitted:write"),
    )
    fit: Callable[..., Any] = Body("tasks.segmentation.fit:fit")
    predict: Callable[..., Any] = Body("tasks.segmentation.fit:predict")
    statistics: Callable[..., Any] = Body("tasks.segmentation.metrics:score")
    basis: Callable[..., Any] = Body("tasks.segmentation.basis:basis")
    figure: Callable[..., Any] = Body("tasks.segmentation.figures:draw_predictions")

    def needs(self, settings: SegmentationSettings) -> tuple[Annotation[Any], ...]:
        """Return the masks."""
        return (Masks(),)

    def end_to_end(self, settings: SegmentationSettings, profile: Profile) -> SegmentationSettings:
        """Return the settings of training encoder and decoder together."""
        return end_to_end(settings, profile)

    def metric_names(self, task: TaskSpec, settings: SegmentationSettings) -> tuple[str, ...]:
        """Return the metrics of these settings."""
        return (*METRICS, "dice_batch_mean") if settings.batch_mean else METRICS
