"""What a run was asked for and whether it can be done: tasks, the rows of their tables, settings.
Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bench.cells.frame import ceilings, end_to_end_settings, framing
from bench.contracts import (
    BACKBONES,
    KINDS,
    TASKS,
    BackboneRequest,
    OnError,
    Profile,
    TaskSpec,
    baseline_row,
)
from bench.contracts.declared import gives, task_faults_together
from bench.core.errors import NotApplicableError, SettingError, UnknownNameError
from bench.core.machine import default_threads
from bench.core.registry import suggest
from bench.core.settings import Count, Seed, check_value

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
    the kind's baselines; none where it can have no encoder that was asked for."""
    asked = [name for name in backbone_names(request) if not _reason_against(name, task, request)]
    if not asked:
        return []
    baselines = [baseline_row(name) for name in KINDS.get(task.kind).baselines]
    frame = framing() if request.frame else []
    names = dict.fromkeys([*asked, *frame, *baselines])
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


def end_to_end_of(task: TaskSpec, request: RunRequest) -> Any:
    """Return the settings of the row that is trained end to end, None where a table has none."""
    try:
        return row_settings(task, request)
    except NotApplicableError:
        return None
