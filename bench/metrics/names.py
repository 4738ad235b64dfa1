"""What the classification metrics are called; to be asked before anything is computed. Imports no
numpy."""

from __future__ import annotations

from bench.contracts import TaskSpec

_RANKED = ("auroc", "auprc")
_DECIDED = ("accuracy", "f1", "specificity", "precision", "mcc")
_PROBABLE = ("brier", "ece", "ece_uncalibrated")
_MICRO = ("auroc_micro", "auprc_micro", "f1_micro", "precision_micro", "recall_micro")


def classification_names(mode: str) -> tuple[str, ...]:
    """Return the names of `classification_statistics` for `binary`, `multilabel` or `multiclass`,
    without those of single classes and subgroups."""
    common = (*_RANKED, *_DECIDED, *_PROBABLE)
    if mode == "binary":
        return (*common, "sensitivity")
    if mode == "multilabel":
        return (*common, "sensitivity", "undefined_classes", *_MICRO)
    return (*common, "balanced_accuracy", "undefined_classes", "auroc_micro")


def gap_names(task: TaskSpec) -> tuple[str, ...]:
    """Return the metrics of the difference between two subgroups that a task names in its option
    `gap`: (column, one, other)."""
    return ("auroc_gap",) if task.options.get("gap") else ()
