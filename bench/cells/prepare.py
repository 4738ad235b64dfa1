"""What a run means before anything runs: tasks, data, splits, encoders, cells and their keys.
Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.cells.cell import Cell
from bench.cells.frame import ceilings, end_to_end_settings, framing, recipe_of
from bench.contracts import (
    BACKBONES,
    DATASETS,
    KINDS,
    TASKS,
    BackboneRequest,
    BackboneSpec,
    Dataset,
    OnError,
    Profile,
    Progress,
    TaskKind,
    TaskSpec,
    baseline_row,
    needs_of,
)
from bench.contracts.declared import gives, task_faults_together
from bench.core.errors import DataError, NotApplicableError, SettingError, UnknownNameError
from bench.core.hashing import digest, flatten
from bench.core.machine import default_threads
from bench.core.naming import absolute_name, identity, short_name
from bench.core.registry import suggest
from bench.core.settings import Count, Seed, check_value

if TYPE_CHECKING:
    import pandas as pd

    from bench.data.loading import Prepared
    from bench.data.roots import DataRoot
    from bench.data.split_lists import SplitLists


SEEDS = (0, 1, 2)
"""Seeds of a run that names none: what trains a head has the noise of training in its interval."""


@dataclass(frozen=True)
class RunRequest:
    """Everything `place-bench run` was asked for.

    With `frame`, as the command has it, every table also has the rows that frame it
    (`bench.cells.frame`).
    """

    tasks: tuple[str, ...]
    backbones: tuple[str, ...] = ()
    fractions: tuple[float, ...] = ()
    seeds: tuple[int, ...] = (0,)
    profile: Profile = "demo"
    protocol: str = "default"
    architecture: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    device: str = "auto"
    data: Literal["auto", "real", "demo"] = "auto"
    data_root: Path | None = None
    results: Path = Path("results")
    on_error: OnError = "stop"
    force: bool = False
    allow_seen: bool = False
    frame: bool = False
    workers: int = 2
    threads: int = field(default_factory=default_threads)

    def build_request(self, name: str = "") -> BackboneRequest:
        """Return what the builder of an encoder is asked for, of a named one with its
        checkpoint."""
        return BackboneRequest(
            self.profile,
            self.architecture,
            checkpoint=self.checkpoints.get(name),
            settings=self.scoped("backbone"),
        )

    def scoped(self, scope: str) -> dict[str, str]:
        """Return the settings of one scope: `backbone.x=1`, `pretrain.x=1`, or (scope "") those of
        the head."""
        if not scope:
            return {key: value for key, value in self.settings.items() if "." not in key}
        return {
            key.removeprefix(f"{scope}."): value
            for key, value in self.settings.items()
            if key.startswith(f"{scope}.")
        }


@dataclass(frozen=True)
class TaskPlan:
    """One task with its data in hand: the split index, the decoded pixels and who is in which
    split."""

    task: TaskSpec
    kind: TaskKind
    dataset: Dataset
    root: DataRoot
    settings: Any
    index: pd.DataFrame
    prepared: Prepared
    split_hash: str
    test_hash: str
    data_hash: str = ""
    split_source: str = ""
    lists: SplitLists | None = None
    duplicates: int = 0
    """Images whose very file also stands under another name in another split."""
    skipped_list: str = ""
    """Where, in the results folder, stands what was left out of the data; "" where nothing was."""
    end_to_end: Any = None
    """Settings of the row that trains its encoder too; None where the task has none."""

    def training_rows(self, fraction: float, protocol: str, seed: int) -> pd.DataFrame:
        """Return the training images of one label fraction: those of the user's list where there is
        one, else the kind's."""
        from bench.data.reference import subset_for

        train = self.index[self.index["split"] == "train"]
        listed = self.lists.subset(train, fraction) if self.lists else None
        if listed is not None:
            return listed
        return subset_for(self.kind, train, fraction, self.task, protocol, seed)

    def validation_rows(self, fraction: float, seed: int) -> pd.DataFrame:
        """Return the validation images: all, or with `validation=fraction` as large a share of
        their patients as of the training labels."""
        from bench.data.reference import validation_for

        val = self.index[self.index["split"] == "val"]
        if getattr(self.settings, "validation", "all") == "all":
            return val
        return validation_for(val, fraction, seed)


