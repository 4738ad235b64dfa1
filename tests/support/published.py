"""Splits of published procedures, where a dataset is known to have one."""

from __future__ import annotations

import pandas as pd

from bench.contracts import Dataset


def reference_split(
    dataset: Dataset, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
) -> pd.DataFrame:
    """Return the split of a published procedure."""
    split = dataset.reference_split(index, protocol, seed, kind)
    assert split is not None
    return split


def reference_subset(
    dataset: Dataset,
    train: pd.DataFrame,
    protocol: str,
    fraction: float,
    seed: int,
    kind: str = "",
) -> pd.DataFrame:
    """Return the training images of a published procedure."""
    rows = dataset.reference_subset(train, protocol, fraction, seed, kind)
    assert rows is not None
    return rows
