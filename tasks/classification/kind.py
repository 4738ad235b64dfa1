"""The classification task kind: a declaration; its body is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from bench.contracts import Annotation, Body, Profile, Scaling, TaskSpec
from bench.core.registry import Registry
from bench.data.annotations import Labels
from bench.data.reference import TrainedKind
from bench.metrics.names import classification_names, gap_names
from tasks.classification.areas import Areas
from tasks.classification.regularizers import REGULARIZERS
from tasks.classification.settings import PRESETS, ClassificationSettings, end_to_end, resolve
from tasks.labelling.policies import LabelOptions, task_labels
from tasks.labelling.probabilities import PROBABILITIES

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("auroc@part=same", "auroc@part=unlinked", "auroc@part=reversed", "auroc_gap")
"""What tells whether a shortcut of the training images was taken: see the dataset `marker`."""
SALIENCY_METRICS = ("deletion_auc", "insertion_auc", "pointing", "saliency_iou", "energy_inside")


class ClassificationKind(TrainedKind):
    """One or several findings per image; scored by ranking, by decisions at thresholds from
    validation, and by calibration."""

    name = "classification"
    presets = PRESETS
    evaluator_version = 1
    scaling: ClassVar[Mapping[str, Scaling]] = {"mgca": "mgca", "gloria": "mgca"}
    metrics = (
        "auroc",
        "auprc",
        "accuracy",
        "balanced_accuracy",
        "f1",
        "sensitivity",
        "specificity",
        "precision",
        "mcc",
        "brier",
        "ece",
        *PARTS,
        *SALIENCY_METRICS,
    )
    lower_is_better = ("brier*", "ece*", "deletion_auc", "auroc_gap")
    options = LabelOptions
    choices: ClassVar[Mapping[str, Registry[Any]]] = {"regularizer": REGULARIZERS}
    settings = staticmethod(resolve)
    submission = PROBABILITIES
    fit: Callable[..., Any] = Body("tasks.classification.fit:fit")
    predict: Callable[..., Any] = Body("tasks.classification.fit:predict")
    statistics: Callable[..., Any] = Body("bench.metrics.classification:score")
    basis: Callable[..., Any] = Body("bench.metrics.classification_basis:classification_basis")

    def needs(self, settings: ClassificationSettings) -> tuple[Annotation[Any], ...]:
        """Return the labels, and where they are if saliency is measured."""
        return (Labels(), Areas(settings.labels)) if settings.saliency_metrics else (Labels(),)

    def metric_names(self, task: TaskSpec, settings: ClassificationSettings) -> tuple[str, ...]:
        """Return the metrics of these settings."""
        measured = SALIENCY_METRICS if settings.saliency_metrics else ()
        return (*classification_names(settings.mode), *gap_names(task), *measured)

    def end_to_end(
        self, settings: ClassificationSettings, profile: Profile
    ) -> ClassificationSettings:
        """Return the settings of fine-tuning from random weights."""
        return end_to_end(settings, profile)

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
        sample = label_subset(
            train.assign(**{"label:": classes}), fraction, seed=seed, stratify="label:"
        )
        return train.loc[sample.index]