def check_request(request: RunRequest) -> None:
    """Raise on an unknown name, scope, fraction or protocol before any data is touched."""
    scopes = ["backbone", "pretrain", *ceilings()]
    for key in request.settings:
        scope, dot, _ = key.partition(".")
        if dot and scope not in scopes:
            able = ", ".join(f"{name}.key=value" for name in scopes)
            raise SettingError(
                f"unknown scope '{scope}' in --set {key}.", f"Use key=value, or one of {able}."
            )
    for fraction in request.fractions:
        if not 0 < fraction <= 1:
            raise SettingError(
                f"label fraction {fraction:g} is not in (0, 1].", "Write 0.01, 0.1 or 1.0."
            )
    check_value("threads", request.threads, Count)
    for seed in request.seeds:
        check_value("seeds", seed, Seed)
    for name in expand_tasks(request.tasks):
        task = TASKS.get(name)
        for fault in task_faults_together(task):
            raise fault
        _check_metric(task, request.protocol, head_settings(task, request))
    names = backbone_names(request)
    for name in names:
        BACKBONES.get(name).architecture(request.build_request())
    for name in request.checkpoints:
        if name not in names:
            raise SettingError(
                f"--checkpoint names '{name}', which is not among the backbones.",
                suggest(name, names),
            )


def _check_metric(task: TaskSpec, protocol: str, settings: Any) -> None:
    """Raise SettingError where the metric that a task is ranked by is none that its kind will
    give."""
    kind = KINDS.get(task.kind)
    names = kind.metric_names(task, settings)
    metric = kind.metric_of(task, protocol)
    if names and not gives(names, metric):
        raise SettingError(
            f"the main metric of task '{task.name}' is '{metric}', which {task.kind} "
            "does not give with these settings.",
            suggest(metric, names),
        )


def expand_tasks(names: Sequence[str]) -> list[str]:
    """Replace group names (and `all`) by their tasks; raise UnknownNameError with the nearest
    names."""
    groups: dict[str, list[str]] = {"all": TASKS.names()}
    for name, task in TASKS.items():
        for group in task.groups:
            groups.setdefault(group, []).append(name)
    tasks: list[str] = []
    for name in names:
        if name in TASKS:
            tasks.append(name)
        elif name in groups:
            tasks += groups[name]
        else:
            raise UnknownNameError(
                f"unknown task '{name}'.", suggest(name, [*TASKS.names(), *groups])
            )
    return list(dict.fromkeys(tasks))


def backbone_names(request: RunRequest) -> list[str]:
    """Return the encoders asked for, or those declared as default."""
    return list(request.backbones) or [name for name, spec in BACKBONES.items() if spec.default]


def asked_of(name: str, request: RunRequest) -> RunRequest:
    """Return what a run asks of one row: settings of encoders are for those that were named, not
    for those that frame a table, and an outsider has its own architecture."""
    if name in backbone_names(request):
        return request
    others = {
        key: value
        for key, value in request.settings.items()
        if not key.startswith(("backbone.", "pretrain."))
    }
    has_one = BACKBONES.get(name).frame == "outsider"
    architecture = "" if has_one else request.architecture
    return replace(request, settings=others, architecture=architecture)


def seeds_of(name: str, task: TaskSpec, request: RunRequest) -> tuple[int, ...]:
    """Return the seeds of one row: the first alone where nothing depends on it, since nothing is
    trained and the encoder is not made from it."""
    varies = KINDS.get(task.kind).trained or BACKBONES.get(name).seeded
    return request.seeds if varies else request.seeds[:1]


def table_rows(task: TaskSpec, request: RunRequest) -> list[str]:
    """Return the rows of a task's table: the encoders that it can have, those that frame it, then
    the kind's baselines."""
    baselines = [baseline_row(name) for name in KINDS.get(task.kind).baselines]
    frame = framing() if request.frame else []
    names = dict.fromkeys([*backbone_names(request), *frame, *baselines])
    return [name for name in names if _reason_against(name, task, request) is None]


def left_out(task: TaskSpec, request: RunRequest) -> list[str]:
    """Return a sentence for every row that was asked for and that the task cannot have, as far as
    can be told before any data is read and any encoder built."""
    reasons = [_reason_against(name, task, request) for name in backbone_names(request)]
    return [str(reason) for reason in reasons if reason]


def check_rows(request: RunRequest) -> None:
    """Raise NotApplicableError where no task of a request can have any of its rows, and
    SettingError for a setting of a row that none of them has."""
    tasks = [TASKS.get(name) for name in expand_tasks(request.tasks)]
    _check_row_settings(tasks, request)
    unframed = replace(request, frame=False)
    if any(table_rows(task, unframed) for task in tasks):
        return
    for name in backbone_names(request):
        reason = _reason_against(name, tasks[0], request)
        if reason:
            raise reason


