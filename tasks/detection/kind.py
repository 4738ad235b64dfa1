"""The detection task kind: a declaration; its body is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from bench.contracts import Annotation, Body, NoOptions, Profile, Scaling, SubmissionForm, TaskSpec
from bench.data.annotations import Boxes
from bench.data.reference import TrainedKind
from bench.training.end_to_end import end_to_end
from tasks.detection.settings import PRESETS, DetectionSettings

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
    "image_auroc",
    "image_sensitivity",
    "image_specificity",
    "rsna_score",
)
"""All that `statistics` gives, without those of single classes."""


class DetectionKind(TrainedKind):
    """Boxes with a class and a score; scored by average precision and FROC over all images, healthy
    ones included."""

    name = "detection"
    presets = PRESETS
    evaluator_version = 2
    scaling: ClassVar[Mapping[str, Scaling]] = {"mgca": "mgca"}
    metrics = (
        "map_rsna",
        "map",
        "ap50",
        "ar",
        "froc",
        "froc_1",
        "image_auroc",
        "image_sensitivity",
        "image_specificity",
    )
    baselines: ClassVar[Mapping[str, Body]] = {
        "frequent_boxes": Body("tasks.detection.fit:fit_frequent")
    }
    options = NoOptions
    submission = SubmissionForm(
        name="boxes",
        path="FILE.json",
        suffix=".json",
        help="A JSON of COCO results: a list of image_id, category_id, bbox and score.",
        read=Body("tasks.detection.submitted:read"),
        write=Body("tasks.detection.submitted:write"),
        thresholds="The score from which on a box marks its image.",
    )
    fit: Callable[..., Any] = Body("tasks.detection.fit:fit")
    predict: Callable[..., Any] = Body("tasks.detection.fit:predict")
    statistics: Callable[..., Any] = Body("tasks.detection.metrics:score")
    basis: Callable[..., Any] = Body("tasks.detection.basis:basis")
    figure: Callable[..., Any] = Body("tasks.detection.figures:draw_predictions")

    def needs(self, settings: DetectionSettings) -> tuple[Annotation[Any], ...]:
        """Return the boxes."""
        return (Boxes(),)

    def end_to_end(self, settings: DetectionSettings, profile: Profile) -> DetectionSettings:
        """Return the settings of training encoder and detector together."""
        return end_to_end(settings, profile)

    def metric_names(self, task: TaskSpec, settings: DetectionSettings) -> tuple[str, ...]:
        """Return the metrics of these settings."""
        return (*METRICS, "map_mgca") if settings.mgca_filter else METRICS
