"""place-bench from Python: what the command line, the studies and a notebook stand on. Nothing here
prints; long work reports to a `progress` (silent by default)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.cells.completion import complete_results
from bench.cells.encoders import (
    PretrainRequest,
    check_encoder,
    check_encoder_settings,
    encoder_request,
    resolve_encoder,
)
from bench.cells.engines.local import CellOutcomes, Job, pick_device, rename_rows, run_jobs
from bench.cells.foreign import check_foreign_encoders
from bench.cells.loading import load_encoder
from bench.cells.prepare import TaskPlan, make_cell, plan_task
from bench.cells.request import (
    SEEDS,
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
from bench.contracts import (
    ANNOTATIONS,
    BACKBONES,
    DATASETS,
    EVERY,
    TASKS,
    BackboneRequest,
    ImageEncoder,
    OnError,
    Predictions,
    Profile,
    Progress,
    Subset,
)
from bench.core.errors import PlaceBenchError, UnknownNameError
from bench.core.machine import default_threads, use_threads
from bench.core.naming import short_name
from bench.core.paths import check_cache, check_results, tidy_caches
from bench.core.progress import Silent
from bench.core.registry import suggest
from bench.metrics.intervals import IntervalMethod
from bench.report.csv_files import to_rows
from bench.report.leaderboard import Table, build
from bench.report.views import Page, Views

if TYPE_CHECKING:
    import pandas as pd

DataChoice = Literal["auto", "real", "demo"]


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


def run(
    tasks: str | Sequence[str],
    backbones: str | Sequence[str] = (),
    *,
    fractions: Sequence[float] = (),
    seeds: Sequence[int] = SEEDS,
    profile: Profile = "demo",
    protocol: str = "default",
    architecture: str = "",
    settings: Mapping[str, object] | None = None,
    checkpoints: Mapping[str, str | Path] | None = None,
    device: str = "auto",
    data: DataChoice = "auto",
    data_root: str | Path | None = None,
    results: str | Path = "results",
    on_error: OnError = "stop",
    force: bool = False,
    allow_seen: bool = False,
    frame: bool = True,
    workers: int = 2,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Run every missing cell of tasks (or groups) and encoders, and update the leaderboards.

    The options are those of `place-bench run`; `settings` are those of `--set`, e.g.
    `{"epochs": 20, "pretrain.tau2": 0.2}`. Raises PlaceBenchError as the command line does, with a
    sentence that says what to do.
    """
    request = RunRequest(
        tasks=_names(tasks),
        backbones=_names(backbones),
        fractions=tuple(fractions),
        seeds=tuple(seeds),
        profile=profile,
        protocol=protocol,
        architecture=architecture,
        settings={name: str(value) for name, value in (settings or {}).items()},
        checkpoints={name: Path(path) for name, path in (checkpoints or {}).items()},
        device=device,
        data=data,
        data_root=Path(data_root) if data_root else None,
        results=Path(results),
        on_error=on_error,
        force=force,
        allow_seen=allow_seen,
        frame=frame,
        workers=workers,
        threads=threads or default_threads(),
    )
    check_run(request)
    return run_request(request, progress or Silent())


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