def _check_row_settings(tasks: Sequence[TaskSpec], request: RunRequest) -> None:
    scopes = {key.partition(".")[0] for key in request.settings}
    changed = [name for name in ceilings() if name in scopes]
    rows = {row for task in tasks for row in table_rows(task, request)} if changed else set()
    for name in changed:
        if name not in rows:
            raise SettingError(
                f"--set {name}.* changes nothing: no table of this run has the row '{name}'.",
                "Leave it out.",
            )


def _reason_against(name: str, task: TaskSpec, request: RunRequest) -> NotApplicableError | None:
    spec = BACKBONES.get(name)
    kind = KINDS.get(task.kind)
    if spec.baseline and spec.baseline not in kind.baselines:
        rows = ", ".join(map(baseline_row, kind.baselines)) or "none"
        return NotApplicableError(
            f"task '{task.name}' has no row {name}.", f"Its rows without an encoder: {rows}."
        )
    if spec.frame == "ceiling":
        try:
            row_settings(task, request)
        except NotApplicableError as error:
            message = f"task '{task.name}' has no row {name}: {error.args[0]}"
            return NotApplicableError(message, error.hint)
    lacking = spec.why_no_text(request.build_request(name)) if kind.compares_texts else ""
    if lacking:
        return NotApplicableError(
            f"task '{task.name}' needs a text encoder, backbone '{name}' has none: {lacking}.",
            "Choose one trained on reports.",
        )
    return None


def head_settings(task: TaskSpec, request: RunRequest) -> Any:
    """Return the head's settings: the kind's preset, then the task's own, then `--set`."""
    kind = KINDS.get(task.kind)
    changes = {**task.presets.get(request.protocol, {}), **request.scoped("")}
    return kind.settings(task, request.protocol, request.profile, changes)


def row_settings(task: TaskSpec, request: RunRequest) -> Any:
    """Return the settings of the row whose encoder is trained with the head; raise
    NotApplicableError where a task has no such row."""
    scoped = [request.scoped(name) for name in ceilings()]
    changes = {key: value for of_row in scoped for key, value in of_row.items()}
    of_table = head_settings(task, request)
    kind = KINDS.get(task.kind)
    return end_to_end_settings(kind, of_table, request.protocol, request.profile, changes)


def _end_to_end(task: TaskSpec, request: RunRequest) -> Any:
    try:
        return row_settings(task, request)
    except NotApplicableError:
        return None


def plan_task(name: str, request: RunRequest, progress: Progress, *, make: bool = True) -> TaskPlan:
    """Find, split, check and decode the data of one task; without `make` raise NotMadeError where a
    demo is not rendered or an image not decoded yet."""
    from bench.data.loading import prepare
    from bench.data.roots import resolve_root
    from bench.data.split_lists import find_lists
    from bench.data.splits import by_image_id, split_hash

    task = TASKS.get(name)
    kind = KINDS.get(task.kind)
    dataset = DATASETS.get(task.dataset)
    settings = head_settings(task, request)
    root = resolve_root(
        dataset,
        request.data_root,
        request.data,
        workers=request.workers,
        progress=progress,
        make=make,
    )
    prepared = prepare(
        dataset,
        root.path,
        size=settings.image_size,
        annotations=needs_of(kind, settings),
        scaling=kind.scaling.get(request.protocol, "range"),
        on_error=request.on_error,
        workers=request.workers,
        progress=progress,
        make=make,
    )
    skipped_list = _list_skipped(prepared, request, progress) if make else ""
    lists = find_lists(root.path, prepared.index, dataset.official_lists)
    if lists:
        progress.say(f"{dataset.name}: {lists.title}.")
    rows = prepared.index
    if request.protocol == "default":  # a published procedure may draw by the order of its table
        rows = by_image_id(rows)
    try:
        index, source = _split(rows, lists, kind, task, request, progress)
    except DataError as error:
        where = f"dataset '{dataset.name}' in {root.path}, {len(rows)} images"
        raise type(error)(f"{where}: {error.args[0]}", error.hint) from error
    whole_hash = split_hash(index)
    if lists and lists.fractions:
        whole_hash = digest([whole_hash, lists.digest()])
    duplicates = _duplicate_images(prepared, index)
    if duplicates:
        progress.say(
            f"{task.name}: {duplicates} images have the same file as one of another name in "
            "another split."
        )
    return TaskPlan(
        task=task,
        kind=kind,
        dataset=dataset,
        root=root,
        settings=settings,
        index=index,
        prepared=prepared,
        split_hash=whole_hash,
        test_hash=split_hash(index[index["split"] == "test"]),
        data_hash=prepared.content_hash,
        split_source=source,
        lists=lists,
        duplicates=duplicates,
        skipped_list=skipped_list,
        end_to_end=_end_to_end(task, request),
    )


