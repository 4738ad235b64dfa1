"""Every metric of a classification table as a function of resampling weights, for classes, their
mean and subgroups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.contracts import Predictions, TaskSpec
from bench.metrics import counting
from bench.metrics.decision import sigmoid
from bench.metrics.ranking import Ranking, auroc, average_precision, rank
from bench.metrics.weights import (
    ByImage,
    Named,
    Once,
    SharedSums,
    Statistic,
    mean_of_defined,
    ratio,
)

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


def score(predictions: Predictions, task: TaskSpec) -> dict[str, Statistic]:
    """Return the metrics of what a kind of classification kept of its test images."""
    return classification_statistics(predictions.table, predictions.extra["mode"])


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
    part = _Part.whole(len(table))
    found = _all(table, classes, mode, part)
    for column in (str(name) for name in table if str(name).startswith("group:")):
        found |= _subgroups(table, classes, mode, column, part)
    return found


@dataclass(frozen=True)
class _Part:
    """Some images of a test set of `n` and what their metrics share.

    `images` [m] are their columns of the weights, `turned` the weights with a row per image (shared
    by all parts), `sums` the weighted sums of values over these images.
    """

    images: np.ndarray
    n: int
    turned: Once[ByImage]
    sums: SharedSums

    @classmethod
    def whole(cls, n: int) -> _Part:
        """Return the part of all images."""
        images = np.arange(n)
        return cls(images, n, Once(ByImage), SharedSums(images, n))

    def some(self, rows: np.ndarray) -> _Part:
        """Return the part of some `rows` of this one; itself where these are all."""
        if len(rows) == len(self.images):
            return self
        images = self.images[rows]
        return _Part(images, self.n, self.turned, SharedSums(images, self.n))

    def named(self, found: ClassStatistics) -> dict[str, Statistic]:
        """Return the statistics of this part, which know its size where it is not all images."""
        if len(self.images) == self.n:
            return dict(found)
        return {name: Named(statistic, len(self.images)) for name, statistic in found.items()}

    def ranked(self, score: np.ndarray, label: np.ndarray) -> dict[str, Statistic]:
        """Return the metrics of scores [m]."""

        @cache
        def ranking() -> Ranking:
            return rank(score, label, self.images)

        return {
            "auroc": Once(lambda weights: auroc(ranking(), self.turned(weights))),
            "auprc": Once(lambda weights: average_precision(ranking(), self.turned(weights))),
        }

    def confusion(self, pred: np.ndarray, label: np.ndarray) -> Once[counting.Confusion]:
        """Return the counts of decisions [m] as a function of weights."""
        return Once(
            lambda weights: counting.confusion(pred, label, self.turned(weights), self.images)
        )

    def total(self, weights: np.ndarray) -> np.ndarray:
        """Return the sum of the weights of these images [R]."""
        return self.turned(weights).total(self.images)

    def probable(
        self, prob: np.ndarray, raw: np.ndarray, label: np.ndarray
    ) -> dict[str, Statistic]:
        """Return the metrics of probabilities [m] of one class, calibrated and `raw`."""
        return {
            "brier": self.brier(prob, label),
            "ece": self.calibration_error(prob, label),
            "ece_uncalibrated": self.calibration_error(raw, label),
        }

    def brier(self, prob: np.ndarray, label: np.ndarray) -> Statistic:
        """Return the Brier score of probabilities [m] or [m, K]."""
        sums = self.sums.add(partial(counting.squared_errors, prob, label))
        return lambda weights: ratio(sums(weights)[:, 0], self.total(weights))

    def calibration_error(self, confidence: np.ndarray, right: np.ndarray) -> Statistic:
        """Return the expected calibration error of confidences [m]."""
        sums = self.sums.add(partial(counting.calibration_gaps, confidence, right))
        return lambda weights: ratio(np.abs(sums(weights)).sum(axis=1), self.total(weights))


def _all(table: pd.DataFrame, classes: list[str], mode: Mode, part: _Part) -> dict[str, Statistic]:
    if mode == "multiclass":
        return _multiclass(table, classes, part)
    each = {name: _one_class(table, name, part) for name in classes}
    if mode == "binary":
        return dict(each[classes[0]].statistics)
    statistics = {name: one.statistics for name, one in each.items()}
    counts = [one.counts for one in each.values()]
    return _macro(statistics) | _micro(table, classes, part, counts)


def _column(table: pd.DataFrame, kind: str, name: str) -> np.ndarray:
    return table[f"{kind}:{name}"].to_numpy(dtype=float)


@dataclass(frozen=True)
class _Class:
    """The metrics of one class, and the counts of its decisions."""

    statistics: ClassStatistics
    counts: Once[counting.Confusion]


def _one_class(table: pd.DataFrame, name: str, part: _Part) -> _Class:
    """Return the metrics of one class; images whose label is not known are left out."""
    rows = np.flatnonzero(~np.isnan(_column(table, "label", name)))
    label, score, prob, pred = (
        _column(table, kind, name)[rows] for kind in ("label", "score", "prob", "pred")
    )
    known = part.some(rows)
    counts = known.confusion(pred, label)
    found = {
        **known.ranked(score, label),
        **_decided(counts),
        **known.probable(prob, sigmoid(score), label),
    }
    if f"above:{name}" in table:
        above = known.confusion(_column(table, "above", name)[rows], label)
        found["accuracy"] = partial(_from_counts, counting.accuracy, above)
    return _Class(known.named(found), counts)


def _decided(counts: Once[counting.Confusion]) -> dict[str, Statistic]:
    return {name: partial(_from_counts, function, counts) for name, function in COUNTED.items()}


def _from_counts(
    function: Callable[[counting.Confusion], np.ndarray],
    counts: Callable[[np.ndarray], counting.Confusion],
    weights: np.ndarray,
) -> np.ndarray:
    return function(counts(weights))


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


def _micro(
    table: pd.DataFrame,
    classes: list[str],
    part: _Part,
    each: Sequence[Once[counting.Confusion]],
) -> dict[str, Statistic]:
    """Return the metrics over all (image, class) pairs taken together."""
    labels, scores = (np.stack([_column(table, k, c) for c in classes]) for k in ("label", "score"))
    known = ~np.isnan(labels)

    @cache
    def ranking() -> Ranking:
        images = np.broadcast_to(part.images, labels.shape)[known]
        return rank(scores[known], labels[known], images)

    def confusion(weights: np.ndarray) -> counting.Confusion:
        found = [counts(weights) for counts in each]
        return counting.Confusion(
            *(sum(getattr(c, cell) for c in found) for cell in ("tp", "fp", "fn", "tn"))
        )

    counts = Once(confusion)
    return {
        "auroc_micro": lambda weights: auroc(ranking(), part.turned(weights)),
        "auprc_micro": lambda weights: average_precision(ranking(), part.turned(weights)),
        "f1_micro": partial(_from_counts, counting.f1, counts),
        "precision_micro": partial(_from_counts, counting.precision, counts),
        "recall_micro": partial(_from_counts, counting.sensitivity, counts),
    }


def _multiclass(table: pd.DataFrame, classes: list[str], part: _Part) -> dict[str, Statistic]:
    """Return the metrics of exclusive classes; every image has one true and one predicted class."""
    label, score, prob, pred = (
        np.stack([_column(table, k, c) for c in classes], 1)
        for k in ("label", "score", "prob", "pred")
    )
    true, chosen = label.argmax(axis=1), pred.argmax(axis=1)
    counts = Once(
        lambda weights: counting.class_counts(
            chosen, true, len(classes), part.turned(weights), part.images
        )
    )
    each: dict[str, ClassStatistics] = {}
    for k, name in enumerate(classes):
        decided = _decided(Once(partial(_class_counts, counts, k)))
        wanted = ("f1", "sensitivity", "specificity", "precision")
        each[name] = {
            **part.ranked(score[:, k], label[:, k]),
            **{metric: decided[metric] for metric in wanted},
        }
    found = _macro(each)
    found["balanced_accuracy"] = found.pop("sensitivity")
    found["accuracy"] = lambda weights: _share_right(counts(weights))
    found["mcc"] = lambda weights: counting.multiclass_mcc(counts(weights))
    return found | _multiclass_probable(prob, np.exp(score), label, part)


def _class_counts(
    counts: Callable[[np.ndarray], np.ndarray], k: int, weights: np.ndarray
) -> counting.Confusion:
    return counting.one_against_rest(counts(weights), k)


def _share_right(counts: np.ndarray) -> np.ndarray:
    return ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-1, -2)))


def _multiclass_probable(
    prob: np.ndarray, raw: np.ndarray, label: np.ndarray, part: _Part
) -> dict[str, Statistic]:
    @cache
    def ranking() -> Ranking:
        return rank(raw.ravel(), label.ravel(), np.repeat(part.images, label.shape[1]))

    return {
        "auroc_micro": lambda weights: auroc(ranking(), part.turned(weights)),
        "brier": part.brier(prob, label),
        "ece": part.calibration_error(prob.max(axis=1), _hit(prob, label)),
        "ece_uncalibrated": part.calibration_error(raw.max(axis=1), _hit(raw, label)),
    }


def _hit(prob: np.ndarray, label: np.ndarray) -> np.ndarray:
    return label[np.arange(len(label)), prob.argmax(axis=1)]


def _subgroups(
    table: pd.DataFrame, classes: list[str], mode: Mode, column: str, part: _Part
) -> dict[str, Statistic]:
    """Return `<metric>@<what>=<value>` for every known value of a group column."""
    what, values = column.removeprefix("group:"), table[column].astype(str).to_numpy()
    found: dict[str, Statistic] = {}
    for value in sorted(set(values) - {"", "nan"}):
        rows = np.flatnonzero(values == value)
        own = _all(table.iloc[rows].reset_index(drop=True), classes, mode, part.some(rows))
        found |= {
            f"{metric}@{what}={value}": Named(own[metric], len(rows))
            for metric in SUBGROUP_METRICS[mode]
        }
    return found