def score(
    task: str,
    path: str | Path,
    name: str,
    *,
    thresholds: float | Mapping[str, float] | None = None,
    validation: str | Path | None = None,
    fraction: float = 1.0,
    seed: int = 0,
    profile: Profile = "demo",
    protocol: str = "default",
    settings: Mapping[str, object] | None = None,
    data: DataChoice = "auto",
    data_root: str | Path | None = None,
    results: str | Path = "results",
    on_error: OnError = "stop",
    force: bool = False,
    workers: int = 2,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Score predictions that were made elsewhere and keep them as the row `name`; no model is run.

    The options are those of `place-bench score`; which files a task reads says docs/scoring.md.
    Raises PlaceBenchError as the command line does.
    """
    asked = RunRequest(
        tasks=(task,),
        profile=profile,
        protocol=protocol,
        settings={key: str(value) for key, value in (settings or {}).items()},
        data=data,
        data_root=Path(data_root) if data_root else None,
        results=Path(results),
        on_error=on_error,
        force=force,
        workers=workers,
        threads=threads or default_threads(),
    )
    stated = {EVERY: thresholds} if isinstance(thresholds, (int, float)) else thresholds
    request = ScoreRequest(
        run=asked,
        path=Path(path),
        name=name,
        fraction=fraction,
        seed=seed,
        thresholds={label: float(value) for label, value in (stated or {}).items()},
        validation=Path(validation) if validation else None,
    )
    return score_request(request, progress or Silent())


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


def compare(
    task: str,
    backbones: str | Sequence[str] = (),
    *,
    metric: str = "",
    results: str | Path = "results",
    intervals: IntervalMethod = "standard",
) -> pd.DataFrame:
    """Return every paired difference of a task's rows (all, or those named) at every label
    fraction: better minus worse, 95% interval, p and p corrected by Holm for the pairs shown."""
    import pandas as pd

    rows = []
    for table in tables_of(task, metric, Path(results), intervals)[0]:
        among = [row for name in _names(backbones) for row in rows_named(table, name)]
        for column in table.columns:
            for difference in column.differences(among):
                rows.append(
                    {
                        "label_fraction": column.fraction,
                        "metric": table.metric,
                        "better": difference.one,
                        "worse": difference.other,
                        "difference": difference.value,
                        "low": difference.low,
                        "high": difference.high,
                        "p": difference.p,
                        "p_holm": difference.p_holm,
                        **{name: table.facts[name] for name in ("data_kind", "protocol")},
                    }
                )
    return pd.DataFrame(rows)


def tables_of(
    task: str, metric: str, results: Path, intervals: IntervalMethod = "standard"
) -> tuple[list[Table], list[str]]:
    """Return the tables of a task and what was left out; raise PlaceBenchError where it has
    none."""
    store = ResultStore(results)
    tables, left_out = build(store, expand_tasks([task])[0], metric, intervals)
    if not tables:
        raise PlaceBenchError(
            f"task '{task}' has no results in {store.path}.", f"Run `place-bench run {task}`."
        )
    return tables, left_out


def rows_named(table: Table, encoder: str) -> list[str]:
    """Return the rows of a table by a row's or an encoder's name; raise UnknownNameError with the
    nearest."""
    names = {encoder, short_name(encoder)}
    rows = [row for row in table.rows if names & {row, row.split(" ")[0]}]
    if not rows:
        raise UnknownNameError(
            f"no row '{encoder}' in the table of '{table.task.name}'.", suggest(encoder, table.rows)
        )
    return rows


def load_backbone(
    name: str,
    *,
    profile: Profile = "demo",
    architecture: str = "",
    checkpoint: str | Path | None = None,
    settings: Mapping[str, object] | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> ImageEncoder:
    """Return an encoder as a run would use it, in evaluation mode.

    `settings` are those of the encoder (`--set backbone.*`). In the demo profile a method that has
    no checkpoint yet is pre-trained first; `progress` shows it.
    """
    encoder_settings = {key: str(value) for key, value in (settings or {}).items()}
    request = PretrainRequest(
        name,
        profile=profile,
        architecture=architecture,
        backbone_settings=encoder_settings,
        device=device,
        data="demo" if profile == "demo" else "real",
        checkpoint=Path(checkpoint) if checkpoint else None,
    )
    check_encoder(request)
    encoder = resolve_encoder(request, progress or Silent())
    use_threads(request.threads)
    built = BackboneRequest(
        profile, encoder.architecture, seed, encoder.checkpoint, encoder_settings
    )
    return load_encoder(BACKBONES.get(name), built, pick_device(device))


def load_dataset(
    name: str,
    *,
    size: int = 224,
    data: DataChoice = "auto",
    data_root: str | Path | None = None,
    on_error: OnError = "stop",
    workers: int = 2,
    progress: Progress | None = None,
) -> Subset:
    """Return all images of a dataset, decoded once into squares of `size` px, with the annotations
    it has: `subset.get(Masks)` of `bench.data.annotations`.

    `subset.index` has a row per image (`split` is "" where there is no official one),
    `subset.images(rows)` its pixels.
    """
    from bench.data.loading import prepare
    from bench.data.roots import resolve_root

    dataset = DATASETS.get(name)
    silent = progress or Silent()
    folder = Path(data_root) if data_root else None
    root = resolve_root(dataset, folder, data, workers=workers, progress=silent)
    prepared = prepare(
        dataset,
        root.path,
        size=size,
        annotations=[kind for _, kind in ANNOTATIONS.items() if kind.offered(dataset)],
        on_error=on_error,
        workers=workers,
        progress=silent,
    )
    return prepared.subset(prepared.index)


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _frame(tables: Sequence[Table]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(to_rows(*tables))
    numbers = [name for name in ("value", "low", "high", "seed_sd") if name in frame]
    return frame.astype(dict.fromkeys(numbers, float))
