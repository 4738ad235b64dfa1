"""The zero-shot task kind: a declaration; its body is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from bench.contracts import Annotation, Body, Scaling, TaskSpec
from bench.core.registry import Registry
from bench.data.annotations import Labels
from bench.data.reference import UntrainedKind
from bench.metrics.names import classification_names
from tasks.labelling.policies import LabelOptions
from tasks.labelling.probabilities import PROBABILITIES
from tasks.zero_shot.inference import INFERENCES
from tasks.zero_shot.settings import PRESETS, ZeroShotSettings, resolve


class ZeroShotKind(UntrainedKind):
    """Classification by prompts, nothing trained; thresholds (classes not exclusive) and
    temperature from validation."""

    name = "zero_shot"
    presets = PRESETS
    evaluator_version = 1
    scaling: ClassVar[Mapping[str, Scaling]] = {"gloria": "mgca"}
    metrics = ("accuracy", "f1", "auroc", "auprc", "balanced_accuracy", "mcc")
    baselines: ClassVar[Mapping[str, Body]] = {
        "random_order": Body("tasks.zero_shot.fit:fit_random_order")
    }
    options = LabelOptions
    choices: ClassVar[Mapping[str, Registry[Any]]] = {"inference": INFERENCES}
    compares_texts = True
    settings = staticmethod(resolve)
    submission = PROBABILITIES
    fit: Callable[..., Any] = Body("tasks.zero_shot.fit:fit")
    predict: Callable[..., Any] = Body("tasks.zero_shot.fit:predict")
    statistics: Callable[..., Any] = Body("bench.metrics.classification:score")
    basis: Callable[..., Any] = Body("bench.metrics.classification_basis:classification_basis")

    def needs(self, settings: ZeroShotSettings) -> tuple[Annotation[Any], ...]:
        """Return the labels."""
        return (Labels(),)

    def metric_names(self, task: TaskSpec, settings: ZeroShotSettings) -> tuple[str, ...]:
        """Return the metrics of these settings."""
        return classification_names(settings.mode)
