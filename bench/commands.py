"""What `run`, `pretrain` and `leaderboard` do, behind the command line."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.cell import digest
from bench.completion import complete_results
from bench.contracts import BACKBONES, DEMO_NOTE, BackboneRequest, Progress
from bench.dry_run import print_plan
from bench.engines.local import Job, Outcome, rename_rows, run_jobs
from bench.errors import PlaceBenchError, UnknownNameError
from bench.leaderboard import Table, build, write
from bench.naming import short_name
from bench.overview import overview_markdown, write_overview
from bench.paths import cache_home, check_cache, check_out, check_results
from bench.pictures import stamp
from bench.plan import (
    RunRequest,
    TaskPlan,
    backbone_names,
    check_request,
    entrants,
    expand_tasks,
    make_cell,
    plan_task,
)
from bench.pretraining import (
    PretrainRequest,
    check_encoder,
    check_encoder_settings,
    encoder_request,
    resolve_encoder,
    train_encoder,
)
from bench.progress import default_progress
from bench.registry import suggest
from bench.results import PREDICTIONS, ResultStore
from bench.seen import check_unseen
from bench.storage import sweep
from bench.tables import comparison, to_markdown
from bench.views import is_fresh, note, state_of

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
    sweep(request.results / "predictions", request.results / "leaderboards")
    plans = [plan_task(name, request, progress) for name in expand_tasks(request.tasks)]
    jobs = _once([job for plan in plans for job in _jobs(plan, request, progress)], progress)
    rename_rows(jobs, request)
    if not request.force:
        complete_results(jobs, ResultStore(request.results), progress)
    _clear_work(ResultStore(request.results))
    outcome = (
        run_jobs(_missing(jobs, request), request, progress)
        if _missing(jobs, request)
        else Outcome()
    )
    progress.say(_tally(len(jobs), outcome))
    tables = {plan.task.name: _publish(plan, request, progress) for plan in plans}
    if len(plans) > 1:
        store = ResultStore(request.results)
        _print_overview(
            {name: found or build(store, name)[0] for name, found in tables.items()},
            request.results,
        )
    return 1 if outcome.failed else 0


def _clear_work(store: ResultStore) -> None:
    """Remove the work folders that killed processes left of cells that have a result by now."""
    for key in store.records():
        folder = store.work_dir(key)
        if folder.is_dir():
            with store.claim(key, wait=False) as ours:
                if ours:
                    shutil.rmtree(folder, ignore_errors=True)


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


def _missing(jobs: Sequence[Job], request: RunRequest) -> list[Job]:
    finished = ResultStore(request.results).finished()
    return [job for job in jobs if request.force or job.cell.key not in finished]


def _publish(plan: TaskPlan, request: RunRequest, progress: Progress) -> list[Table]:
    """Write the tables and the picture where they do not show the store as it is, whoever ran its
    cells; print the page and return the tables that were made."""
    folder = request.results / "leaderboards"
    store = ResultStore(request.results)
    tables: list[Table] = []
    state = state_of(store, plan.task.name)
    picture = f"{plan.task.name}.png"
    drawn_from = digest([state, plan.test_hash, plan.data_hash])
    if not is_fresh(folder, plan.task.name, state):
        tables, _ = write(store, plan.task.name, folder)
    if not is_fresh(folder, picture, drawn_from):
        tables = tables or build(store, plan.task.name)[0]
        _figures(plan, tables, request, progress)
        note(folder, picture, drawn_from, [p for p in [folder / picture] if p.is_file()])
    if not (folder / f"{plan.task.name}.md").is_file():
        progress.say(f"No table of {plan.task.name}: no cell has a result.")
        return tables
    print((folder / f"{plan.task.name}.md").read_text(encoding="utf-8"))
    progress.say(f"Tables: {folder / plan.task.name}.md and .csv")
    return tables


def _figures(
    plan: TaskPlan, tables: Sequence[Table], request: RunRequest, progress: Progress
) -> None:
    store = ResultStore(request.results)
    for table in tables:
        if table.facts["hash:test"] != plan.test_hash or table.facts["hash:data"] != plan.data_hash:
            continue
        last = table.columns[-1].fraction
        shown = {
            table.names[r["key"]]: store.load_predictions(r["key"], r.get(PREDICTIONS, ""))
            for r in table.records
            if r["label_fraction"] == last
        }
        test = plan.prepared.subset(plan.index[plan.index["split"] == "test"])
        path = plan.kind.figure(
            plan.task, test, shown, request.results / "leaderboards" / f"{plan.task.name}.png"
        )
        if path:
            if plan.root.kind == "demo":
                stamp(path, DEMO_NOTE)
            progress.say(f"Figure: {path}")


def pretrain_command(request: PretrainRequest, *, force: bool) -> None:
    """Pre-train and say where the checkpoint is."""
    progress = default_progress()
    check_cache()
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
    store = ResultStore(results)
    check_results(results)
    everything = [*store.records().values(), *store.failures().values()]
    chosen = expand_tasks(names) if names else sorted({str(r["task"]) for r in everything})
    if not chosen:
        raise PlaceBenchError(
            f"no results in {store.path}.", "Run a task first, e.g. `place-bench run siim_seg`."
        )
    found: dict[str, list[Table]] = {}
    for name in chosen:
        tables, left_out = write(store, name, results / "leaderboards", metric)
        found[name] = tables
        if not tables:
            reasons = "".join(f" {reason}" for reason in left_out[:3])
            raise PlaceBenchError(
                f"task '{name}' has no results in {store.path}.{reasons}",
                f"Run `place-bench run {name}`.",
            )
        print(
            "\n".join(
                [to_markdown(table) for table in tables]
                + [f"Left out: {reason}" for reason in left_out]
            )
        )
    if len(chosen) > 1:
        _print_overview(found, results)


def verify_results_command(results: Path, *, cache: bool) -> int:
    """Print what is wrong with a results folder, and with the cache where asked; return 2 where
    anything is, else 0."""
    from bench.cache_check import verify_caches

    store = ResultStore(results)
    records = store.records()
    faults = [line.fault for line in store.lines() if line.fault]
    faults += [
        f"{record.get('title', key)}: {fault}"
        for key, record in records.items()
        if (fault := store.fault(record))
    ]
    if cache:
        faults += verify_caches(cache_home())
    for fault in faults:
        print(fault)
    checked = f"{len(records)} results" + (" and the cache" if cache else "")
    print(f"{checked}: {f'{len(faults)} faults' if faults else 'sound'}")
    return 2 if faults else 0


def compare_command(name: str, encoders: Sequence[str], metric: str, results: Path) -> None:
    """Print the paired differences of a task's rows; a row is named as in the table, or by its
    encoder's name alone."""
    store = ResultStore(results)
    tables, _ = build(store, expand_tasks([name])[0], metric)
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


def _print_overview(tables: Mapping[str, Sequence[Table]], results: Path) -> None:
    for overview in write_overview(tables, results / "leaderboards"):
        print(overview_markdown(overview))
