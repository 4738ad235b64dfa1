"""Carry out what was asked for: a run or a scoring, from a request to the views of its results.
Nothing here prints; long work reports to a `progress`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cells.completion import complete_results
from bench.cells.encoders import (
    check_encoder,
    check_encoder_settings,
    encoder_request,
    resolve_encoder,
)
from bench.cells.engines.local import CellOutcomes, Job, rename_rows, run_jobs
from bench.cells.foreign import check_foreign_encoders
from bench.cells.prepare import TaskPlan, make_cell, plan_task
from bench.cells.request import (
    RunRequest,
    asked_of,
    backbone_names,
    check_request,
    check_rows,
    expand_tasks,
    left_out,
    seeds_of,
    table_rows,
)
from bench.cells.results import ResultStore
from bench.cells.seen import check_unseen
from bench.cells.submitted import ScoreRequest, check_submission, score_submission
from bench.contracts import BACKBONES, TASKS, Predictions, Progress
from bench.core.paths import check_cache, check_results, tidy_caches
from bench.report.csv_files import to_rows
from bench.report.leaderboard import Table, build
from bench.report.views import Page, Views

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Outcome:
    """What a run gave: its cells, and the views of the results folder they stand in."""

    request: RunRequest
    tasks: tuple[str, ...]
    keys: tuple[str, ...]
    cells: CellOutcomes
    views: Views

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return the records of the run's cells that have a result, in the order they were asked
        for: every metric with its interval, every setting, hashes, versions, timings."""
        records = self.views.store.records()
        return [records[key] for key in self.keys if key in records]

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Return the records of the cells that failed; `error` says why."""
        return self.cells.failed

    @property
    def left_out(self) -> list[str]:
        """Return a sentence for every cell that cannot be, such as zero-shot without a text
        side."""
        return self.cells.left_out

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the leaderboard of every task: a row per encoder and label fraction."""
        return {task: self.table(task) for task in self.tasks}

    def table(self, task: str = "", metric: str = "") -> pd.DataFrame:
        """Return the leaderboard of one task (the run's first one unless named), by its main metric
        or another."""
        return _frame(build(self.views.store, task or self.tasks[0], metric)[0])

    @property
    def pages(self) -> dict[str, str]:
        """Return the leaderboard page of every task that has results, Markdown."""
        paths = {task: self.views.folder / f"{task}.md" for task in self.tasks}
        return {
            task: path.read_text(encoding="utf-8")
            for task, path in paths.items()
            if path in self.views.files(task)
        }

    @property
    def pictures(self) -> dict[str, Path]:
        """Return the picture of every task that has one."""
        paths = {task: self.views.folder / f"{task}.png" for task in self.tasks}
        return {task: path for task, path in paths.items() if path.is_file()}

    def predictions(self, record: Mapping[str, Any]) -> Predictions:
        """Return the per-image predictions behind a record; raise PlaceBenchError naming their file
        where they are damaged."""
        return self.views.store.load_predictions(record)


def check_run(request: RunRequest) -> None:
    """Raise PlaceBenchError for a request that cannot be run, before any file is touched."""
    check_request(request)
    check_rows(request)
    check_encoder_settings(request)
    for name in backbone_names(request):
        check_encoder(encoder_request(name, request))


def run_request(request: RunRequest, progress: Progress) -> Outcome:
    """Run a checked request and update the views of its results."""
    check_results(request.results)
    check_cache()
    store = ResultStore(request.results)
    store.tidy()
    tidy_caches()
    check_foreign_encoders(request)
    names = expand_tasks(request.tasks)
    refused = [reason for name in names for reason in left_out(TASKS.get(name), request)]
    for reason in refused:
        progress.say(f"Left out: {reason}")
    plans = [plan_task(name, request, progress) for name in names if _has_rows(name, request)]
    jobs = _once([job for plan in plans for job in _jobs(plan, request, progress)], progress)
    rename_rows(jobs, request)
    if not request.force:
        complete_results(jobs, store, progress)
    missing = _missing(jobs, request, progress)
    cells = run_jobs(missing, request, progress) if missing else CellOutcomes()
    progress.say(_tally(len(jobs), cells))
    cells.left_out.extend(refused)
    views = Views(store)
    _update(plans, views, progress)
    return Outcome(request, tuple(names), tuple(job.cell.key for job in jobs), cells, views)


def score_request(request: ScoreRequest, progress: Progress) -> Outcome:
    """Score what was handed in and update the views of its results."""
    check_submission(request)
    check_results(request.run.results)
    check_cache()
    store = ResultStore(request.run.results)
    plan = plan_task(request.task.name, request.run, progress)
    record = score_submission(request, plan, store, progress)
    views = Views(store)
    _update([plan], views, progress)
    cells = CellOutcomes(done=[record])
    return Outcome(request.run, (request.task.name,), (str(record["key"]),), cells, views)


def _has_rows(task: str, request: RunRequest) -> bool:
    return bool(table_rows(TASKS.get(task), request))


def _tally(planned: int, cells: CellOutcomes) -> str:
    failed = len(cells.failed)
    left_out = len(cells.left_out)
    parts = [
        f"{len(cells.done)} cell(s) run",
        f"{planned - len(cells.done) - failed - left_out} had a result",
    ]
    if failed:
        parts.append(f"{failed} failed")
    if left_out:
        parts.append(f"{left_out} left out")
    return ", ".join(parts) + "."


def _jobs(plan: TaskPlan, request: RunRequest, progress: Progress) -> list[Job]:
    jobs = []
    for name in table_rows(plan.task, request):
        spec = BACKBONES.get(name)
        asked = asked_of(name, request)
        encoder = resolve_encoder(encoder_request(name, asked), progress)
        seen = check_unseen(plan, name, encoder, allowed=request.allow_seen)
        if seen:
            progress.say(seen)
        for fraction in request.fractions or plan.task.fractions:
            jobs += [
                Job(make_cell(plan, spec, encoder, fraction, seed, asked), plan, encoder)
                for seed in seeds_of(name, plan.task, request)
            ]
    return jobs


def _once(jobs: Sequence[Job], progress: Progress) -> list[Job]:
    """Return the jobs without those that ask for the same cell by another name of its encoder."""
    first: dict[str, Job] = {}
    for job in jobs:
        earlier = first.setdefault(job.cell.key, job)
        if earlier.cell.source != job.cell.source:
            progress.say(f"{job.cell.row} is the same encoder as {earlier.cell.row}: one row.")
    return list(first.values())


def _missing(jobs: Sequence[Job], request: RunRequest, progress: Progress) -> list[Job]:
    """Return the jobs without a result, saying whose predictions are damaged."""
    if request.force:
        return list(jobs)
    store = ResultStore(request.results)
    records = store.records()
    missing = []
    for job in jobs:
        record = records.get(job.cell.key)
        fault = store.fault(record) if record else ""
        if fault:
            progress.say(f"{job.cell.title}: {fault} The cell is run again.")
        if fault or not record:
            missing.append(job)
    return missing


def _update(plans: Sequence[TaskPlan], views: Views, progress: Progress) -> None:
    """Write the views that do not show the results as they are now."""
    pages: dict[str, Page | None] = {}
    with views.locked():
        for plan in plans:
            pages[plan.task.name] = views.update_tables(plan.task.name)
            views.update_pictures(plan, pages[plan.task.name], progress)
        if len(plans) > 1:
            views.update_overview(pages)


def _frame(tables: Sequence[Table]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(to_rows(*tables))
    numbers = [name for name in ("value", "low", "high", "seed_sd") if name in frame]
    return frame.astype(dict.fromkeys(numbers, float))
