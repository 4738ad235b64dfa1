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
    Once,
    OnSomeImages,
    SharedSums,
    Statistic,
    mean_of_defined,
    mean_of_known,
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
ONE_OF_SEVERAL = ("f1", "sensitivity", "specificity", "precision")
"""The counted metrics of one class where classes exclude each other."""
SUBGROUP_METRICS: Mapping[str, tuple[str, ...]] = {
    "binary": ("auroc", "sensitivity", "specificity"),
    "multilabel": ("auroc", "sensitivity", "specificity"),
    "multiclass": ("auroc", "accuracy"),
}


def score(predictions: Predictions, task: TaskSpec) -> dict[str, Statistic]:
    """Return the metrics of what a kind of classification kept of its test images."""
    statistics = classification_statistics(predictions.table, predictions.extra["mode"])
    return statistics | _gap(statistics, task)


def _gap(statistics: Mapping[str, Statistic], task: TaskSpec) -> dict[str, Statistic]:
    """Return by how much the AUROC of one subgroup is above that of another, which a task names in
    its option `gap`; nothing where it does not, or the images are not of both."""
    if not task.options.get("gap"):
        return {}
    group, one, other = task.options["gap"]
    of_one = statistics.get(f"auroc@{group}={one}")
    of_other = statistics.get(f"auroc@{group}={other}")
    if of_one is None or of_other is None:
        return {}
    return {"auroc_gap": lambda weights: of_one(weights) - of_other(weights)}


def classification_statistics(table: pd.DataFrame, mode: Mode) -> dict[str, Statistic]:
    """Return name -> f(weights [R, n]) -> [R] for a table of predictions.

    Columns per class c: `label:c` (0/1, NaN = not scored), `score:c` (logit; multiclass: log
    probability, both as the head gave them), `prob:c` (calibrated probability), `pred:c` (0/1
    decision; without it, where nobody stated a threshold, no metric of decisions is given), where
    there is one `above:c` (the decision that accuracy alone is counted on);
    `group:<what>` names the subgroup of an image ("" unknown). Names: `auroc` (mean over classes
    where there are several), `auroc:<class>`, `auroc_micro`, `auroc@sex=F`. A class with one label
    value has no AUROC: its own metric is NaN, the mean is over the others and `undefined_classes`
    counts it. A column `value:name` holds a value per image (NaN: none), whose mean is a metric.
    """
    classes = [str(name).removeprefix("label:") for name in table if str(name).startswith("label:")]
    everybody = _Images.whole(len(table))
    statistics = _all(table, classes, mode, everybody)
    for column in (str(name) for name in table if str(name).startswith("group:")):
        statistics.update(_subgroups(table, classes, mode, column, everybody))
    for column in (str(name) for name in table if str(name).startswith("value:")):
        values = table[column].to_numpy(dtype=float)
        mean = OnSomeImages(partial(mean_of_known, values), int((~np.isnan(values)).sum()))
        statistics[column.removeprefix("value:")] = mean
    return statistics


@dataclass(frozen=True)
class _Images:
    """Some images of a test set of `n` and what their metrics share.

    `columns` [m] are their columns of the weights, `turned` the weights with a row per image
    (shared by all groups of images), `sums` the weighted sums of values over these images.
    """

    columns: np.ndarray
    n: int
    turned: Once[ByImage]
    sums: SharedSums

    @classmethod
    def whole(cls, n: int) -> _Images:
        """Return all images."""
        columns = np.arange(n)
        return cls(columns, n, Once(ByImage), SharedSums(columns, n))

    def some(self, rows: np.ndarray) -> _Images:
        """Return the images in some `rows` of these; the object itself where these are all."""
        if len(rows) == len(self.columns):
            return self
        columns = self.columns[rows]
        return _Images(columns, self.n, self.turned, SharedSums(columns, self.n))

    def counted(self, statistics: ClassStatistics) -> dict[str, Statistic]:
        """Return the statistics of these images, which state their number where it is not all."""
        number = len(self.columns)
        if number == self.n:
            return dict(statistics)
        return {name: OnSomeImages(statistic, number) for name, statistic in statistics.items()}

    def ranked(self, score: np.ndarray, label: np.ndarray) -> dict[str, Statistic]:
        """Return the metrics of scores [m]."""
        ranking = cache(partial(rank, score, label, self.columns))
        return {
            "auroc": Once(lambda weights: auroc(ranking(), self.turned(weights))),
            "auprc": Once(lambda weights: average_precision(ranking(), self.turned(weights))),
        }

    def confusion(self, pred: np.ndarray, label: np.ndarray) -> Once[counting.Confusion]:
        """Return the counts of decisions [m] as a function of weights."""
        return Once(
            lambda weights: counting.confusion(pred, label, self.turned(weights), self.columns)
        )

    def total(self, weights: np.ndarray) -> np.ndarray:
        """Return the sum of the weights of these images [R]."""
        return self.turned(weights).total(self.columns)

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


