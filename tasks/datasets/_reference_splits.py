"""Splits that MGCA, GLoRIA and BenchX made with scikit-learn, repeated from their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def random_split(index: pd.DataFrame, held_out: int | float) -> pd.DataFrame:
    """Return MGCA's and GLoRIA's split: `held_out` images (or that share) set aside, the first half
    of them test.

    As the reference: images sorted by id, sklearn `train_test_split` with random_state 0, twice,
    not stratified. The rows come back in the reference's order, on which its label fractions
    depend.
    """
    train, rest = _halves(index.sort_values("image_id"), held_out, 0)
    test, val = _halves(rest, 0.5, 0)
    return _joined(train, val, test)


def stratified_split(index: pd.DataFrame, label: Sequence[int] | np.ndarray) -> pd.DataFrame:
    """Return BenchX's split: 70/15/15, stratified on `label` (one per row), random_state 42; the
    first half held out is val."""
    rows = index.assign(_stratum=label).sort_values("image_id")
    train, rest = _halves(rows, 0.3, 42, "_stratum")
    val, test = _halves(rest, 0.5, 42, "_stratum")
    return _joined(train, val, test).drop(columns="_stratum")


def stratified_subset(
    train: pd.DataFrame, fraction: float, label: Sequence[int] | np.ndarray
) -> pd.DataFrame:
    """Return BenchX's training list of one label fraction, drawn from the rows of
    `stratified_split` in their order."""
    if fraction == 1:
        return train
    sample, _ = _halves(train.assign(_stratum=label), 1 - fraction, 42, "_stratum")
    return sample.drop(columns="_stratum")


def chosen_subset(train: pd.DataFrame, fraction: float, seed: int) -> pd.DataFrame:
    """Return MGCA's training rows of one label fraction in detection and segmentation: int(fraction
    * n) drawn at random.

    The reference draws from numpy's global generator, seeded with 42; here from a generator of its
    own with `seed`.
    """
    import numpy as np

    if fraction == 1:
        return train
    count = int(fraction * len(train))
    if not count:
        message = f"{fraction:g} of {len(train)} training images is none."
        raise DataError(message, "Use a larger fraction, or --protocol default.")
    return train.iloc[np.random.RandomState(seed).choice(len(train), size=count, replace=False)]


def _halves(
    rows: pd.DataFrame, held_out: int | float, seed: int, stratify: str = ""
) -> tuple[pd.DataFrame, pd.DataFrame]:
    from sklearn.model_selection import train_test_split

    try:
        return train_test_split(
            rows,
            test_size=held_out,
            random_state=seed,
            stratify=rows[stratify] if stratify else None,
        )
    except ValueError as error:
        raise DataError(
            f"{len(rows)} images cannot be split as the reference does: {error}",
            "Use --protocol default.",
        ) from error


def _joined(train: pd.DataFrame, val: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    parts = zip(("train", "val", "test"), (train, val, test), strict=True)
    return pd.concat([rows.assign(split=name) for name, rows in parts], ignore_index=True)


def stratified_validation(index: pd.DataFrame, label: str) -> pd.DataFrame:
    """Return BenchX's split of a dataset with an official test: as many of train as test has are
    val, stratified on `label`; where that is more than half of train (a demo), a third of it."""
    rows = index.sort_values("image_id")
    official, test = (rows[rows["split"] == name] for name in ("train", "test"))
    held_out = len(test) if 2 * len(test) <= len(official) else len(official) // 3
    train, val = _halves(official, held_out, 42, label)
    return _joined(train, val, test)


def ordered_validation(train: pd.DataFrame, test: pd.DataFrame, held_out: float) -> pd.DataFrame:
    """Return MGCA's split of a dataset with a test of its own: `held_out` of the rows of train, in
    their order, are val."""
    remaining, val = _halves(train, held_out, 0)
    return _joined(remaining, val, test)
