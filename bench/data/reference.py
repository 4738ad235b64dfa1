"""Splits and subsets of a protocol: the corrected default, or what a published procedure did, its
leaks counted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bench.contracts import DATASETS, TaskSpec
from bench.errors import SettingError

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
