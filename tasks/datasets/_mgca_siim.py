"""The row-level split of SIIM-ACR in MGCA and GLoRIA, its leaks and incomplete masks
included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def row_level_split(index: pd.DataFrame) -> pd.DataFrame:
    """Split the rows of the table 70/15/15, not its images: an image with several masks may stand
    in several splits.

    Returned: one row per image and split, with only those of its masks (`rle`, `csv_rows`) that
    fell into the split, in the order of first appearance in the shuffled split, on which the
    reference's later random draws depend. As the reference: sklearn `train_test_split` of the rows
    (0.3, random_state 0), the part set aside halved (random_state 0; second half = valid).
    """
    import numpy as np
    import pandas as pd
    from sklearn.model_selection import train_test_split

    rows = sorted(
        (line, image, run)
        for image, lines, runs in zip(*_columns(index), strict=True)
        for line, run in zip(lines, runs, strict=True)
    )
    train, rest = train_test_split(np.arange(len(rows)), test_size=0.3, random_state=0)
    test, val = train_test_split(rest, test_size=0.5, random_state=0)
    parts = [
        _regroup([rows[row] for row in members], index, name)
        for name, members in (("train", train), ("val", val), ("test", test))
    ]
    return pd.concat(parts, ignore_index=True)


def _columns(index: pd.DataFrame) -> tuple[range, list[tuple[int, ...]], list[tuple[str, ...]]]:
    return range(len(index)), index["csv_rows"].tolist(), index["rle"].tolist()


def _regroup(rows: list[tuple[int, int, str]], index: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the images of (line, image, run) rows in order of first appearance, each with its runs
    among them."""
    runs_of: dict[int, list[tuple[int, str]]] = {}
    for line, image, run in rows:
        runs_of.setdefault(image, []).append((line, run))
    images = index.iloc[list(runs_of)].assign(split=split)
    images["rle"] = [tuple(run for _, run in pairs) for pairs in runs_of.values()]
    images["csv_rows"] = [tuple(line for line, _ in pairs) for pairs in runs_of.values()]
    return images


def balanced_subset(train: pd.DataFrame, fraction: float, seed: int) -> pd.DataFrame:
    """Return all positive images and as many negatives, then int(n * fraction) of them, drawn as
    the reference draws.

    The reference draws from numpy's global generator after seeding it with 42 (0 for 10 %); here a
    `RandomState(seed)` of its own makes the same two draws, so that `seed=42` repeats a run in
    which nothing else drew in between. Unlike the default subsets these are not nested. Raise
    DataError where the negatives are too few, or the fraction leaves no image.
    """
    import numpy as np

    random = np.random.RandomState(seed)
    positive = train["label:Pneumothorax"] == 1
    negatives = train.loc[~positive, "image_id"].to_numpy()
    if len(negatives) < positive.sum():
        message = (
            f"{len(negatives)} negative images for {positive.sum()} positive ones; at least as "
            "many were expected."
        )
        raise DataError(message, "Use --protocol default.")
    negative_ids = random.choice(negatives, size=int(positive.sum()), replace=False)
    # positives first, then negatives in the order of the split: the order in which the reference
    # numbers its images
    ids = [
        *train.loc[positive, "image_id"],
        *train.loc[train["image_id"].isin(negative_ids) & ~positive, "image_id"],
    ]
    return train[train["image_id"].isin(_part(np.array(ids, dtype=object), fraction, random))]


def _part(images: np.ndarray, fraction: float, random: np.random.RandomState) -> np.ndarray:
    count = int(len(images) * fraction)
    if count == 0:
        raise DataError(
            f"{fraction:g} of {len(images)} training images is none.",
            "Use a larger fraction, or --protocol default.",
        )
    return images if fraction == 1 else random.choice(images, size=count, replace=False)
