"""Predictions that were made elsewhere: read by the kind of their task, scored as those of a run
are, and kept beside them under a name of the user. No model is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.cells.cell import Cell
from bench.cells.completion import reasons_lacking
from bench.cells.given import check_predictions
from bench.cells.prediction_files import content_hash, pack_predictions
from bench.cells.prepare import EncoderRef, TaskPlan
from bench.cells.request import RunRequest, check_request
from bench.cells.results import PREDICTIONS, ResultStore
from bench.cells.runner import Stopwatch, context_of, record_of, score, subsets_of
from bench.contracts import (
    BACKBONES,
    KINDS,
    TASKS,
    Predictions,
    Progress,
    Submission,
    SubmissionForm,
    Subset,
    TaskSpec,
)
from bench.core.declaring import importing
from bench.core.errors import NotApplicableError, PlaceBenchError, SettingError
from bench.core.hashing import flatten
from bench.core.machine import use_threads
from bench.core.naming import SCORED
from bench.core.settings import Seed, check_value

FILE = "scored:file"
"""Field of a record: the name of the file that its predictions were read from."""
LONGEST_NAME = 60
DEVICE = "cpu"
"""What a result names as the device where no model was run."""
_NAME = re.compile(r"\w[\w .()+-]*")


@dataclass(frozen=True)
class ScoreRequest:
    """What `place-bench score` was asked for: the files, the name of their row, where it stands,
    and in `run` the task and how its data is read."""

    run: RunRequest
    path: Path
    name: str
    form: str = ""
    fraction: float = 1.0
    seed: int = 0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    validation: Path | None = None

    @property
    def task(self) -> TaskSpec:
        """Return the task."""
        return TASKS.get(self.run.tasks[0])


def form_of(task: TaskSpec) -> SubmissionForm:
    """Return the files in which predictions of a task come; raise NotApplicableError where its kind
    reads none."""
    form = KINDS.get(task.kind).submission
    if form is None:
        raise NotApplicableError(
            f"task '{task.name}' is {task.kind}, which reads no predictions from elsewhere.",
            "A kind says which files it reads by `submission` (docs/scoring.md).",
        )
    return form


def check_submission(request: ScoreRequest) -> None:
    """Raise PlaceBenchError for what cannot be scored, before any data is read."""
    form = form_of(request.task)
    if request.form and request.form != form.name:
        raise SettingError(
            f"task '{request.task.name}' is scored from {form.name}, not from {request.form}.",
            f"Write: place-bench score {form.name} {request.task.name} {form.flag} {form.path}",
        )
    _check_name(request.name)
    check_request(replace(request.run, fractions=(request.fraction,)))
    check_value("seed", request.seed, Seed)
    scoped = [key for key in request.run.settings if "." in key]
    if scoped:
        raise SettingError(
            f"--set {scoped[0]} is a setting of training, and nothing is trained.", "Leave it out."
        )
    if (request.thresholds or request.validation) and not form.thresholds:
        option = "--threshold" if request.thresholds else "--validation"
        raise SettingError(f"{form.name} take no {option}.", "Leave it out.")
    if request.thresholds and request.validation:
        raise SettingError(
            "--threshold and --validation were both given.",
            "State thresholds, or have them chosen on a validation file.",
        )
    for option, path in ((form.flag, request.path), ("--validation", request.validation)):
        if path is not None and not path.exists():
            raise PlaceBenchError(f"{path} does not exist.", f"{option} names {form.path}.")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name != name.strip() or len(name) > LONGEST_NAME:
        raise SettingError(
            f"--name is '{name[:LONGEST_NAME]}'.",
            f"Write up to {LONGEST_NAME} letters, digits, blanks and signs of _ . - + ( ), such as "
            "my-model.",
        )
    if name in BACKBONES:
        raise SettingError(
            f"--name '{name}' is the name of an encoder of place-bench, which these predictions "
            "are not of.",
            "Give them another one.",
        )


def submitted_cell(request: ScoreRequest, plan: TaskPlan) -> Cell:
    """Return where a submission stands: its name takes the place of the encoder."""
    run = request.run
    return Cell(
        task=plan.task.name,
        kind=plan.task.kind,
        dataset=plan.task.dataset,
        backbone=f"{SCORED}:{request.name}",
        label=request.name,
        source=f"{SCORED}:{request.name}",
        architecture="",
        label_fraction=float(request.fraction),
        seed=request.seed,
        protocol=run.protocol,
        profile=run.profile,
        data_kind=plan.root.kind,
        data_hash=plan.data_hash,
        split_hash=plan.split_hash,
        checkpoint_hash="",
        evaluator_version=plan.kind.evaluator_version,
        settings=flatten(plan.settings),
        threads=run.threads if plan.kind.trained else None,
    )


def score_submission(
    request: ScoreRequest, plan: TaskPlan, store: ResultStore, progress: Progress
) -> dict[str, Any]:
    """Read, score and keep a submission; return its record.

    The same predictions under the same name are scored once, and again where a program was missing
    the first time. Raise PlaceBenchError where other ones have that name already, unless `force`.
    """
    use_threads(request.run.threads)
    cell = submitted_cell(request, plan)
    watch = Stopwatch()
    subsets = subsets_of(cell, plan)
    with watch.phase("predict"):
        predictions = _read(request, plan, cell, subsets, store, progress)
    with store.claim(cell.key):
        before = store.finished([cell.key]).get(cell.key)
        if before and not request.run.force:
            _check_same(predictions, before, request)
            if not reasons_lacking(before):
                progress.say(f"{cell.title}: the same predictions were scored before.")
                return before
        with watch.phase("score"), progress.track(f"scoring {cell.title}"):
            scores = score(plan, predictions)
        record = record_of(
            cell, plan, EncoderRef(""), subsets, predictions, scores, watch.seconds, DEVICE
        )
        record |= {FILE: request.path.name, "encoder:architecture": ""}
        if request.validation:
            record["scored:validation"] = request.validation.name
        return store.finish(record, predictions)


def _check_same(predictions: Predictions, before: Mapping[str, Any], request: ScoreRequest) -> None:
    if before[PREDICTIONS] != content_hash(pack_predictions(predictions)):
        raise PlaceBenchError(
            f"'{request.name}' is the name of other predictions of {request.task.name} "
            f"({before.get(FILE, 'a file')}, {before['time'][:10]}).",
            "Choose another --name, or replace them with --force.",
        )


def _read(
    request: ScoreRequest,
    plan: TaskPlan,
    cell: Cell,
    subsets: Mapping[str, Subset],
    store: ResultStore,
    progress: Progress,
) -> Predictions:
    context = context_of(cell, plan, store.work_dir(cell.key), DEVICE, progress)
    submission = Submission(
        path=request.path,
        index=plan.index,
        root=plan.root.path,
        train=subsets["train"],
        val=subsets["val"],
        test=subsets["test"],
        thresholds=request.thresholds,
        validation=request.validation,
    )
    with importing(KINDS.plugin_of(plan.kind.name), "failed", "Mend its kind of task."):
        predictions = form_of(plan.task).read(submission, context)
    check_predictions(plan.kind, predictions, subsets["test"])
    return predictions


@dataclass(frozen=True)
class Exported:
    """A file of predictions that a run made, and what has to be stated where it is scored."""

    record: Mapping[str, Any]
    path: Path
    thresholds: Mapping[str, float]


def export_predictions(store: ResultStore, task: str, folder: Path) -> list[Exported]:
    """Write the predictions of every result of a task as the files that `score` reads.

    Raise NotApplicableError where its runs do not keep what such a file holds.
    """
    spec = TASKS.get(task)
    form = form_of(spec)
    if form.write is None:
        raise NotApplicableError(
            f"a run of '{spec.name}' keeps no {form.not_kept}.",
            f"Make {form.path} with the encoder itself (docs/scoring.md).",
        )
    records = [record for record in store.finished().values() if record.get("task") == task]
    if not records:
        raise PlaceBenchError(
            f"task '{task}' has no results in {store.path}.", f"Run `place-bench run {task}`."
        )
    exported = []
    for record in records:
        path = folder / f"{_file_name(record)}{form.suffix}"
        thresholds = form.write(store.load_predictions(record), record, path)
        exported.append(Exported(record, path, thresholds))
    return exported


def _file_name(record: Mapping[str, Any]) -> str:
    """Return a name for the predictions of a result that no other result has."""
    words = [record["task"], record.get("label") or record["backbone"], record["architecture"]]
    words += [f"{record['label_fraction']:g}", f"seed{record['seed']}", record["key"][:6]]
    return re.sub(r"[^\w.+-]+", "_", "-".join(str(word) for word in words if word))