def _list_skipped(prepared: Prepared, request: RunRequest, progress: Progress) -> str:
    """Write what was left out beside the results, say where, and return that."""
    from bench.data.faults import write_list

    if not prepared.skipped:
        return ""
    path = write_list(prepared.skipped, request.results / "skipped", prepared.dataset.name)
    first = prepared.skipped[0]
    progress.say(
        f"{prepared.dataset.name}: {len(prepared.skipped)} image(s) left out, listed in {path}, "
        f"e.g. {first.path}: {first.reason}"
    )
    return str(path.relative_to(request.results))


def _duplicate_images(prepared: Prepared, index: pd.DataFrame) -> int:
    """Return how many images have the same file content as another image in another split."""
    content = index["image_id"].astype(str).map(prepared.digests())
    same_file = index.groupby(content)
    names = same_file["image_id"].transform("nunique")
    splits = same_file["split"].transform("nunique")
    return int(index.loc[(names > 1) & (splits > 1), "image_id"].nunique())


def _split(
    images: pd.DataFrame,
    lists: SplitLists | None,
    kind: TaskKind,
    task: TaskSpec,
    request: RunRequest,
    progress: Progress,
) -> tuple[pd.DataFrame, str]:
    """Return the images with their split, leaks checked, and where it comes from: the user's lists
    win."""
    from bench.data.reference import split_for
    from bench.data.splits import check_leaks

    listed = lists is not None and bool(lists.members)
    if lists and listed:
        index = lists.apply(images)
    else:
        index = split_for(kind, images, task, request.protocol)
    if request.protocol == "default":
        check_leaks(index)
    elif listed:  # a published split may leak: it is repeated as it was, and its kind says so
        leaks = check_leaks(index, allow=True)
        if leaks:
            progress.say(f"{task.name}, protocol {request.protocol}: {leaks}")
    return index, _split_source(images, lists, request.protocol)


def _split_source(images: pd.DataFrame, lists: SplitLists | None, protocol: str) -> str:
    """Return in words where a split comes from."""
    if lists and lists.members:
        return f"lists: {lists.names}"
    if protocol != "default":
        source = protocol
    else:
        source = "official" if images["split"].any() else "drawn by patient"
    return f"{source}; {lists.names}" if lists else source


def make_cell(
    plan: TaskPlan,
    spec: BackboneSpec,
    encoder: EncoderRef,
    fraction: float,
    seed: int,
    request: RunRequest,
) -> Cell:
    """Return the cell of one encoder, fraction and seed."""
    same_as = spec.same_as(BackboneRequest(request.profile)) if spec.same_as else spec.name
    is_ceiling = spec.frame == "ceiling"
    return Cell(
        task=plan.task.name,
        kind=plan.task.kind,
        dataset=plan.task.dataset,
        backbone=identity(same_as, encoder.checkpoint_hash),
        label=short_name(spec.name, encoder.architecture),
        source=absolute_name(spec.name),
        architecture=encoder.architecture,
        label_fraction=float(fraction),
        seed=seed,
        protocol=request.protocol,
        profile=request.profile,
        data_kind=plan.root.kind,
        data_hash=plan.data_hash,
        split_hash=plan.split_hash,
        checkpoint_hash=encoder.checkpoint_hash,
        evaluator_version=plan.kind.evaluator_version,
        settings=flatten(plan.settings),
        backbone_settings=request.scoped("backbone"),
        threads=request.threads if plan.kind.trained else None,
        recipe=recipe_of(plan.end_to_end, plan.settings) if is_ceiling else None,
    )


@dataclass(frozen=True)
class EncoderRef:
    """Which encoder a cell uses: architecture, checkpoint and what it was trained on ("" for an
    untrained one)."""

    architecture: str
    checkpoint: Path | None = None
    checkpoint_hash: str = ""
    pretrained_on: str = ""
    seen: Path | None = None
    """File of the digests of its training images (`bench.cells.seen`); None where it is not
    known."""
    untrained: bool = False
    """Its weights are random or of photographs, or it has none: it cannot have seen a test
    image."""
    supervision: tuple[str, ...] = ()
    """What it learned from beside images and reports (`bench.contracts.SUPERVISION`)."""


def settings_id(cell: Cell) -> str:
    """Return a short hash of the head's settings and threads: cells with another one never share a
    table."""
    return settings_hash(cell.settings, cell.threads)


def settings_hash(settings: Mapping[str, Any], threads: int | None) -> str:
    """Return the `settings_id` of a cell that has these settings and threads."""
    return digest({**settings, **({} if threads is None else {"threads": threads})}, 8)
