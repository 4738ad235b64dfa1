"""What the metrics of a classification table stand on: its positive and negative images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.contracts import Basis, Predictions

if TYPE_CHECKING:
    import pandas as pd

SHARES = ("auroc", "auprc", "f1", "precision")
"""Ratios that compare positives with negatives."""
_OF_POSITIVES = ("sensitivity", "recall")
_OF_NEGATIVES = ("specificity",)


def classification_basis(predictions: Predictions, metric: str) -> Basis:
    """Return the basis of one metric of a table of predictions; `name:class` is that of one class,
    `name@group=value` that of a subgroup, `name_micro` that of all classes together."""
    table = predictions.table
    if f"value:{metric}" in table:
        values = table[f"value:{metric}"].to_numpy(dtype=float)
        return Basis(labels=np.where(np.isnan(values), np.nan, 1.0))
    name, _, subgroup = metric.partition("@")
    name, _, of_class = name.partition(":")
    classes = [str(label).removeprefix("label:") for label in table if _is_label(label)]
    family = name.removesuffix("_micro")
    if family not in (*SHARES, *_OF_POSITIVES, *_OF_NEGATIVES):
        return Basis(labels=_members(table, subgroup))
    chosen = [of_class] if of_class else classes
    labels = np.stack([table[f"label:{label}"].to_numpy(dtype=float) for label in chosen], axis=1)
    if subgroup:
        labels[np.isnan(_subgroup(table, subgroup))] = np.nan
    if family in _OF_POSITIVES:
        labels = np.where(labels == 1, 1.0, np.nan)
    if family in _OF_NEGATIVES:
        labels = np.where(labels == 0, 1.0, np.nan)
    if name.endswith("_micro"):
        return Basis("share", _any_positive(labels))
    if family in SHARES:
        return Basis("share", labels, tuple(chosen))
    return Basis("mean", labels, tuple(chosen))


def _is_label(column: object) -> bool:
    return str(column).startswith("label:")


def _any_positive(labels: np.ndarray) -> np.ndarray:
    """Return 1 for an image [n] with a positive class, 0 for one with none, NaN for one without a
    label."""
    positive = (labels == 1).any(axis=1).astype(float)
    return np.where(np.isnan(labels).all(axis=1), np.nan, positive)


def _subgroup(table: pd.DataFrame, subgroup: str) -> np.ndarray:
    """Return 1 for the images [n] of `sex=F` and the like, NaN for the others."""
    column, _, value = subgroup.partition("=")
    members = table[f"group:{column}"].astype(str).to_numpy() == value
    return np.where(members, 1.0, np.nan)


def _members(table: pd.DataFrame, subgroup: str) -> np.ndarray | None:
    return _subgroup(table, subgroup) if subgroup else None
