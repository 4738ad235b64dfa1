"""Splits and subsets of a protocol: the corrected default, or what a published procedure did, its
leaks counted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bench.contracts import DATASETS, TaskKind, TaskSpec
from bench.core.errors import SettingError

if TYPE_CHECKING:
    import pandas as pd

_logger = logging.getLogger(__name__)


def reference_split(index: pd.DataFrame, task: TaskSpec, protocol: str, seed: int) -> pd.DataFrame:
    """Return the split `protocol` made of the task's dataset; its leaks are counted in a warning.

    Raise SettingError where the dataset has none of that protocol.
    """
    from bench.data.splits import check_leaks

    split = DATASETS.get(task.dataset).reference_split(index, protocol, seed, task.kind)
    if split is None:
        raise SettingError(
            f"dataset '{task.dataset}' has no '{protocol}' split.",
            "Use --protocol default, or a task of that protocol.",
        )
    leaks = check_leaks(split, allow=True)
    if leaks:
        _logger.warning(
            "%s, protocol %s: %s Use protocol default for a fair test.", task.name, protocol, leaks
        )
    return split


def reference_subset(
    train: pd.DataFrame, task: TaskSpec, protocol: str, fraction: float, seed: int
) -> pd.DataFrame | None:
    """Return the training rows `protocol` uses at one label fraction, or None where it has no rule
    of its own."""
    if protocol == "default":
        return None
    return DATASETS.get(task.dataset).reference_subset(train, protocol, fraction, seed, task.kind)


class TrainedKind(TaskKind):
    """A kind whose head is trained: under a published protocol its split and its training rows are
    the dataset's own."""

    def split(
        self, index: pd.DataFrame, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame | None:
        """Return None for the default split, or under a reference protocol that reference's own,
        its leaks counted in a warning."""
        if protocol == "default":
            return None
        return reference_split(index, task, protocol, seed)

    def subset(
        self, train: pd.DataFrame, fraction: float, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame | None:
        """Return the training rows of one label fraction; a reference protocol may have a rule of
        its own."""
        rows = reference_subset(train, task, protocol, fraction, seed)
        return self.own_subset(train, fraction, task, seed) if rows is None else rows

    def own_subset(
        self, train: pd.DataFrame, fraction: float, task: TaskSpec, seed: int
    ) -> pd.DataFrame | None:
        """Return the training rows of one label fraction where no protocol has a rule; None for
        the default."""
        return None


class UntrainedKind(TaskKind):
    """A kind that learns nothing from training images; a dataset may be a test set as a whole."""

    trained = False

    def split(
        self, index: pd.DataFrame, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame | None:
        """Return the index of a dataset that is a test set as a whole; None for the default."""
        return index if set(index["split"]) == {"test"} else None

    def subset(
        self, train: pd.DataFrame, fraction: float, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame:
        """Return all training rows: nothing is trained on them."""
        return train


def split_for(
    kind: TaskKind, index: pd.DataFrame, task: TaskSpec, protocol: str, seed: int = 0
) -> pd.DataFrame:
    """Return the split of a task's kind, or the default where the kind has none of its own: the
    official split, else 70/15/15 by patient."""
    from bench.data.splits import default_split

    split = kind.split(index, task, protocol, seed)
    return default_split(index, seed=0) if split is None else split


def validation_for(val: pd.DataFrame, fraction: float, seed: int) -> pd.DataFrame:
    """Return the validation rows of the patients that one label fraction leaves: nested, stratified
    on the first label, all of them at 1."""
    from bench.data.splits import first_label, label_subset

    if val.empty:
        return val
    return label_subset(val, fraction, seed, first_label(val), by="patient")


def subset_for(
    kind: TaskKind, train: pd.DataFrame, fraction: float, task: TaskSpec, protocol: str, seed: int
) -> pd.DataFrame:
    """Return the training rows of one label fraction by a task's kind, or by default nested and
    stratified on the first label, never empty."""
    from bench.data.splits import first_label, label_subset

    rows = kind.subset(train, fraction, task, protocol, seed)
    if rows is not None:
        return rows
    return label_subset(train, fraction, seed=seed, stratify=first_label(train))
