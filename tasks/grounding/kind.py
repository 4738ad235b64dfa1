"""The grounding task kind: a declaration; its body is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from bench.contracts import Annotation, Body, SubmissionForm, TaskSpec
from bench.data.annotations import Regions, Reports
from bench.data.reference import UntrainedKind
from tasks.grounding.settings import PRESETS, GroundingOptions, GroundingSettings, resolve
from tasks.grounding.truth import Fixations

METRICS = (
    "shuffled_auc",
    "pointing",
    "dice",
    "iou",
    "nss",
    "auc_judd",
    "cnr",
    "cnr_signed",
)
"""All that `statistics` gives, without those of single labels."""


class GroundingKind(UntrainedKind):
    """From a label, a sentence or a phrase to a map of where it is, compared with boxes, masks or
    gaze; nothing is trained."""

    name = "grounding"
    presets = PRESETS
    evaluator_version = 1
    metrics = METRICS
    options = GroundingOptions
    compares_texts = True
    submission = SubmissionForm(
        name="maps",
        path="FILE.npz",
        help="The map of every image and text: an NPZ of maps, images and texts.",
        read=Body("tasks.grounding.submitted:read"),
        thresholds="The height from which on a map, scaled from 0 to 1, is said to answer.",
        not_kept="maps at their full height",
    )
    baselines: ClassVar[Mapping[str, Body]] = {
        "chance": Body("tasks.grounding.fit:fit_chance"),
        "centre_prior": Body("tasks.grounding.fit:fit_centre"),
        "mean_training_map": Body("tasks.grounding.fit:fit_mean"),
    }
    settings = staticmethod(resolve)
    fit: Callable[..., Any] = Body("tasks.grounding.fit:fit")
    predict: Callable[..., Any] = Body("tasks.grounding.fit:predict")
    statistics: Callable[..., Any] = Body("tasks.grounding.metrics:score")
    basis: Callable[..., Any] = Body("tasks.grounding.metrics:basis")
    figure: Callable[..., Any] = Body("tasks.grounding.figures:draw_predictions")

    def needs(self, settings: GroundingSettings) -> tuple[Annotation[Any], ...]:
        """Return the regions; for sentences the reports, and for gaze the fixations too."""
        gaze = settings.source == "gaze"
        of_report: tuple[Annotation[Any], ...] = ()
        if settings.target == "sentence":
            of_report = (Reports(),)
        return (Regions(derived=not gaze), *of_report, *((Fixations(),) if gaze else ()))

    def metric_names(self, task: TaskSpec, settings: GroundingSettings) -> tuple[str, ...]:
        """Return the metrics of these settings."""
        return METRICS
