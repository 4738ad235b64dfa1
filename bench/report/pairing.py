"""Results of one table are paired image by image: by their ids, never by their row numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.contracts import Predictions
from bench.metrics.bootstrap import Statistic

if TYPE_CHECKING:
    import pandas as pd

Row = tuple[str, str, int]
"""Image, patient, and how often the image stood before (a published split may repeat one)."""


@dataclass(frozen=True)
class Result:
    """A record with its predictions."""

    record: Mapping[str, Any]
    predictions: Predictions


@dataclass(frozen=True)
class Aligned:
    """A result of the images in `images`, which all results of a table share; its own row r is row
    `order[r]` there (None: it has these rows in their order)."""

    record: Mapping[str, Any]
    predictions: Predictions
    images: pd.DataFrame
    order: np.ndarray | None

    def in_order(self, statistic: Statistic) -> Statistic:
        """Return a statistic of this result as a function of weights in the order of `images`."""
        order = self.order
        if order is None:
            return statistic
        return lambda weights: statistic(weights[:, order])


def row_ids(table: pd.DataFrame) -> list[Row]:
    """Return what each row of a table of predictions stands for."""
    images = table["image_id"].astype(str).tolist()
    patients = table["patient_id"].astype(str).tolist()
    before: Counter[str] = Counter()
    rows = []
    for image, patient in zip(images, patients, strict=True):
        rows.append((image, patient, before[image]))
        before[image] += 1
    return rows


def align(results: Sequence[Result]) -> tuple[list[Aligned], list[str]]:
    """Return the results of the images that most of them have, and a sentence for every other one.

    Rows in another order are brought into that of the first result.
    """
    rows = [row_ids(result.predictions.table) for result in results]
    counts = Counter(frozenset(ids) for ids in rows)
    images = counts.most_common(1)[0][0]  # of equal counts the one that comes first
    first = next(number for number, ids in enumerate(rows) if frozenset(ids) == images)
    number_of = {row: number for number, row in enumerate(rows[first])}
    table = results[first].predictions.table
    aligned = []
    reasons = []
    for result, ids in zip(results, rows, strict=True):
        if frozenset(ids) != images:
            reasons.append(_reason(result, ids, images))
            continue
        order = None if ids == rows[first] else np.array([number_of[row] for row in ids])
        aligned.append(Aligned(result.record, result.predictions, table, order))
    return aligned, reasons


def _reason(result: Result, rows: Sequence[Row], images: frozenset[Row]) -> str:
    other = sum(row not in images for row in rows)
    absent = len(images - set(rows))
    return (
        f"{result.record['title']}: its predictions are of other images or patients than those of "
        f"the rows beside it ({other} that they lack, {absent} that it lacks). Run it again with "
        "--force."
    )
