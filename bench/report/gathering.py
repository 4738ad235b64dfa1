"""Which results of a task may share a table, and what is said of every other one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.cells.results import AGAIN, PREDICTIONS, ResultStore
from bench.contracts import KINDS, TASKS, Predictions, TaskKind, TaskSpec
from bench.core.errors import PlaceBenchError, UnknownNameError
from bench.core.hashing import digest
from bench.core.registry import suggest
from bench.metrics.bootstrap import Statistic, point
from bench.report.pairing import Aligned, Result, align
from bench.report.row_names import Record

COMPARABLE = (
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
"""What results have in common that may stand in one table."""
CELL = (
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
"""What says where a result stands in a table, whatever its settings."""


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
            groups[tuple(record.get(name) for name in COMPARABLE)].append(result)
    aligned = []
    for _, group in sorted(groups.items(), key=str):
        results, reasons = align(group)
        aligned.append(results)
        faults += reasons
    return Gathered(aligned, faults, outdated)


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


def _cell_digest(record: Record) -> str:
    """Return a digest of where a result stands in a table, whatever its settings."""
    return digest([record.get(name) for name in CELL])


def _time(record: Record) -> str:
    return str(record.get("time", ""))


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _disagreement(result: Result, task: TaskSpec, kind: TaskKind) -> str:
    """Say where a record that has no hash of its predictions holds another value than they give."""
    metric = kind.metric_of(task, str(result.record["protocol"]))
    recorded = result.record.get(f"metric:{metric}")
    if recorded is None:
        return ""
    try:
        statistic = _statistic_of(kind, task, metric, result.predictions)
        value = point(statistic, len(result.predictions.table))
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        return f"its predictions do not fit the task ({type(error).__name__}: {error}). {AGAIN}"
    if np.isclose(value, recorded, rtol=1e-6, atol=1e-6):
        return ""
    return (
        f"its predictions give {metric} {value:.6f}, its record says {recorded:.6f}. "
        "Run it again with --force."
    )


def _statistic_of(
    kind: TaskKind, task: TaskSpec, metric: str, predictions: Predictions
) -> Statistic:
    """Return one metric of some predictions; raise UnknownNameError with the nearest ones where it
    is none of the task."""
    statistics = kind.statistics(predictions, task)
    if metric not in statistics:
        raise no_metric(task, metric, statistics)
    return statistics[metric]


def no_metric(task: TaskSpec, metric: str, names: Collection[str]) -> UnknownNameError:
    """Return the error for a metric that a task does not have."""
    return UnknownNameError(f"task '{task.name}' has no metric '{metric}'.", suggest(metric, names))
