"""From index columns to targets: uncertain and missing labels, views, few-shot subsets,
subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.contracts import Subset
from bench.core.errors import DataError
from tasks.classification.settings import ClassificationSettings, Mode

if TYPE_CHECKING:
    import pandas as pd

AGE_BANDS = (0, 40, 60, 80)
GROUPS = ("sex", "view", "scanner")


def keep_views(subset: Subset, views: tuple[str, ...]) -> Subset:
    """Return the images of `views` (all where none is named); raise DataError where the index has
    no views or none is left."""
    if not views:
        return subset
    if "view" not in subset.index:
        raise DataError(
            f"views {', '.join(views)} were asked for and the index has no column 'view'.",
            "Set views= to nothing.",
        )
    rows = np.flatnonzero(subset.index["view"].isin(views))
    if len(subset) and not len(rows):
        found = ", ".join(sorted(map(str, subset.index["view"].unique())))
        raise DataError(
            f"no image has one of the views {', '.join(views)}; found: {found}.", "Change views."
        )
    return subset.take(rows)


def raw_labels(index: pd.DataFrame, labels: tuple[str, ...]) -> np.ndarray:
    """Return the label columns [n, C] as they are (0, 1, -1, NaN); raise DataError for a missing
    column or another value."""
    missing = [name for name in labels if f"label:{name}" not in index]
    if missing:
        known = ", ".join(
            str(c).removeprefix("label:") for c in index.columns if str(c).startswith("label:")
        )
        raise DataError(
            f"the index has no label '{missing[0]}'.", f"Known labels: {known or 'none'}."
        )
    values = np.stack(
        [index[f"label:{name}"].to_numpy(dtype=float, na_value=np.nan) for name in labels], axis=1
    )
    wrong = np.argwhere(~(np.isnan(values) | np.isin(values, (0, 1, -1))))
    if len(wrong):
        row, column = wrong[0]
        image = index["image_id"].iloc[row]
        raise DataError(
            f"label '{labels[column]}' of image '{image}' is {values[row, column]:g}.",
            "0, 1, -1 or blank was expected.",
        )
    return values


def targets(index: pd.DataFrame, settings: ClassificationSettings) -> np.ndarray:
    """Return 0/1 targets [n, C], NaN where a label is ignored; exclusive classes: exactly one 1 per
    row.

    Raise DataError naming the image where exclusive classes do not exclude each other.
    """
    values = raw_labels(index, settings.labels)
    blank = np.isnan(values)
    for c, word in enumerate(settings.uncertain):
        policy = word.rpartition("=")[2]
        values[values[:, c] == -1, c] = {"ones": 1.0, "zeros": 0.0, "ignore": np.nan}[policy]
    if settings.blank == "zeros":
        values[blank] = 0.0
    if settings.mode == "multiclass":
        _check_exclusive(index, values)
    return values


def _check_exclusive(index: pd.DataFrame, values: np.ndarray) -> None:
    wrong = np.flatnonzero((values == 1).sum(axis=1) != 1)
    if len(wrong):
        image, count = index["image_id"].iloc[wrong[0]], int((values[wrong[0]] == 1).sum())
        raise DataError(
            f"{len(wrong)} of {len(index)} images do not have exactly one class, e.g. "
            f"'{image}' has {count}.",
            "Use mode multilabel, or leave them out.",
        )


def check_trainable(values: np.ndarray, settings: ClassificationSettings, split: str) -> list[str]:
    """Return the classes of `values` [n, C] with one label value only; raise DataError where
    nothing can be learned.

    One label (binary), or any of exclusive classes, without an example cannot be learned; of
    multiple labels some may be.
    """
    lonely = [
        name
        for c, name in enumerate(settings.labels)
        if len(set(values[~np.isnan(values[:, c]), c].tolist())) < 2
    ]
    if lonely and (settings.mode != "multilabel" or len(lonely) == len(settings.labels)):
        raise DataError(
            f"the {split} images ({len(values)}) have one label value only for "
            f"{', '.join(lonely)}.",
            "Use a larger label fraction, more shots or another split.",
        )
    return lonely


def few_shot(values: np.ndarray, shots: int, mode: Mode, seed: int) -> np.ndarray:
    """Return the rows of `shots` images per class, in order; nested in `shots`, drawn by `seed`.

    Classes are the positives of every label, and (not exclusive) the images without any positive
    label.
    """
    order = np.random.default_rng([seed, 7]).permutation(len(values))
    members = [values[order, c] == 1 for c in range(values.shape[1])]
    if mode != "multiclass":
        members.append(~(values[order] == 1).any(axis=1))
    return np.unique(np.concatenate([order[np.flatnonzero(member)[:shots]] for member in members]))


def groups(index: pd.DataFrame) -> dict[str, list[str]]:
    """Return the subgroups of every image: sex, view, scanner and age band, "" where unknown; only
    what the index has."""
    found = {
        name: [
            "" if missing else str(value)
            for value, missing in zip(index[name], index[name].isna(), strict=True)
        ]
        for name in GROUPS
        if name in index
    }
    if "age" in index:
        found["age"] = [_band(age) for age in index["age"].astype(float)]
    return {
        name: values
        for name, values in found.items()
        if len({value for value in values if value}) > 1
    }


def _band(age: float) -> str:
    if not age >= 0:
        return ""
    low = max(start for start in AGE_BANDS if start <= age)
    high = next((start - 1 for start in AGE_BANDS if start > low), None)
    return f"{low}+" if high is None else f"{low}-{high}"
