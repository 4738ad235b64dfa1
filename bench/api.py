"""place-bench from Python: what studies and notebooks call. Nothing here prints; long work reports
to a `progress` (silent by default)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.cells.encoders import PretrainRequest, check_encoder, resolve_encoder
from bench.cells.engines.local import pick_device
from bench.cells.loading import load_encoder
from bench.cells.request import SEEDS, RunRequest, expand_tasks
from bench.cells.results import ResultStore
from bench.cells.submitted import ScoreRequest
from bench.contracts import (
    ANNOTATIONS,
    BACKBONES,
    DATASETS,
    EVERY,
    BackboneRequest,
    ImageEncoder,
    OnError,
    Profile,
    Progress,
    Subset,
)
from bench.core.errors import PlaceBenchError, UnknownNameError
from bench.core.machine import default_threads, use_threads
from bench.core.naming import short_name
from bench.core.progress import Silent
from bench.core.registry import suggest
from bench.metrics.intervals import IntervalMethod
from bench.report.leaderboard import Table, build
from bench.running import Outcome, check_run, run_request, score_request

if TYPE_CHECKING:
    import pandas as pd

DataChoice = Literal["auto", "real", "demo"]


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
        settings=_texts(settings),
        checkpoints={name: Path(path) for name, path in (checkpoints or {}).items()},
        device=device,
        data=data,
        data_root=_path(data_root),
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
        settings=_texts(settings),
        data=data,
        data_root=_path(data_root),
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
        validation=_path(validation),
    )
    return score_request(request, progress or Silent())


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
    encoder_settings = _texts(settings)
    request = PretrainRequest(
        name,
        profile=profile,
        architecture=architecture,
        backbone_settings=encoder_settings,
        device=device,
        data="demo" if profile == "demo" else "real",
        checkpoint=_path(checkpoint),
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
    root = resolve_root(dataset, _path(data_root), data, workers=workers, progress=silent)
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


def _path(path: str | Path | None) -> Path | None:
    return Path(path) if path else None


def _texts(settings: Mapping[str, object] | None) -> dict[str, str]:
    """Return settings as `--set` has them."""
    return {name: str(value) for name, value in (settings or {}).items()}
