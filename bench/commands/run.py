"""What `run`, `pretrain` and `leaderboard` do, behind the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.api import rows_named, tables_of
from bench.cells.encoders import PretrainRequest, resolve_encoder, train_encoder
from bench.cells.request import RunRequest, expand_tasks
from bench.cells.results import ResultStore
from bench.commands.dry_run import plan_run, print_json, print_plan
from bench.contracts import BackboneRequest, Progress
from bench.core.errors import PlaceBenchError, SettingError
from bench.core.paths import check_cache, check_out, check_results, tidy_caches
from bench.core.progress import default_progress
from bench.metrics.intervals import IntervalMethod
from bench.report.leaderboard import build
from bench.report.leaderboard_pages import comparison, to_markdown
from bench.report.overview import overview_markdown
from bench.report.views import Page, Views
from bench.running import check_run, run_request

if TYPE_CHECKING:
    from bench.mm.export import Head


def run_command(request: RunRequest, *, dry_run: bool, as_json: bool = False) -> int:
    """Run what is missing, then print the leaderboards; return the exit code (1 where a cell
    failed). With `dry_run` say what would be run."""
    progress = default_progress()
    if as_json and not dry_run:
        raise SettingError("--json is for a dry run: a run writes tables.", "Add --dry-run.")
    check_run(request)
    if dry_run:
        show = print_json if as_json else print_plan
        show(plan_run(request))
        return 0
    outcome = run_request(request, progress)
    for task in outcome.tasks:
        _print_page(task, outcome.views, progress)
    if len(outcome.tasks) > 1:
        for path in outcome.views.files("overview"):
            if path.suffix == ".md":
                print(path.read_text(encoding="utf-8"))
    return 1 if outcome.failed else 0


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
    build_request = BackboneRequest(
        request.profile, request.architecture, checkpoint=encoder.checkpoint
    )
    path = export_config(
        framework, request.method, build_request, out, head, native=native, overwrite=overwrite
    )
    print(path)
    runner = "from mmengine.config import Config; from mmengine.runner import Runner"
    print(f"Train: python -c \"{runner}; Runner.from_cfg(Config.fromfile('{path}')).train()\"")


def leaderboard_command(
    names: Sequence[str], metric: str, results: Path, intervals: IntervalMethod = "standard"
) -> None:
    """Write and print the tables of the named tasks, or of all that have results."""
    check_results(results)
    store = ResultStore(results)
    tasks = expand_tasks(names) if names else _tasks_of(store)
    if not tasks:
        raise PlaceBenchError(
            f"no results in {store.path}.", "Run a task first, e.g. `place-bench run siim_seg`."
        )
    views = Views(store)
    with views.locked():
        pages = {task: views.write_tables(task, metric, intervals) for task in tasks}
        tables = {task: page.tables for task, page in pages.items() if page.tables}
        overviews = views.write_overview(tables, metric) if len(tasks) > 1 else []
    for page in pages.values():
        for text in (*map(to_markdown, page.tables), *_left_out(page)):
            print(text)
    for overview in overviews:
        print(overview_markdown(overview))
    without = [task for task in tasks if task not in tables and (names or not tables)]
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


def compare_command(
    name: str,
    encoders: Sequence[str],
    metric: str,
    results: Path,
    intervals: IntervalMethod = "standard",
) -> None:
    """Print the paired differences of a task's rows; a row is named as in the table, or by its
    encoder's name alone."""
    tables, left_out = tables_of(name, metric, results, intervals)
    for reason in left_out:
        default_progress().say(f"Left out: {reason}")
    for table in tables:
        print(
            comparison(table, [row for encoder in encoders for row in rows_named(table, encoder)])
        )
