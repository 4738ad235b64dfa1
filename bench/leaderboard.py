"""Views of the store: one table per comparable set of results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np

from bench.cell import digest
from bench.contracts import KINDS, TASKS, Predictions, TaskKind, TaskSpec
from bench.errors import DataError, PlaceBenchError, UnknownNameError
from bench.metrics.paired import Difference, all_differences
from bench.registry import suggest
from bench.results import PREDICTIONS, ResultStore
from bench.stats import (
    Estimate,
    Statistic,
    cluster_weights,
    mean_estimate,
    point,
    ranked,
    tie_groups,
)
from bench.storage import write_atomically
from bench.views import note, state_of

Record = Mapping[str, Any]
_COMPARABLE = (
    "task",
    "protocol",
    "profile",
    "data_kind",
    "hash:data",
    "hash:test",
    "hash:split",
    "evaluator_version",
    "settings_id",
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
        names = [
            name for name in self.order if name in self.groups and (not among or name in among)
        ]
        return all_differences({name: self.estimates[name] for name in names})


@dataclass(frozen=True)
class Table:
    """Results that may stand side by side: same task, protocol, profile, data, test split, settings
    and evaluator."""

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
        last = list(self.columns[-1].order)
        return last + sorted(
            {name for column in self.columns for name in column.estimates}.difference(last)
        )


def build(store: ResultStore, task_name: str, metric: str = "") -> tuple[list[Table], list[str]]:
    """Return the tables of a task, and a sentence for every result that was left out."""
    task, records = (
        TASKS.get(task_name),
        [r for r in store.records().values() if r["task"] == task_name],
    )
    kind = KINDS.get(task.kind)
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    left_out = []
    for record in records:
        if record["evaluator_version"] != kind.evaluator_version:
            left_out.append(
                f"{record['title']}: evaluator version {record['evaluator_version']}, now "
                f"{kind.evaluator_version}."
            )
        elif fault := store.fault(record):
            left_out.append(f"{record['title']}: {fault}")
        else:
            groups[tuple(record.get(name) for name in _COMPARABLE)].append(record)
    tables = []
    for _, group in sorted(groups.items(), key=str):
        predictions, others = _paired(store, group)
        left_out += others
        members = [record for record in group if record["key"] in predictions]
        if members:
            name = metric or task.main_metric
            tables.append(_table(task, kind, name, members, predictions))
    return tables, left_out + failed_cells(store, task_name)


def failed_cells(store: ResultStore, task_name: str) -> list[str]:
    """Return a sentence for every cell of a task whose last run failed and that has no result."""
    return [
        f"{failure.get('title', key)}: failed: {failure.get('error', 'no reason was kept')}"
        for key, failure in store.failures().items()
        if failure.get("task") == task_name
    ]


def _paired(
    store: ResultStore, records: Sequence[Record]
) -> tuple[dict[str, Predictions], list[str]]:
    """Return the predictions of results that are compared image by image, rows of all in the order
    of the first, and a sentence for every result that cannot be."""
    predictions: dict[str, Predictions] = {}
    left_out: list[str] = []
    order: list[str] = []
    for record in records:
        key = str(record["key"])
        try:
            loaded = store.load_predictions(key, str(record.get(PREDICTIONS, "")))
            order = order or _images(loaded)
            predictions[key] = aligned(loaded, order, str(store.predictions_path(key)))
        except PlaceBenchError as error:
            left_out.append(f"{record['title']}: {error.args[0]}")
    return predictions, left_out


def _images(predictions: Predictions) -> list[str]:
    return predictions.table["image_id"].astype(str).tolist()


def aligned(predictions: Predictions, order: Sequence[str], path: str) -> Predictions:
    """Return predictions with their rows (and arrays) in the order of these image ids.

    Raise DataError naming `path` where they are of other images, or where an image stands in
    several rows and the order differs.
    """
    images = _images(predictions)
    if images == list(order):
        return predictions
    rows = {image: row for row, image in enumerate(images)}
    if len(rows) < len(images) or set(rows) != set(order):
        shared = len(set(rows) & set(order))
        raise DataError(
            f"the predictions in {path} are of other images than those they stand beside: "
            f"{shared} of {len(order)} are the same.",
            "Run the task again.",
        )
    places = np.array([rows[image] for image in order])
    unequal = [n for n, values in predictions.arrays.items() if len(values) != len(images)]
    if unequal:
        raise DataError(
            f"the predictions in {path} stand in another order, and {unequal[0]} cannot be sorted.",
            "Run the task again.",
        )
    arrays = {name: values[places] for name, values in predictions.arrays.items()}
    table = predictions.table.iloc[places].reset_index(drop=True)
    return replace(predictions, table=table, arrays=arrays)


def row_names(records: Sequence[Record]) -> dict[str, str]:
    """Return the row of every result (by key): the encoder's label, architecture and settings; two
    encoders of one label are told apart by the hash of their weights, else of their names."""
    encoders: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for record in records:
        encoders[_name(record)].add(_encoder(record))
    return {str(r["key"]): _name(r) + _mark(_encoder(r), encoders[_name(r)]) for r in records}


def _encoder(record: Record) -> tuple[str, str]:
    return str(record["backbone"]), str(record["hash:checkpoint"])


def _mark(encoder: tuple[str, str], same_label: Collection[tuple[str, str]]) -> str:
    if len(same_label) == 1:
        return ""
    hashes = {weights[:6] for _, weights in same_label}
    return f" [{encoder[1][:6] if len(hashes) == len(same_label) else digest(encoder, 6)}]"


def _name(record: Record) -> str:
    words = [str(record.get("label") or record["backbone"])] + (
        [f"({record['architecture']})"] if record["architecture"] else []
    )
    return " ".join(
        words + [f"{key}={value}" for key, value in sorted(record["backbone_settings"].items())]
    )


def _table(
    task: TaskSpec,
    kind: TaskKind,
    metric: str,
    records: Sequence[Record],
    predictions: Mapping[str, Predictions],
) -> Table:
    first = next(iter(predictions.values())).table
    weights = cluster_weights(first["patient_id"].tolist())
    names, columns = row_names(records), []
    for fraction in sorted({float(r["label_fraction"]) for r in records}):
        columns.append(
            _column(
                task,
                kind,
                metric,
                fraction,
                [r for r in records if r["label_fraction"] == fraction],
                names,
                predictions,
                weights,
            )
        )
    facts = dict(zip(_COMPARABLE, (records[0].get(name) for name in _COMPARABLE), strict=True))
    notes = {
        names[str(r["key"])]: str(r["pretrained_on"]) for r in records if r.get("pretrained_on")
    }
    return Table(
        task,
        facts,
        metric,
        columns,
        len(first),
        int(first["patient_id"].nunique()),
        records,
        names,
        notes,
    )


def _column(
    task: TaskSpec,
    kind: TaskKind,
    metric: str,
    fraction: float,
    records: Sequence[Record],
    names: Mapping[str, str],
    predictions: Mapping[str, Predictions],
    weights: Any,
) -> Column:
    rows: dict[str, list[Any]] = defaultdict(list)
    for record in records:
        rows[names[str(record["key"])]].append(
            statistic_of(kind, task, metric, predictions[str(record["key"])])
        )
    estimates = {name: mean_estimate(found, weights) for name, found in rows.items()}
    lower = lower_is_better(kind, metric)
    return Column(
        fraction,
        estimates,
        tie_groups(estimates, lower_is_better=lower),
        {name: len(found) for name, found in rows.items()},
        {name: _spread(found, weights.shape[1]) for name, found in rows.items()},
        ranked(estimates, lower_is_better=lower),
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
    return stdev(values) if len(values) > 1 and not np.isnan(values).any() else float("nan")


def write(
    store: ResultStore, task_name: str, folder: Path, metric: str = ""
) -> tuple[list[Table], list[str]]:
    """Write `<task>.md`, `<task>.csv` and `<task>.differences.csv` into `folder`; demo results go
    to `<task>.demo.*` once real ones exist."""
    from bench.tables import differences_csv, escape, to_csv, to_markdown

    tables, left_out = build(store, task_name, metric)
    written: list[Path] = []
    kinds = {str(table.facts["data_kind"]) for table in tables}
    for data_kind in kinds:
        name = f"{task_name}.demo" if data_kind == "demo" and "real" in kinds else task_name
        chosen = [table for table in tables if table.facts["data_kind"] == data_kind]
        reasons = "".join(f"\nLeft out: {escape(reason)}" for reason in left_out)
        body = "\n".join(to_markdown(table) for table in chosen)
        write_atomically(folder / f"{name}.md", body + reasons + ("\n" if reasons else ""))
        write_atomically(folder / f"{name}.csv", to_csv(chosen))
        write_atomically(folder / f"{name}.differences.csv", differences_csv(chosen))
        written += [folder / f"{name}{end}" for end in (".md", ".csv", ".differences.csv")]
    if not metric and written:
        note(folder, task_name, state_of(store, task_name), written)
    return tables, left_out
