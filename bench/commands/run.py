"""What `run`, `pretrain` and `leaderboard` do, behind the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.cells.completion import complete_results
from bench.cells.encoders import (
    PretrainRequest,
    check_encoder,
    check_encoder_settings,
    encoder_request,
    resolve_encoder,
    train_encoder,
)
from bench.cells.engines.local import Job, Outcome, rename_rows, run_jobs
from bench.cells.prepare import (
    RunRequest,
    TaskPlan,
    backbone_names,
    check_request,
    entrants,
    expand_tasks,
    make_cell,
    plan_task,
)
from bench.cells.results import ResultStore
from bench.cells.seen import check_unseen
from bench.commands.dry_run import print_plan
from bench.contracts import BACKBONES, BackboneRequest, Progress
from bench.core.errors import PlaceBenchError, UnknownNameError
from bench.core.naming import short_name
from bench.core.paths import check_cache, check_out, check_results, tidy_caches
from bench.core.progress import default_progress
from bench.core.registry import suggest
from bench.report.leaderboard import Table, build
from bench.report.overview import overview_markdown
from bench.report.tables import comparison, to_markdown
from bench.report.views import Page, Views

if TYPE_CHECKING:
    from bench.mm.export import Head


def run_command(request: RunRequest, *, dry_run: bool) -> int:
    """Run what is missing, then write and print the leaderboards; return the exit code (1 where a
    cell failed)."""
    progress = default_progress()
    check_request(request)
    check_encoder_settings(request)
    for name in backbone_names(request):
        check_encoder(encoder_request(name, request))
    if dry_run:
        print_plan(request)
        return 0
    check_results(request.results)
    check_cache()
    store = ResultStore(request.results)
    store.tidy()
    tidy_caches()
    plans = [plan_task(name, request, progress) for name in expand_tasks(request.tasks)]
    jobs = _once([job for plan in plans for job in _jobs(plan, request, progress)], progress)
    rename_rows(jobs, request)
    if not request.force:
        complete_results(jobs, store, progress)
    missing = _missing(jobs, request, progress)
    outcome = run_jobs(missing, request, progress) if missing else Outcome()
    progress.say(_tally(len(jobs), outcome))
    _publish(plans, Views(store), progress)
    return 1 if outcome.failed else 0


def _tally(planned: int, outcome: Outcome) -> str:
    failed, left_out = len(outcome.failed), len(outcome.left_out)
    parts = [
        f"{len(outcome.done)} cell(s) run",
        f"{planned - len(outcome.done) - failed - left_out} had a result",
    ]
    return (
        ", ".join(
            parts + [f"{failed} failed"] * bool(failed) + [f"{left_out} left out"] * bool(left_out)
        )
        + "."
    )


def _jobs(plan: TaskPlan, request: RunRequest, progress: Progress) -> list[Job]:
    found = []
    for name in entrants(plan.task, request):
        spec = BACKBONES.get(name)
        encoder = resolve_encoder(encoder_request(name, request), progress)
        seen = check_unseen(plan, name, encoder, allowed=request.allow_seen)
        if seen:
            progress.say(seen)
        for fraction in request.fractions or plan.task.fractions:
            found += [
                Job(make_cell(plan, spec, encoder, fraction, seed, request), plan, encoder)
                for seed in request.seeds
            ]
    return found


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


def _publish(plans: Sequence[TaskPlan], views: Views, progress: Progress) -> None:
    """Write what is not of the results as they are now, then print the pages."""
    pages: dict[str, Page | None] = {}
    with views.locked():
        for plan in plans:
            pages[plan.task.name] = views.update_tables(plan.task.name)
            views.update_pictures(plan, pages[plan.task.name], progress)
        if len(plans) > 1:
            views.update_overview(pages)
    for task in pages:
        _print_page(task, views, progress)
    if len(plans) > 1:
        for path in views.files("overview"):
            if path.suffix == ".md":
                print(path.read_text(encoding="utf-8"))


def _print_page(task: str, views: Views, progress: Progress) -> None:
    path = views.folder / f"{task}.md"
    if path in views.files(task):
        print(path.read_text(encoding="utf-8"))
        progress.say(f"Tables: {views.folder / task}.md and .csv")
        return
    progress.say(f"No table of {task}: no cell has a result.")
    for reason in build(views.store, task)[1]:
        progress.say(f"Left out: {reason}")


def pretrain_command(request: PretrainRequest, *, force: bool) -> None:
    """Pre-train and say where the checkpoint is."""
    progress = default_progress()
    check_cache()
    tidy_caches()
    if request.out:
        check_out(request.out)
    encoder = train_encoder(request, progress, force=force)
    print(encoder.checkpoint)


def export_command(
    framework: Literal["mmseg", "mmdet"],
    request: PretrainRequest,
    out: Path,
    head: Head,
    *,
    native: bool,
    overwrite: bool,
) -> None:
    """Write the config and print how to train with it."""
    from bench.mm.export import export_config

    check_out(out)
    encoder = resolve_encoder(request, default_progress())
    wanted = BackboneRequest(request.profile, request.architecture, checkpoint=encoder.checkpoint)
    path = export_config(
        framework, request.method, wanted, out, head, native=native, overwrite=overwrite
    )
    print(path)
    runner = "from mmengine.config import Config; from mmengine.runner import Runner"
    print(f"Train: python -c \"{runner}; Runner.from_cfg(Config.fromfile('{path}')).train()\"")


def leaderboard_command(names: Sequence[str], metric: str, results: Path) -> None:
    """Write and print the tables of the named tasks, or of all that have results."""
    check_results(results)
    store = ResultStore(results)
    chosen = expand_tasks(names) if names else _tasks_of(store)
    if not chosen:
        raise PlaceBenchError(
            f"no results in {store.path}.", "Run a task first, e.g. `place-bench run siim_seg`."
        )
    views = Views(store)
    with views.locked():
        found = {name: views.write_tables(name, metric) for name in chosen}
        tables = {name: page.tables for name, page in found.items() if page.tables}
        overviews = views.write_overview(tables, metric) if len(chosen) > 1 else []
    for page in found.values():
        for text in (*map(to_markdown, page.tables), *_left_out(page)):
            print(text)
    for overview in overviews:
        print(overview_markdown(overview))
    without = [name for name in chosen if name not in tables and (names or not tables)]
    if without:
        raise PlaceBenchError(
            f"task '{without[0]}' has no results in {store.path}.",
            f"Run `place-bench run {without[0]}`.",
        )


def _left_out(page: Page) -> list[str]:
    return [f"Left out: {reason}" for reason in page.left_out]


def _tasks_of(store: ResultStore) -> list[str]:
    """Return the tasks that have results, or cells that failed."""
    records = [*store.records().values(), *store.failures().values()]
    return sorted({str(record["task"]) for record in records})


def compare_command(name: str, encoders: Sequence[str], metric: str, results: Path) -> None:
    """Print the paired differences of a task's rows; a row is named as in the table, or by its
    encoder's name alone."""
    store = ResultStore(results)
    tables, left_out = build(store, expand_tasks([name])[0], metric)
    for reason in left_out:
        default_progress().say(f"Left out: {reason}")
    if not tables:
        raise PlaceBenchError(
            f"task '{name}' has no results in {store.path}.", f"Run `place-bench run {name}`."
        )
    for table in tables:
        print(
            comparison(table, [row for encoder in encoders for row in _rows_named(table, encoder)])
        )


def _rows_named(table: Table, encoder: str) -> list[str]:
    wanted = {encoder, short_name(encoder)}
    found = [row for row in table.rows if wanted & {row, row.split(" ")[0]}]
    if not found:
        raise UnknownNameError(
            f"no row '{encoder}' in the table of '{table.task.name}'.", suggest(encoder, table.rows)
        )
    return found