def _all(
    table: pd.DataFrame, classes: list[str], mode: Mode, images: _Images
) -> dict[str, Statistic]:
    if mode == "multiclass":
        return _multiclass(table, classes, images)
    by_class = {name: _one_class(table, name, images) for name in classes}
    if mode == "binary":
        return dict(by_class[classes[0]].statistics)
    macro = _macro({name: metrics.statistics for name, metrics in by_class.items()})
    counts = [metrics.counts for metrics in by_class.values() if metrics.counts]
    return macro | _micro(table, classes, images, counts)


def _column(table: pd.DataFrame, kind: str, name: str) -> np.ndarray:
    return table[f"{kind}:{name}"].to_numpy(dtype=float)


@dataclass(frozen=True)
class _ClassMetrics:
    """The metrics of one class, and the counts of its decisions, where there are some."""

    statistics: ClassStatistics
    counts: Once[counting.Confusion] | None


def _one_class(table: pd.DataFrame, name: str, images: _Images) -> _ClassMetrics:
    """Return the metrics of one class; images whose label is not known are left out."""
    rows = np.flatnonzero(~np.isnan(_column(table, "label", name)))
    label, score, prob = (_column(table, kind, name)[rows] for kind in ("label", "score", "prob"))
    labelled = images.some(rows)
    counts = None
    if f"pred:{name}" in table:
        counts = labelled.confusion(_column(table, "pred", name)[rows], label)
    statistics = {
        **labelled.ranked(score, label),
        **(_decided(counts) if counts else {}),
        **labelled.probable(prob, sigmoid(score), label),
    }
    if f"above:{name}" in table:
        above = labelled.confusion(_column(table, "above", name)[rows], label)
        statistics["accuracy"] = partial(_from_counts, counting.accuracy, above)
    return _ClassMetrics(labelled.counted(statistics), counts)


def _decided(counts: Once[counting.Confusion]) -> dict[str, Statistic]:
    return {name: partial(_from_counts, function, counts) for name, function in COUNTED.items()}


def _from_counts(
    function: Callable[[counting.Confusion], np.ndarray],
    counts: Callable[[np.ndarray], counting.Confusion],
    weights: np.ndarray,
) -> np.ndarray:
    return function(counts(weights))


def _macro(by_class: Mapping[str, ClassStatistics]) -> dict[str, Statistic]:
    """Return the mean of every metric over classes, and the metrics of each class."""
    means: dict[str, Statistic] = {}
    for metric in next(iter(by_class.values())):
        of_classes = {name: statistics[metric] for name, statistics in by_class.items()}
        means[metric] = partial(mean_of_defined, list(of_classes.values()))
        for name, statistic in of_classes.items():
            means[f"{metric}:{name}"] = statistic
    aurocs = [statistics["auroc"] for statistics in by_class.values()]
    means["undefined_classes"] = partial(_undefined, aurocs)
    return means


def _undefined(statistics: Sequence[Statistic], weights: np.ndarray) -> np.ndarray:
    """Return how many of `statistics` have no value, per resample [R]."""
    values = np.stack([statistic(weights) for statistic in statistics])
    return np.isnan(values).sum(axis=0).astype(float)


def _stacked(table: pd.DataFrame, kind: str, classes: list[str]) -> np.ndarray:
    """Return the columns of one kind of all classes [n, K]."""
    return np.stack([_column(table, kind, name) for name in classes], axis=1)


def _added(
    of_classes: Sequence[Once[counting.Confusion]], weights: np.ndarray
) -> counting.Confusion:
    """Return the counts of all classes together."""
    counts = [of_class(weights) for of_class in of_classes]
    return counting.Confusion(
        tp=np.sum([c.tp for c in counts], axis=0),
        fp=np.sum([c.fp for c in counts], axis=0),
        fn=np.sum([c.fn for c in counts], axis=0),
        tn=np.sum([c.tn for c in counts], axis=0),
    )


