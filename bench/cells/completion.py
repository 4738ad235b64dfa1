"""Metrics that a result lacks, since a program was missing when it was made: measured now where the
predictions allow it, else named with the way to get them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.cells.engines.local import Job
from bench.cells.results import ResultStore
from bench.cells.runner import measured, score
from bench.contracts import Predictions, Progress

MISSING = "fit:missing:"
"""Facts of a result that begin so say what it lacks, and why."""
_MEASURED = ("metric:", "low:", "high:", "fit:")


def complete_results(jobs: Sequence[Job], store: ResultStore, progress: Progress) -> int:
    """Measure what finished cells lack; return how many results are new.

    A task kind decides what can be made from kept predictions (`TaskKind.complete`). Results that
    stay as they are get one sentence per reason.
    """
    records = store.records()
    lacking = [job for job in jobs if reasons_lacking(records.get(job.cell.key, {}))]
    completed = [job for job in lacking if _complete(job, records[job.cell.key], store)]
    if completed:
        progress.say(f"{len(completed)} result(s) lacked metrics, which were measured now.")
    left = [records[job.cell.key] for job in lacking if job not in completed]
    for reason in sorted({reason for record in left for reason in reasons_lacking(record)}):
        count = sum(reason in reasons_lacking(record) for record in left)
        progress.say(
            f"{count} result(s) were made before without all metrics: {reason}. Once that is "
            "solved, run again with --force."
        )
    return len(completed)


def reasons_lacking(record: Mapping[str, Any]) -> list[str]:
    """Return why a result lacks metrics: a reason for each program that was missing."""
    return [str(value).rstrip(".") for name, value in record.items() if name.startswith(MISSING)]


def _complete(job: Job, record: Mapping[str, Any], store: ResultStore) -> bool:
    """Measure one result again where its kind can make what was missing."""
    if store.fault(record):
        return False
    incomplete = store.load_predictions(record)
    predictions = job.plan.kind.complete(incomplete, job.plan.settings)
    if predictions is None:
        return False
    with store.claim(job.cell.key):
        store.finish(_record(record, job, predictions), predictions)
    return True


def _record(record: Mapping[str, Any], job: Job, predictions: Predictions) -> dict[str, Any]:
    lasting = {name: value for name, value in record.items() if not name.startswith(_MEASURED)}
    return lasting | measured(predictions, score(job.plan, predictions))
