"""Every metric of a classification table as a function of resampling weights, for classes, their
mean and subgroups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.metrics import counting
from bench.metrics.decision import sigmoid
from bench.metrics.ranking import auroc, average_precision, rank
from bench.metrics.weights import Named, Once, Statistic, mean_of_defined, weighted_mean

if TYPE_CHECKING:
    import pandas as pd

Mode = Literal["binary", "multiclass", "multilabel"]
ClassStatistics = Mapping[str, Statistic]
COUNTED: Mapping[str, Callable[[counting.Confusion], np.ndarray]] = {
    "accuracy": counting.accuracy,
    "f1": counting.f1,
    "sensitivity": counting.sensitivity,
    "specificity": counting.specificity,
    "precision": counting.precision,
    "mcc": counting.mcc,
}
SUBGROUP_METRICS: Mapping[str, tuple[str, ...]] = {
    "binary": ("auroc", "sensitivity", "specificity"),
    "multilabel": ("auroc", "sensitivity", "specificity"),
    "multiclass": ("auroc", "accuracy"),
}


def classification_statistics(table: pd.DataFrame, mode: Mode) -> dict[str, Statistic]:
    """Return name -> f(weights [R, n]) -> [R] for a table of predictions.

    Columns per class c: `label:c` (0/1, NaN = not scored), `score:c` (logit; multiclass: log
    probability, both as the head gave them), `prob:c` (calibrated probability), `pred:c` (0/1
    decision), where there is one `above:c` (the decision that accuracy alone is counted on);
    `group:<what>` names the subgroup of an image ("" unknown). Names: `auroc` (mean over classes
    where there are several), `auroc:<class>`, `auroc_micro`, `auroc@sex=F`. A class with one label
    value has no AUROC: its own metric is NaN, the mean is over the others and `undefined_classes`
    counts it.
    """
    classes = [str(name).removeprefix("label:") for name in table if str(name).startswith("label:")]
    found = _all(table, classes, mode)
    for column in (str(name) for name in table if str(name).startswith("group:")):
        found |= _subgroups(table, classes, mode, column)
    return found


def _all(table: pd.DataFrame, classes: list[str], mode: Mode) -> dict[str, Statistic]:
    if mode == "multiclass":
        return _multiclass(table, classes)
    each = {name: _one_class(table, name) for name in classes}
    if mode == "binary":
        return dict(each[classes[0]])
    return _macro(each) | _micro(table, classes)


def _column(table: pd.DataFrame, kind: str, name: str) -> np.ndarray:
    return table[f"{kind}:{name}"].to_numpy(dtype=float)


def _one_class(table: pd.DataFrame, name: str) -> dict[str, Statistic]:
    """Return the metrics of one class; images whose label is not known are left out."""
    rows = np.flatnonzero(~np.isnan(_column(table, "label", name)))
    label, score, prob, pred = (
        _column(table, kind, name)[rows] for kind in ("label", "score", "prob", "pred")
    )
    found = {
        **_ranked(score, label),
        **_decided(pred, label),
        **_probable(prob, sigmoid(score), label),
    }
    if f"above:{name}" in table:
        above = _column(table, "above", name)[rows]
        found["accuracy"] = _decided(above, label)["accuracy"]
    return found if len(rows) == len(table) else _restricted(found, rows)


def _ranked(score: np.ndarray, label: np.ndarray) -> dict[str, Statistic]:
    return {
        "auroc": Once(lambda weights: auroc(rank(score, label), weights)),
        "auprc": Once(lambda weights: average_precision(rank(score, label), weights)),
    }


def _decided(pred: np.ndarray, label: np.ndarray) -> dict[str, Statistic]:
    counts = Once(lambda weights: counting.confusion(pred, label, weights))
    return {name: partial(_from_counts, function, counts) for name, function in COUNTED.items()}


def _from_counts(
    function: Callable[[counting.Confusion], np.ndarray],
    counts: Callable[[np.ndarray], counting.Confusion],
    weights: np.ndarray,
) -> np.ndarray:
    return function(counts(weights))


def _probable(prob: np.ndarray, raw: np.ndarray, label: np.ndarray) -> dict[str, Statistic]:
    return {
        "brier": partial(counting.brier, prob, label),
        "ece": partial(counting.calibration_error, prob, label),
        "ece_uncalibrated": partial(counting.calibration_error, raw, label),
    }


def _restricted(statistics: ClassStatistics, rows: np.ndarray) -> dict[str, Statistic]:
    """Return `statistics` of some rows as functions of the weights of all."""
    part = Once(lambda weights: np.ascontiguousarray(weights[:, rows]))
    return {
        name: Named(partial(_on_part, statistic, part), len(rows))
        for name, statistic in statistics.items()
    }


def _on_part(statistic: Statistic, part: Statistic, weights: np.ndarray) -> np.ndarray:
    return statistic(part(weights))


def _macro(each: Mapping[str, ClassStatistics]) -> dict[str, Statistic]:
    found: dict[str, Statistic] = {}
    for metric in next(iter(each.values())):
        parts = [statistics[metric] for statistics in each.values()]
        found[metric] = partial(mean_of_defined, parts)
        found |= {f"{metric}:{name}": statistics[metric] for name, statistics in each.items()}
    found["undefined_classes"] = partial(
        _undefined, [statistics["auroc"] for statistics in each.values()]
    )
    return found


def _undefined(parts: Sequence[Statistic], weights: np.ndarray) -> np.ndarray:
    return np.isnan(np.stack([part(weights) for part in parts])).sum(axis=0).astype(float)


def _micro(table: pd.DataFrame, classes: list[str]) -> dict[str, Statistic]:
    """Return the metrics over all (image, class) pairs taken together."""
    labels, scores, decisions = (
        np.stack([_column(table, k, c) for c in classes]) for k in ("label", "score", "pred")
    )
    known = ~np.isnan(labels)
    images = np.broadcast_to(np.arange(len(table)), labels.shape)[known]
    pairs = scores[known], labels[known], images

    def confusion(weights: np.ndarray) -> counting.Confusion:
        every = [
            counting.confusion(decisions[c], labels[c] == 1, weights * known[c])
            for c in range(len(classes))
        ]
        return counting.Confusion(
            *(sum(getattr(c, part) for c in every) for part in ("tp", "fp", "fn", "tn"))
        )

    counts = Once(confusion)
    return {
        "auroc_micro": lambda weights: auroc(rank(*pairs), weights),
        "auprc_micro": lambda weights: average_precision(rank(*pairs), weights),
        "f1_micro": partial(_from_counts, counting.f1, counts),
        "precision_micro": partial(_from_counts, counting.precision, counts),
        "recall_micro": partial(_from_counts, counting.sensitivity, counts),
    }


def _multiclass(table: pd.DataFrame, classes: list[str]) -> dict[str, Statistic]:
    """Return the metrics of exclusive classes; every image has one true and one predicted class."""
    label, score, prob, pred = (
        np.stack([_column(table, k, c) for c in classes], 1)
        for k in ("label", "score", "prob", "pred")
    )
    true, chosen = label.argmax(axis=1), pred.argmax(axis=1)
    counts = Once(lambda weights: counting.class_counts(chosen, true, len(classes), weights))
    each: dict[str, ClassStatistics] = {}
    for k, name in enumerate(classes):
        own = Once(partial(_class_counts, counts, k))
        decided = {
            m: partial(_from_counts, COUNTED[m], own)
            for m in ("f1", "sensitivity", "specificity", "precision")
        }
        each[name] = {**_ranked(score[:, k], label[:, k]), **decided}
    found = _macro(each)
    found["balanced_accuracy"] = found.pop("sensitivity")
    found["accuracy"] = partial(weighted_mean, (true == chosen).astype(float))
    found["mcc"] = lambda weights: counting.multiclass_mcc(counts(weights))
    return found | _multiclass_probable(prob, np.exp(score), label)


def _class_counts(
    counts: Callable[[np.ndarray], np.ndarray], k: int, weights: np.ndarray
) -> counting.Confusion:
    return counting.one_against_rest(counts(weights), k)


def _multiclass_probable(
    prob: np.ndarray, raw: np.ndarray, label: np.ndarray
) -> dict[str, Statistic]:
    images = np.repeat(np.arange(len(label)), label.shape[1])
    return {
        "auroc_micro": lambda weights: auroc(rank(raw.ravel(), label.ravel(), images), weights),
        "brier": partial(counting.brier, prob, label),
        "ece": partial(counting.calibration_error, prob.max(axis=1), _hit(prob, label)),
        "ece_uncalibrated": partial(counting.calibration_error, raw.max(axis=1), _hit(raw, label)),
    }


def _hit(prob: np.ndarray, label: np.ndarray) -> np.ndarray:
    return label[np.arange(len(label)), prob.argmax(axis=1)]


def _subgroups(
    table: pd.DataFrame, classes: list[str], mode: Mode, column: str
) -> dict[str, Statistic]:
    """Return `<metric>@<what>=<value>` for every known value of a group column."""
    what, values = column.removeprefix("group:"), table[column].astype(str).to_numpy()
    found: dict[str, Statistic] = {}
    for value in sorted(set(values) - {"", "nan"}):
        rows = np.flatnonzero(values == value)
        own = _all(table.iloc[rows].reset_index(drop=True), classes, mode)
        chosen = {f"{metric}@{what}={value}": own[metric] for metric in SUBGROUP_METRICS[mode]}
        found |= _restricted(chosen, rows)
    return found