def _micro(
    table: pd.DataFrame,
    classes: list[str],
    images: _Images,
    counts_of_classes: Sequence[Once[counting.Confusion]],
) -> dict[str, Statistic]:
    """Return the metrics over all (image, class) pairs taken together."""
    labels = _stacked(table, "label", classes).T  # class by class: the order decides last digits
    scores = _stacked(table, "score", classes).T
    labelled = ~np.isnan(labels)

    @cache
    def ranking() -> Ranking:
        """Return all pairs with a label, ranked."""
        columns = np.broadcast_to(images.columns, labels.shape)[labelled]
        return rank(scores[labelled], labels[labelled], columns)

    ranked = {
        "auroc_micro": lambda weights: auroc(ranking(), images.turned(weights)),
        "auprc_micro": lambda weights: average_precision(ranking(), images.turned(weights)),
    }
    if not counts_of_classes:
        return ranked
    counts = Once(partial(_added, counts_of_classes))
    return ranked | {
        "f1_micro": partial(_from_counts, counting.f1, counts),
        "precision_micro": partial(_from_counts, counting.precision, counts),
        "recall_micro": partial(_from_counts, counting.sensitivity, counts),
    }


def _multiclass(table: pd.DataFrame, classes: list[str], images: _Images) -> dict[str, Statistic]:
    """Return the metrics of exclusive classes; every image has one true and one predicted class."""
    label, score, prob, pred = (
        _stacked(table, kind, classes) for kind in ("label", "score", "prob", "pred")
    )
    true = label.argmax(axis=1)
    predicted = pred.argmax(axis=1)

    def class_counts(weights: np.ndarray) -> np.ndarray:
        """Return the confusion matrix [R, K, K]."""
        turned = images.turned(weights)
        return counting.class_counts(predicted, true, len(classes), turned, images.columns)

    counts = Once(class_counts)
    by_class: dict[str, ClassStatistics] = {}
    for k, name in enumerate(classes):
        decided = _decided(Once(partial(_class_counts, counts, k)))
        by_class[name] = {
            **images.ranked(score[:, k], label[:, k]),
            **{metric: decided[metric] for metric in ONE_OF_SEVERAL},
        }
    statistics = _macro(by_class)
    statistics["balanced_accuracy"] = statistics.pop("sensitivity")
    statistics["accuracy"] = lambda weights: _share_right(counts(weights))
    statistics["mcc"] = lambda weights: counting.multiclass_mcc(counts(weights))
    return statistics | _multiclass_probable(prob, np.exp(score), label, images)


def _class_counts(
    counts: Callable[[np.ndarray], np.ndarray], k: int, weights: np.ndarray
) -> counting.Confusion:
    return counting.one_against_rest(counts(weights), k)


def _share_right(counts: np.ndarray) -> np.ndarray:
    right = np.trace(counts, axis1=-2, axis2=-1)
    return ratio(right, counts.sum(axis=(-1, -2)))


def _multiclass_probable(
    prob: np.ndarray, raw: np.ndarray, label: np.ndarray, images: _Images
) -> dict[str, Statistic]:
    """Return the metrics of probabilities [m, K], calibrated and `raw`."""

    @cache
    def ranking() -> Ranking:
        """Return all pairs of image and class, ranked."""
        columns = np.repeat(images.columns, label.shape[1])
        return rank(raw.ravel(), label.ravel(), columns)

    return {
        "auroc_micro": lambda weights: auroc(ranking(), images.turned(weights)),
        "brier": images.brier(prob, label),
        "ece": images.calibration_error(prob.max(axis=1), _hit(prob, label)),
        "ece_uncalibrated": images.calibration_error(raw.max(axis=1), _hit(raw, label)),
    }


def _hit(prob: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return 1 for every image [m] whose most probable class is its true one, else 0."""
    return label[np.arange(len(label)), prob.argmax(axis=1)]


def _subgroups(
    table: pd.DataFrame, classes: list[str], mode: Mode, column: str, images: _Images
) -> dict[str, Statistic]:
    """Return `<metric>@<group>=<value>` for every known value of a group column."""
    group = column.removeprefix("group:")
    values = table[column].astype(str).to_numpy()
    statistics: dict[str, Statistic] = {}
    for value in sorted(set(values) - {"", "nan"}):
        rows = np.flatnonzero(values == value)
        members = table.iloc[rows].reset_index(drop=True)
        of_members = _all(members, classes, mode, images.some(rows))
        for metric in (name for name in SUBGROUP_METRICS[mode] if name in of_members):
            statistic = OnSomeImages(of_members[metric], len(rows))
            statistics[f"{metric}@{group}={value}"] = statistic
    return statistics
