"""The statistics of a table of values per image and label, which `bench.metrics.maps` gave."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.contracts import Basis, Predictions, TaskSpec
from bench.metrics.weights import (
    OnSomeImages,
    Statistic,
    mean_of_defined,
    mean_of_known,
    ratio,
    weighted_sums,
)
from tasks.grounding.kind import METRICS

if TYPE_CHECKING:
    import pandas as pd

CANDIDATE = "candidate:"
SHUFFLED = "shuffled_auc"
_DIGITS = 9
"""Beyond them is the order of summation: all maps that are the same for every image tie."""


def score(predictions: Predictions, task: TaskSpec) -> Mapping[str, Statistic]:
    """Return the metrics of what was kept of the test images."""
    return statistics(predictions.table)


def statistics(table: pd.DataFrame) -> Mapping[str, Statistic]:
    """Return name -> f(weights [R, n]) -> [R] for a table of values per image.

    Columns `<metric>:<label>` hold an image's mean over its regions of that label, NaN where it has
    none: a metric is the mean over images, and without a label the mean over labels. An image is
    also one of the others of `shuffled_auc` (columns `candidate:`), to the first order.
    """
    functions: dict[str, Statistic] = {}
    labels = labels_of(table)
    for metric in METRICS:
        if labels and f"{metric}:{labels[0]}" not in table:
            continue  # dice and iou of maps from elsewhere, where nobody said where they are cut
        of_labels = {label: _statistic(table, metric, label) for label in labels}
        functions[metric] = _all(list(of_labels.values()), table, metric, labels)
        if len(labels) > 1:
            functions |= {f"{metric}:{label}": each for label, each in of_labels.items()}
    return functions


def labels_of(table: pd.DataFrame) -> list[str]:
    """Return the labels of a table, in its order."""
    prefix = f"{SHUFFLED}:"
    return [str(name).removeprefix(prefix) for name in table if str(name).startswith(prefix)]


def _statistic(table: pd.DataFrame, metric: str, label: str) -> Statistic:
    values = table[f"{metric}:{label}"].to_numpy(dtype=float)
    count = int(np.isfinite(values).sum())
    if metric == SHUFFLED:
        effects = table[f"{CANDIDATE}{metric}:{label}"].to_numpy(dtype=float)
        return _on_some(partial(_mean_of_both, values, effects), count, len(values))
    return _on_some(partial(mean_of_known, values), count, len(values))


def _all(
    of_labels: list[Statistic], table: pd.DataFrame, metric: str, labels: list[str]
) -> Statistic:
    """Return the mean over labels; it stands on the images that have any."""
    if len(of_labels) == 1:
        return of_labels[0]
    columns = table[[f"{metric}:{label}" for label in labels]].to_numpy(dtype=float)
    count = int(np.isfinite(columns).any(axis=1).sum())
    return _on_some(partial(mean_of_defined, of_labels), count, len(table))


def _on_some(function: Statistic, count: int, images: int) -> Statistic:
    return function if count == images else OnSomeImages(function, count)


def _mean_of_both(values: np.ndarray, effects: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of the values that are defined, and what the images that are drawn change as
    the others."""
    defined = np.isfinite(values)
    if not defined.any():
        return np.full(len(weights), np.nan)
    centred = effects[defined] - effects[defined].mean()
    rows = np.stack([values[defined] + centred, np.ones(int(defined.sum()))], axis=1)
    sums = weighted_sums(rows, weights[:, defined])
    return ratio(sums[:, 0], sums[:, 1]).round(_DIGITS)


def basis(predictions: Predictions, metric: str) -> Basis:
    """Return the basis of one metric, `name:label` is that of one label: the images in which it is
    defined."""
    table = predictions.table
    name, _, label = metric.partition(":")
    chosen = [label] if label else labels_of(table)
    values = table[[f"{name}:{each}" for each in chosen]].to_numpy(dtype=float)
    return Basis("mean", np.where(np.isfinite(values), 1.0, np.nan), tuple(chosen))
