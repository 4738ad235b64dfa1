"""Views of the store: one table per comparable set of results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from statistics import stdev
from typing import Any

import numpy as np

from bench.cells.results import AGAIN, PREDICTIONS, ResultStore
from bench.contracts import KINDS, TASKS, Predictions, TaskKind, TaskSpec
from bench.core.errors import PlaceBenchError, UnknownNameError
from bench.core.hashing import digest
from bench.core.registry import suggest
from bench.metrics.bootstrap import (
    Estimate,
    Statistic,
    cluster_weights,
    mean_estimate,
    point,
    ranked,
    tie_groups,
)
from bench.metrics.paired import Difference, all_differences
from bench.report.pairing import Aligned, Result, align

Record = Mapping[str, Any]
_COMPARABLE = (
    "task",
    "protocol",
    "profile",
    "data_kind",
    "hash:data",
    "hash:split",
    "hash:test",
    "evaluator_version",
    "settings_id",
)
_CELL = (
    "task",
    "label",
    "backbone",
    "architecture",
    "label_fraction",
    "seed",
    "protocol",
    "profile",
    "data_kind",
)


@dataclass(frozen=True)
class Column:
    """One column: every row's estimate at one label fraction, its tie group (0 holds the best), and
    its seeds.

    `seed_sd` is the standard deviation over seeds, apart from the interval, which is of the mean
    under resampling of patients.
    """

    fraction: float
    estimates: Mapping[str, Estimate]
    groups: Mapping[str, int]
    seeds: Mapping[str, int]
    seed_sd: Mapping[str, float]
    order: Sequence[str]

    @property
    def best(self) -> str:
        """Return the row with the best value; "" where no value is defined."""
        return self.order[0] if self.groups else ""

    def differences(self, among: Collection[str] = ()) -> list[Difference]:
        """Return every paired difference (of the rows `among`), better minus worse, with p-values
        corrected for their number."""
        defined = [name for name in self.order if name in self.groups]
        rows = [name for name in defined if not among or name in among]
        return all_differences({name: self.estimates[name] for name in rows})


@dataclass(frozen=True)
class Table:
    """Results that may stand side by side: same task, protocol, profile, data, splits, settings and
    evaluator."""

    task: TaskSpec
    facts: Mapping[str, Any]
    metric: str
    columns: Sequence[Column]
    test_images: int
    test_patients: int
    records: Sequence[Record]
    names: Mapping[str, str]
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[str]:
        """Return the row names, best at the largest fraction first."""
        at_largest = list(self.columns[-1].order)
        every = {name for column in self.columns for name in column.estimates}
        return at_largest + sorted(every.difference(at_largest))

    def records_of(self, row: str) -> list[Record]:
        """Return the results behind one row, oldest first."""
        return [record for record in self.records if self.names[str(record["key"])] == row]

    def newest(self, row: str) -> Record:
        """Return the newest result of a row, {} where it has none."""
        records = self.records_of(row)
        return records[-1] if records else {}

    def encoder(self, row: str) -> Record:
        """Return the result of a row that says what its encoder lacks, else any of them."""
        return min(self.records_of(row), key=_coverage, default={})

    def coverage(self, row: str) -> float:
        """Return how much of a row's encoder came from its file, 0 to 1."""
        return _coverage(self.encoder(row))


def _coverage(record: Record) -> float:
    """Return how much of an encoder came from its file; 1 where a result says nothing of it."""
    return float(record.get("encoder:coverage", 1.0))


@dataclass(frozen=True)
class Gathered:
    """Results of a task: those that may stand in one table together, and a sentence for every other
    one: `faults` are damage, `outdated` are of another evaluator version."""

    groups: Sequence[Sequence[Aligned]]
    faults: Sequence[str]
    outdated: Sequence[str]


def gather(store: ResultStore, task_name: str) -> Gathered:
    """Return the results of a task with their predictions, compared with what was written."""
    task = TASKS.get(task_name)
    kind = KINDS.get(task.kind)
    faults = [line.sentence for line in store.damaged() if line.record.get("task") == task_name]
    outdated: list[str] = []
    groups: dict[tuple[Any, ...], list[Result]] = defaultdict(list)
    for record in store.records().values():
        if record.get("task") != task_name:
            continue
        version = record["evaluator_version"]
        if version != kind.evaluator_version:
            outdated.append(
                f"{record['title']}: evaluator version {version}, now {kind.evaluator_version}."
            )
            continue
        try:
            result = Result(record, store.load_predictions(record))
        except PlaceBenchError as error:
            faults.append(f"{record['title']}: {error}")
            continue
        fault = "" if PREDICTIONS in record else _disagreement(result, task, kind)
        if fault:
            faults.append(f"{record['title']}: {fault}")
        else:
            groups[tuple(record.get(name) for name in _COMPARABLE)].append(result)
    aligned = []
    for _, group in sorted(groups.items(), key=str):
        results, reasons = align(group)
        aligned.append(results)
        faults += reasons
    return Gathered(aligned, faults, outdated)


def build(store: ResultStore, task_name: str, metric: str = "") -> tuple[list[Table], list[str]]:
    """Return the tables of a task, and a sentence for every result that was left out and every cell
    that failed."""
    task = TASKS.get(task_name)
    kind = KINDS.get(task.kind)
    gathered = gather(store, task_name)
    tables = [_table(task, kind, metric or task.main_metric, group) for group in gathered.groups]
    left_out = [*gathered.faults, *gathered.outdated, *failed_cells(store, task_name)]
    return tables, left_out


