"""From index columns to targets: uncertain and missing labels, few-shot subsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.contracts import Subset
from bench.core.errors import DataError
from tasks.labelling.settings import Mode, TargetSettings
from tasks.labelling.views import keep_views

if TYPE_CHECKING:
    import pandas as pd


_TAKEN_FOR = {"ones": 1.0, "zeros": 0.0, "ignore": np.nan}
"""What each policy makes of an uncertain label."""


@dataclass(frozen=True)
class Labelled:
    """Images with their targets [n, C]."""

    subset: Subset
    values: np.ndarray


def labelled(subset: Subset, settings: TargetSettings, what: str) -> Labelled:
    """Return the images of the wanted views with their targets; raise DataError where none is
    left."""
    images = keep_views(subset, settings.views)
    if not len(images):
        raise DataError(f"there is no {what} image.", "Use a larger label fraction or more data.")
    return Labelled(images, targets(images.index, settings))


def raw_labels(index: pd.DataFrame, labels: tuple[str, ...]) -> np.ndarray:
    """Return the label columns [n, C] as they are (0, 1, -1, NaN); raise DataError for a missing
    column or another value."""
    missing = [name for name in labels if f"label:{name}" not in index]
    if missing:
        label_names = ", ".join(
            str(c).removeprefix("label:") for c in index.columns if str(c).startswith("label:")
        )
        raise DataError(
            f"the index has no label '{missing[0]}'.", f"Known labels: {label_names or 'none'}."
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


def targets(index: pd.DataFrame, settings: TargetSettings) -> np.ndarray:
    """Return 0/1 targets [n, C], NaN where a label is ignored; exclusive classes: exactly one 1 per
    row.

    Raise DataError naming the image where exclusive classes do not exclude each other.
    """
    values = raw_labels(index, settings.labels)
    blank = np.isnan(values)
    for c, word in enumerate(settings.uncertain):
        policy = word.rpartition("=")[2]
        uncertain = values[:, c] == -1
        values[uncertain, c] = _TAKEN_FOR[policy]
    if settings.blank == "zeros":
        values[blank] = 0.0
    if settings.mode == "multiclass":
        _check_exclusive(index, values)
    return values


def _check_exclusive(index: pd.DataFrame, values: np.ndarray) -> None:
    wrong = np.flatnonzero((values == 1).sum(axis=1) != 1)
    if len(wrong):
        image = index["image_id"].iloc[wrong[0]]
        count = int((values[wrong[0]] == 1).sum())
        raise DataError(
            f"{len(wrong)} of {len(index)} images do not have exactly one class, e.g. "
            f"'{image}' has {count}.",
            "Use mode multilabel, or leave them out.",
        )


def check_trainable(values: np.ndarray, settings: TargetSettings, split: str) -> list[str]:
    """Return the classes of `values` [n, C] with one label value only; raise DataError where
    nothing can be learned.

    One label (binary), or any of exclusive classes, without an example cannot be learned; of
    multiple labels some may be.
    """
    one_valued = [
        name
        for c, name in enumerate(settings.labels)
        if len(set(values[~np.isnan(values[:, c]), c].tolist())) < 2
    ]
    if one_valued and (settings.mode != "multilabel" or len(one_valued) == len(settings.labels)):
        raise DataError(
            f"the {split} images ({len(values)}) have one label value only for "
            f"{', '.join(one_valued)}.",
            "Use a larger label fraction, more shots or another split.",
        )
    return one_valued


def few_shot(values: np.ndarray, shots: int, mode: Mode, seed: int) -> np.ndarray:
    """Return the rows of `shots` images per class, in order; nested in `shots`, drawn by `seed`.

    Classes are the positives of every label, and (not exclusive) the images without any positive
    label.
    """
    order = np.random.default_rng([seed, 7]).permutation(len(values))
    members = [values[order, c] == 1 for c in range(values.shape[1])]
    if mode != "multiclass":
        members.append(~(values[order] == 1).any(axis=1))
    rows = [order[np.flatnonzero(member)[:shots]] for member in members]
    return np.unique(np.concatenate(rows))
