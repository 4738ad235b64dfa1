"""What the classification metrics are called; to be asked before anything is computed. Imports no
numpy."""

from __future__ import annotations

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