def _disagreement(result: Result, task: TaskSpec, kind: TaskKind) -> str:
    """Say where a record that has no hash of its predictions holds another value than they give."""
    recorded = result.record.get(f"metric:{task.main_metric}")
    if recorded is None:
        return ""
    try:
        statistic = statistic_of(kind, task, task.main_metric, result.predictions)
        value = point(statistic, len(result.predictions.table))
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        return f"its predictions do not fit the task ({type(error).__name__}: {error}). {AGAIN}"
    if np.isclose(value, recorded, rtol=1e-6, atol=1e-6):
        return ""
    return (
        f"its predictions give {task.main_metric} {value:.6f}, its record says {recorded:.6f}. "
        "Run it again with --force."
    )


def failed_cells(store: ResultStore, task_name: str) -> list[str]:
    """Return a sentence for every cell of a task that failed and has had no result since."""
    finished = {_cell_digest(record): _time(record) for record in store.records().values()}
    sentences = []
    for key, record in store.failures().items():
        since = finished.get(_cell_digest(record), "") > _time(record)
        if record.get("task") == task_name and not since:
            reason = _one_line(record.get("error", "nobody says why"))
            sentences.append(f"{record.get('title', key)} failed: {reason}")
    return sentences


def _time(record: Record) -> str:
    return str(record.get("time", ""))


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _cell_digest(record: Record) -> str:
    """Return a digest of where a result stands in a table, whatever its settings."""
    return digest([record.get(name) for name in _CELL])


def _architecture(record: Record) -> str:
    """Return the architecture that was loaded; where a result does not say it, the one that was
    declared."""
    return str(record.get("encoder:architecture") or record["architecture"] or "")


def row_names(records: Sequence[Record]) -> dict[str, str]:
    """Return the row of every result (by key): the encoder's label, architecture and settings; two
    encoders of one label are told apart by the hash of their weights, else of their names."""
    encoders: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for record in records:
        encoders[_name(record)].add(_encoder(record))
    rows = {}
    for record in records:
        name = _name(record)
        rows[str(record["key"])] = name + _mark(_encoder(record), encoders[name])
    return rows


def _encoder(record: Record) -> tuple[str, str]:
    return str(record["backbone"]), str(record["hash:checkpoint"])


def _mark(encoder: tuple[str, str], same_label: Collection[tuple[str, str]]) -> str:
    if len(same_label) == 1:
        return ""
    hashes = {weights[:6] for _, weights in same_label}
    if len(hashes) == len(same_label):
        return f" [{encoder[1][:6]}]"
    return f" [{digest(encoder, 6)}]"


def _name(record: Record) -> str:
    architecture = _architecture(record)
    words = [str(record.get("label") or record["backbone"])]
    if architecture:
        words.append(f"({architecture})")
    for key, value in sorted(record["backbone_settings"].items()):
        words.append(f"{key}={value}")
    return " ".join(words)


def _table(task: TaskSpec, kind: TaskKind, metric: str, results: Sequence[Aligned]) -> Table:
    records = [result.record for result in results]
    names = row_names(records)
    first = results[0].images
    weights = cluster_weights(first["patient_id"].tolist())
    columns = []
    for fraction in sorted({float(record["label_fraction"]) for record in records}):
        statistics: dict[str, list[Statistic]] = defaultdict(list)
        for result in results:
            if result.record["label_fraction"] == fraction:
                row = names[str(result.record["key"])]
                statistic = statistic_of(kind, task, metric, result.predictions)
                statistics[row].append(result.in_order(statistic))
        columns.append(_column(fraction, statistics, weights, lower=lower_is_better(kind, metric)))
    notes = {}
    for record in records:
        if record.get("pretrained_on"):
            notes[names[str(record["key"])]] = str(record["pretrained_on"])
    return Table(
        task=task,
        facts={name: records[0].get(name) for name in _COMPARABLE},
        metric=metric,
        columns=columns,
        test_images=len(first),
        test_patients=int(first["patient_id"].nunique()),
        records=records,
        names=names,
        notes=notes,
    )


def _column(
    fraction: float,
    statistics: Mapping[str, Sequence[Statistic]],
    weights: np.ndarray,
    *,
    lower: bool,
) -> Column:
    """Return a column from the statistics of every row, one per seed."""
    estimates = {name: mean_estimate(seeds, weights) for name, seeds in statistics.items()}
    spreads = {name: _spread(seeds, weights.shape[1]) for name, seeds in statistics.items()}
    return Column(
        fraction=fraction,
        estimates=estimates,
        groups=tie_groups(estimates, lower_is_better=lower),
        seeds={name: len(seeds) for name, seeds in statistics.items()},
        seed_sd=spreads,
        order=ranked(estimates, lower_is_better=lower),
    )


def statistic_of(
    kind: TaskKind, task: TaskSpec, metric: str, predictions: Predictions
) -> Statistic:
    """Return one metric of some predictions; raise UnknownNameError with the nearest ones where it
    is none of the task."""
    statistics = kind.statistics(predictions, task)
    if metric not in statistics:
        raise UnknownNameError(
            f"task '{task.name}' has no metric '{metric}'.", suggest(metric, statistics)
        )
    return statistics[metric]


def lower_is_better(kind: TaskKind, metric: str) -> bool:
    """Return whether the smallest value of a metric is its best."""
    return any(fnmatch(metric, pattern) for pattern in kind.lower_is_better)


def _spread(statistics: Sequence[Any], n: int) -> float:
    """Return the standard deviation of a metric over seeds; NaN for one seed."""
    values = [point(statistic, n) for statistic in statistics]
    if len(values) < 2 or np.isnan(values).any():
        return float("nan")
    return stdev(values)
