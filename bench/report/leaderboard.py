"""Views of the store: one table per comparable set of results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import numpy as np

from bench.cells.results import ResultStore, is_submitted
from bench.contracts import BACKBONES, KINDS, TASKS, Frame, TaskKind, TaskSpec
from bench.core.naming import split_name
from bench.metrics.basis import patient_freedom
from bench.metrics.bootstrap import Estimate, cluster_weights, mean_estimate, ranked
from bench.metrics.intervals import IntervalMethod, Scale, patient_numbers
from bench.metrics.letters import compact_letters
from bench.metrics.paired import Difference, all_differences
from bench.report.gathering import COMPARABLE, failed_cells, gather, no_metric
from bench.report.pairing import Aligned
from bench.report.row_names import Record, row_names


@dataclass(frozen=True)
class Column:
    """One column: every row's estimate at one label fraction, and every pair of rows compared.

    `letters`: two rows share a letter exactly where their comparison, corrected for all pairs of
    the column, does not tell them apart; the best row has `a`. `order`, `pairs` and `letters` are
    of the rows that are ranked; `estimates` holds the others too.
    """

    fraction: float
    estimates: Mapping[str, Estimate]
    order: Sequence[str]
    pairs: Sequence[Difference]
    letters: Mapping[str, str]
    method: IntervalMethod = "standard"
    lower_is_better: bool = False

    @property
    def defined(self) -> list[str]:
        """Return the rows that have a value, best first."""
        return [name for name in self.order if not np.isnan(self.estimates[name].value)]

    @property
    def best(self) -> str:
        """Return the row with the best value; "" where no value is defined."""
        return next(iter(self.defined), "")

    @property
    def tied(self) -> set[str]:
        """Return the rows that do not differ from the best, itself included."""
        apart = {pair.other for pair in self.pairs if pair.one == self.best and pair.differs}
        return set(self.defined) - apart

    def seed_count(self, row: str) -> int:
        """Return how many seeds stand behind a row; 0 where it has no value here."""
        return len(self.estimates[row].seeds) if row in self.estimates else 0

    def differences(self, among: Collection[str] = ()) -> list[Difference]:
        """Return every paired difference (of the rows `among`), better minus worse, with p-values
        corrected for their number."""
        if not among:
            return list(self.pairs)
        rows = {name: self.estimates[name] for name in self.estimates if name in among}
        order = ranked(rows, lower_is_better=self.lower_is_better)
        defined = [name for name in order if not np.isnan(rows[name].value)]
        return all_differences({name: rows[name] for name in defined}, self.method)

    def beats(self, one: str, other: str) -> bool:
        """Return whether `one` is better than `other` beyond the corrected comparison."""
        return any(pair.differs for pair in self.pairs if (pair.one, pair.other) == (one, other))


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
        """Return the row names, best at the largest fraction first, those that are not ranked
        last."""
        at_largest = list(self.columns[-1].order)
        absent = set(self._every()).difference(at_largest, self.unranked)
        return [*at_largest, *sorted(absent), *self.unranked]

    @property
    def unranked(self) -> list[str]:
        """Return the rows that stand beside the others and are compared with none: their encoder
        was trained on the labels of the task."""
        return [row for row in self._every() if role_of(self.newest(row)) == "ceiling"]

    @property
    def submitted(self) -> list[str]:
        """Return the rows whose predictions were made elsewhere."""
        return [row for row in self._every() if is_submitted(self.newest(row))]

    @property
    def outsiders(self) -> list[str]:
        """Return the rows whose encoder learned from photographs."""
        return [row for row in self._every() if role_of(self.newest(row)) == "outsider"]

    def _every(self) -> list[str]:
        return sorted(set(self.names.values()))

    @property
    def floor(self) -> list[str]:
        """Return the rows to beat: those that look at no image, and encoders that were never
        trained."""
        return [row for row in self.rows if role_of(self.newest(row)) == "floor"]

    @property
    def above_floor(self) -> list[str]:
        """Return the rows that are better than every row of the floor, beyond the corrected
        comparison at the largest label fraction; all others where there is no floor."""
        floor = self.floor
        column = self.columns[-1]
        return [
            row
            for row in column.defined
            if row not in floor and all(column.beats(row, lower) for lower in floor)
        ]

    @property
    def supervised(self) -> bool:
        """Say whether the encoder of any row learned from more than images and reports."""
        return any(map(supervision_of, self.records))

    def supervision(self, row: str) -> str:
        """Return what the encoder of a row learned from beside images and reports, as words; ""
        for nothing, or where no result says."""
        return " ".join(supervision_of(self.newest(row)))

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


def role_of(record: Record) -> Frame:
    """Return the part of a row in the frame of its table; "" for an encoder that is compared."""
    if is_submitted(record):
        return ""
    name = str(record.get("source") or record.get("backbone", ""))
    if name.startswith("baseline:"):
        return "floor"
    method = split_name(name)[1]
    if method not in BACKBONES:
        return ""
    spec = BACKBONES.get(method)
    return spec.frame or ("floor" if spec.seeded else "")


def supervision_of(record: Record) -> tuple[str, ...]:
    """Return what the encoder of a result learned from beside images and reports; () for a result
    from before these were recorded."""
    return tuple(record.get("supervision") or ())


def _coverage(record: Record) -> float:
    """Return how much of an encoder came from its file; 1 where a result says nothing of it."""
    return float(record.get("encoder:coverage", 1.0))


def build(
    store: ResultStore,
    task_name: str,
    metric: str = "",
    intervals: IntervalMethod = "standard",
) -> tuple[list[Table], list[str]]:
    """Return the tables of a task, and a sentence for every result that was left out and every cell
    that failed."""
    task = TASKS.get(task_name)
    kind = KINDS.get(task.kind)
    gathered = gather(store, task_name)
    tables = [
        _table(task, kind, metric or _metric_of(kind, task, group), group, intervals)
        for group in gathered.groups
    ]
    left_out = [*gathered.faults, *gathered.outdated, *failed_cells(store, task_name)]
    return tables, left_out


def _metric_of(kind: TaskKind, task: TaskSpec, results: Sequence[Aligned]) -> str:
    """Return the metric that results of one protocol are ranked by."""
    return kind.metric_of(task, str(results[0].record["protocol"]))


def _table(
    task: TaskSpec,
    kind: TaskKind,
    metric: str,
    results: Sequence[Aligned],
    method: IntervalMethod,
) -> Table:
    records = [result.record for result in results]
    names = row_names(records)
    first = results[0].images
    weights = cluster_weights(first["patient_id"].tolist())
    columns = []
    lower = lower_is_better(kind, metric)
    unranked = {names[str(each["key"])] for each in records if role_of(each) == "ceiling"}
    for fraction in sorted({float(record["label_fraction"]) for record in records}):
        seeds: dict[str, list[Aligned]] = defaultdict(list)
        for result in results:
            if result.record["label_fraction"] == fraction:
                seeds[names[str(result.record["key"])]].append(result)
        estimates = {
            name: row_estimate(kind, task, metric, of_row, weights, method)
            for name, of_row in seeds.items()
            if not _lacks(of_row, metric)
        }
        columns.append(column(fraction, estimates, lower, method, unranked))
    notes = {}
    for record in records:
        if record.get("pretrained_on"):
            notes[names[str(record["key"])]] = str(record["pretrained_on"])
    return Table(
        task=task,
        facts={name: records[0].get(name) for name in COMPARABLE},
        metric=metric,
        columns=columns,
        test_images=len(first),
        test_patients=int(first["patient_id"].nunique()),
        records=records,
        names=names,
        notes=notes,
    )


def _lacks(seeds: Sequence[Aligned], metric: str) -> bool:
    """Say whether a row has predictions from elsewhere that do not give a metric which others have:
    one of decisions where no threshold was stated."""
    return any(
        is_submitted(each.record) and f"metric:{metric}" not in each.record for each in seeds
    )


def row_estimate(
    kind: TaskKind,
    task: TaskSpec,
    metric: str,
    seeds: Sequence[Aligned],
    weights: np.ndarray,
    method: IntervalMethod = "standard",
) -> Estimate:
    """Return the estimate of one row from its results, one per seed."""
    statistics = []
    freedoms = []
    scale: Scale = "mean"
    for result in seeds:
        of_result = {
            name: result.in_order(statistic)
            for name, statistic in kind.statistics(result.predictions, task).items()
        }
        if metric not in of_result:
            raise no_metric(task, metric, of_result)
        statistics.append(of_result[metric])
        basis = kind.basis(result.predictions, metric)
        parts = [f"{metric}:{name}" for name in basis.classes]
        resampled = {name: of_result[name](weights) for name in parts if name in of_result}
        patients = patient_numbers(result.predictions.table["patient_id"].tolist())
        freedoms.append(patient_freedom(basis, metric, resampled, patients))
        scale = basis.scale
    return mean_estimate(statistics, weights, freedom=min(freedoms), scale=scale, method=method)


def column(
    fraction: float,
    estimates: Mapping[str, Estimate],
    lower: bool,
    method: IntervalMethod = "standard",
    unranked: Collection[str] = (),
) -> Column:
    """Return the column of some rows: ranked, every pair compared, lettered, all but those that are
    `unranked`."""
    among = {name: estimates[name] for name in estimates if name not in unranked}
    order = ranked(among, lower_is_better=lower)
    defined = [name for name in order if not np.isnan(estimates[name].value)]
    pairs = all_differences({name: estimates[name] for name in defined}, method)
    differing = {frozenset((pair.one, pair.other)) for pair in pairs if pair.differs}
    letters = compact_letters(defined, differing)
    return Column(fraction, estimates, order, pairs, letters, method, lower)


def lower_is_better(kind: TaskKind, metric: str) -> bool:
    """Return whether the smallest value of a metric is its best."""
    return any(fnmatch(metric, pattern) for pattern in kind.lower_is_better)
