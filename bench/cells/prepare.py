"""What a run means before anything runs: tasks, data, splits, encoders, cells and their keys.
Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cells.cell import Cell
from bench.cells.frame import recipe_of
from bench.cells.request import RunRequest, end_to_end_of, head_settings
from bench.contracts import (
    DATASETS,
    KINDS,
    TASKS,
    BackboneRequest,
    BackboneSpec,
    Dataset,
    Progress,
    TaskKind,
    TaskSpec,
    needs_of,
)
from bench.core.errors import DataError
from bench.core.hashing import digest, flatten
from bench.core.naming import absolute_name, identity, short_name

if TYPE_CHECKING:
    import pandas as pd

    from bench.data.loading import Prepared
    from bench.data.roots import DataRoot
    from bench.data.split_lists import SplitLists


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
        end_to_end=end_to_end_of(task, request),
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
