"""What a run means before anything runs: tasks, data, splits, encoders, cells and their keys. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.cell import Cell, digest, flatten
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
)
from bench.errors import SettingError, UnknownNameError
from bench.registry import suggest

if TYPE_CHECKING:
    import pandas as pd

    from bench.data.loading import Prepared
    from bench.data.roots import DataRoot


@dataclass(frozen=True)
class RunRequest:
    """Everything `place-bench run` was asked for."""

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
    workers: int = 2

    def scoped(self, scope: str) -> dict[str, str]:
        """Return the settings of one scope: `backbone.x=1`, `pretrain.x=1`, or (scope "") those of the head."""
        if not scope:
            return {key: value for key, value in self.settings.items() if "." not in key}
        return {key.removeprefix(f"{scope}."): value for key, value in self.settings.items() if key.startswith(f"{scope}.")}


@dataclass(frozen=True)
class TaskPlan:
    """One task with its data in hand: the split index, the decoded pixels and who is in which split."""

    task: TaskSpec
    kind: TaskKind
    dataset: Dataset
    root: DataRoot
    settings: Any
    index: pd.DataFrame
    prepared: Prepared
    split_hash: str
    test_hash: str


def check_request(request: RunRequest) -> None:
    """Raise on an unknown name, scope, fraction or protocol before any data is touched."""
    for key in request.settings:
        scope, dot, _ = key.partition(".")
        if dot and scope not in ("backbone", "pretrain"):
            raise SettingError(
                f"unknown scope '{scope}' in --set {key}.", "Use key=value, backbone.key=value or pretrain.key=value."
            )
    for fraction in request.fractions:
        if not 0 < fraction <= 1:
            raise SettingError(f"label fraction {fraction:g} is not in (0, 1].", "Write 0.01, 0.1 or 1.0.")
    for name in expand_tasks(request.tasks):
        task = TASKS.get(name)
        DATASETS.get(task.dataset)
        head_settings(task, request)
    names = backbone_names(request)
    for name in names:
        spec = BACKBONES.get(name)
        spec.architecture(BackboneRequest(request.profile, request.architecture))
    for name in request.checkpoints:
        if name not in names:
            raise SettingError(f"--checkpoint names '{name}', which is not among the backbones.", suggest(name, names))


def expand_tasks(names: Sequence[str]) -> list[str]:
    """Replace group names (and `all`) by their tasks; raise UnknownNameError with the nearest names."""
    groups: dict[str, list[str]] = {"all": TASKS.names()}
    for name, task in TASKS.items():
        for group in task.groups:
            groups.setdefault(group, []).append(name)
    found: list[str] = []
    for name in names:
        if name not in TASKS and name not in groups:
            raise UnknownNameError(f"unknown task '{name}'.", suggest(name, [*TASKS.names(), *groups]))
        found += groups[name] if name not in TASKS else [name]
    return list(dict.fromkeys(found))


def backbone_names(request: RunRequest) -> list[str]:
    """Return the encoders asked for, or those declared as default."""
    return list(request.backbones) or [name for name, spec in BACKBONES.items() if spec.default]


def head_settings(task: TaskSpec, request: RunRequest) -> Any:
    """Return the head's settings: the kind's preset, then the task's own, then `--set`."""
    kind = KINDS.get(task.kind)
    changes = {**task.presets.get(request.protocol, {}), **request.scoped("")}
    return kind.settings(task, request.protocol, request.profile, changes)


def plan_task(name: str, request: RunRequest, progress: Progress) -> TaskPlan:
    """Find, split, check and decode the data of one task."""
    from bench.data.loading import prepare
    from bench.data.roots import resolve_root
    from bench.data.splits import check_leaks, split_hash

    task = TASKS.get(name)
    kind, dataset, settings = KINDS.get(task.kind), DATASETS.get(task.dataset), head_settings(task, request)
    root = resolve_root(dataset, request.data_root, request.data, workers=request.workers, progress=progress)
    prepared = prepare(
        dataset,
        root.path,
        size=settings.image_size,
        needs_masks=kind.needs == "masks",
        on_error=request.on_error,
        workers=request.workers,
        progress=progress,
    )
    index = kind.split(prepared.index, task, request.protocol, 0)
    if request.protocol == "default":  # a published procedure may leak: it is repeated as it was, and its kind says so
        check_leaks(index)
    return TaskPlan(
        task, kind, dataset, root, settings, index, prepared, split_hash(index), split_hash(index[index["split"] == "test"])
    )


def make_cell(plan: TaskPlan, spec: BackboneSpec, encoder: EncoderRef, fraction: float, seed: int, request: RunRequest) -> Cell:
    """Return the cell of one encoder, fraction and seed."""
    return Cell(
        task=plan.task.name,
        kind=plan.task.kind,
        dataset=plan.task.dataset,
        backbone=spec.name,
        architecture=encoder.architecture,
        label_fraction=float(fraction),
        seed=seed,
        protocol=request.protocol,
        profile=request.profile,
        data_kind=plan.root.kind,
        data_hash=plan.prepared.data_hash,
        split_hash=plan.split_hash,
        checkpoint_hash=encoder.checkpoint_hash,
        evaluator_version=plan.kind.evaluator_version,
        settings=flatten(plan.settings),
        backbone_settings=request.scoped("backbone"),
    )


@dataclass(frozen=True)
class EncoderRef:
    """Which encoder a cell uses: architecture, checkpoint and what it was trained on ("" for an untrained one)."""

    architecture: str
    checkpoint: Path | None = None
    checkpoint_hash: str = ""
    pretrained_on: str = ""


def settings_id(cell: Cell) -> str:
    """Return a short hash of the head's settings: cells with another one never share a table."""
    return digest(dict(cell.settings), 8)
