"""What a run would do: where its data is, which cells have a result, and about how long the others
take. Nothing is made."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.cells.encoders import encoder_request, resolve_encoder
from bench.cells.frame import recipe_of
from bench.cells.prepare import EncoderRef, TaskPlan, make_cell, plan_task, settings_hash
from bench.cells.request import (
    RunRequest,
    asked_of,
    expand_tasks,
    head_settings,
    left_out,
    row_settings,
    seeds_of,
    table_rows,
)
from bench.cells.results import ResultStore
from bench.cells.seen import check_unseen
from bench.cells.timings import Timings, Workload, in_words
from bench.contracts import BACKBONES, DATASETS, KINDS, TASKS, TaskSpec
from bench.core.errors import NotMadeError
from bench.core.hashing import flatten
from bench.core.naming import absolute_name
from bench.core.progress import Silent
from bench.data.roots import resolve_root

Records = Mapping[str, Mapping[str, Any]]
WIDTH = 80
DONE = "has a result"
OPEN = "would run"
MAYBE = "has a result if its data is the same"


@dataclass(frozen=True)
class PlannedCell:
    """One cell; `seconds` is about how long it takes where it would run, None where that is not
    known or nothing is run."""

    label_fraction: float
    seed: int
    state: str
    seconds: float | None


@dataclass(frozen=True)
class PlannedRow:
    """The cells of one encoder; `made_first` says what has to be made before the encoder is there,
    "" where nothing is."""

    encoder: str
    architecture: str
    pretrained_on: str
    made_first: str
    caution: str
    cells: tuple[PlannedCell, ...]


@dataclass(frozen=True)
class PlannedTask:
    """The rows of one task, and where its data is; `made_first` says what of the data is not there
    yet, `left_out` which encoders cannot take part."""

    task: str
    data: str
    made_first: str
    left_out: tuple[str, ...]
    rows: tuple[PlannedRow, ...]


@dataclass(frozen=True)
class _Row:
    """One encoder of one task; `plan` and `encoder` are None where something has to be made before
    they are known."""

    task: TaskSpec
    name: str
    plan: TaskPlan | None
    encoder: EncoderRef | None


@dataclass(frozen=True)
class _Folder:
    """What the results folder knows before the run."""

    records: Records
    timings: Timings


def plan_run(request: RunRequest) -> list[PlannedTask]:
    """Return, per task and encoder, which cells have a result and which would run.

    A cell is known by the content of its data and its encoder. Where these are not there yet, a
    result of the same settings may turn out to be that of the cell.
    """
    records = ResultStore(request.results).finished()
    folder = _Folder(records, Timings.of(records.values()))
    return [_planned(TASKS.get(name), request, folder) for name in expand_tasks(request.tasks)]


def _planned(task: TaskSpec, request: RunRequest, folder: _Folder) -> PlannedTask:
    names = table_rows(task, request)
    where, plan, made_first = _data(task, request) if names else ("", None, "")
    return PlannedTask(
        task=task.name,
        data=where,
        made_first=made_first,
        left_out=tuple(left_out(task, request)),
        rows=tuple(_planned_row(task, name, plan, request, folder) for name in names),
    )


def _data(task: TaskSpec, request: RunRequest) -> tuple[str, TaskPlan | None, str]:
    """Return where the data of a task is, its plan where the data is decoded, and what of it is
    made first."""
    where = ""
    try:
        root = resolve_root(DATASETS.get(task.dataset), request.data_root, request.data, make=False)
        where = f"{root.kind} data: {root.path}"
        return where, plan_task(task.name, request, Silent(), make=False), ""
    except NotMadeError as error:
        return where, None, str(error.args[0])


def _planned_row(
    task: TaskSpec, name: str, plan: TaskPlan | None, request: RunRequest, folder: _Folder
) -> PlannedRow:
    """Return the cells of an encoder. Raise as a run would for test images that it was pre-trained
    on."""
    encoder = None
    made_first = ""
    caution = ""
    request = asked_of(name, request)
    try:
        encoder = resolve_encoder(encoder_request(name, request), Silent(), make=False)
    except NotMadeError as error:
        made_first = str(error.args[0])
    if plan and encoder:
        caution = check_unseen(plan, name, encoder, allowed=request.allow_seen)
    row = _Row(task, name, plan, encoder)
    cells = [
        _planned_cell(row, fraction, seed, request, folder)
        for fraction in request.fractions or task.fractions
        for seed in seeds_of(name, task, request)
    ]
    return PlannedRow(
        encoder=name,
        architecture=_architecture(row, request),
        pretrained_on=encoder.pretrained_on if encoder else "",
        made_first=made_first,
        caution=caution,
        cells=tuple(cells),
    )


def _planned_cell(
    row: _Row, fraction: float, seed: int, request: RunRequest, folder: _Folder
) -> PlannedCell:
    state = _state(row, fraction, seed, request, folder.records)
    work = Workload(
        row.task.kind,
        row.task.dataset,
        _architecture(row, request),
        str(request.profile),
        end_to_end=BACKBONES.get(row.name).frame == "ceiling",
    )
    seconds = folder.timings.expected(work) if state == OPEN else None
    return PlannedCell(float(fraction), seed, state, seconds)


def _architecture(row: _Row, request: RunRequest) -> str:
    """Return the architecture of an encoder, of one that is not there yet the one it will have."""
    if row.encoder:
        return row.encoder.architecture
    return BACKBONES.get(row.name).architecture(request.build_request())


def _state(row: _Row, fraction: float, seed: int, request: RunRequest, records: Records) -> str:
    if request.force:
        return OPEN
    if row.plan and row.encoder:
        spec = BACKBONES.get(row.name)
        cell = make_cell(row.plan, spec, row.encoder, fraction, seed, request)
        return DONE if cell.key in records else OPEN
    facts = _known_facts(row, fraction, seed, request)
    alike = (all(record.get(k) == v for k, v in facts.items()) for record in records.values())
    return MAYBE if any(alike) else OPEN


def _known_facts(row: _Row, fraction: float, seed: int, request: RunRequest) -> dict[str, Any]:
    """Return what the record of a cell says of it that needs neither data nor encoder."""
    kind = KINDS.get(row.task.kind)
    threads = request.threads if kind.trained else None
    of_table = head_settings(row.task, request)
    is_ceiling = BACKBONES.get(row.name).frame == "ceiling"
    recipe = recipe_of(row_settings(row.task, request), of_table) if is_ceiling else {}
    return {
        "task": row.task.name,
        "source": absolute_name(row.name),
        "label_fraction": float(fraction),
        "seed": seed,
        "protocol": request.protocol,
        "profile": request.profile,
        "evaluator_version": kind.evaluator_version,
        "settings_id": settings_hash(flatten(of_table), threads),
        **{f"recipe:{name}": value for name, value in recipe.items()},
    }


# ------------------------------------------------------------------------------------------ showing
def print_plan(tasks: Sequence[PlannedTask]) -> None:
    """Print what a run would do, at 80 columns."""
    for task in tasks:
        _print(task.task, 0)
        for line in (task.data, f"{task.made_first}." if task.made_first else ""):
            _print(line, 2)
        for reason in task.left_out:
            _print(f"left out: {reason}", 2)
        for row in task.rows:
            _print_row(row)
    cells = _cells(tasks)
    states = Counter(cell.state for cell in cells)
    counted = ", ".join(f"{state}: {count}" for state, count in sorted(states.items()))
    _print(f"{len(cells)} cells ({counted}).", 0)
    for sentence in time_left(tasks):
        _print(sentence, 0)
    _print("Dry run: nothing was run, made or downloaded.", 0)


def print_json(tasks: Sequence[PlannedTask]) -> None:
    """Print the same for programs."""
    expected = [cell.seconds for cell in _cells(tasks) if cell.state == OPEN]
    content = {
        "tasks": [asdict(task) for task in tasks],
        "seconds_left": sum(seconds for seconds in expected if seconds is not None),
        "cells_of_unknown_time": expected.count(None),
        "pretrained_first": _pretrained_first(tasks),
    }
    print(json.dumps(content, indent=2))


def time_left(tasks: Sequence[PlannedTask]) -> list[str]:
    """Return the sentences about the time of the cells that would run."""
    expected = [cell.seconds for cell in _cells(tasks) if cell.state == OPEN]
    estimates = [seconds for seconds in expected if seconds is not None]
    unknown = len(expected) - len(estimates)
    sentences = []
    if estimates:
        sentences.append(
            f"Time: {_roughly(sum(estimates))} for {_count(len(estimates))}, by earlier results "
            "of this folder."
        )
    if unknown:
        sentences.append(
            f"Time: not known for {_count(unknown)}: no result here has the same kind of task, "
            "dataset, architecture and profile."
        )
    names = _pretrained_first(tasks)
    if names:
        sentences.append(f"Pre-trained first, which takes time of its own: {', '.join(names)}.")
    return sentences


def _pretrained_first(tasks: Sequence[PlannedTask]) -> list[str]:
    """Return the encoders whose checkpoint is made first, each once."""
    return list(dict.fromkeys(row.encoder for task in tasks for row in task.rows if row.made_first))


def _cells(tasks: Iterable[PlannedTask]) -> list[PlannedCell]:
    return [cell for task in tasks for row in task.rows for cell in row.cells]


def _count(cells: int) -> str:
    return "1 cell" if cells == 1 else f"{cells} cells"


def _print_row(row: PlannedRow) -> None:
    architecture = f" ({row.architecture})" if row.architecture else ""
    trained = f": pre-trained on {row.pretrained_on}" if row.pretrained_on else ""
    described = f"{architecture}{trained}"
    _print(f"{row.encoder}: {row.made_first}" if row.made_first else row.encoder + described, 2)
    _print(row.caution, 4)
    for fraction in dict.fromkeys(cell.label_fraction for cell in row.cells):
        cells = [cell for cell in row.cells if cell.label_fraction == fraction]
        _print(f"{fraction:g} of labels: {_by_state(cells)}", 4)


def _by_state(cells: Sequence[PlannedCell]) -> str:
    """Return the states of the cells of one fraction, each with its seeds and its time."""
    groups: dict[str, list[PlannedCell]] = {}
    for cell in cells:
        groups.setdefault(cell.state, []).append(cell)
    return ", ".join(_group(state, group) for state, group in groups.items())


def _roughly(seconds: float) -> str:
    """Return a duration that is known from earlier ones: "about 20 s", "under 1 s"."""
    words = in_words(seconds)
    return words if words.startswith("under") else f"about {words}"


def _group(state: str, cells: Sequence[PlannedCell]) -> str:
    several = len(cells) > 1
    words = "seeds " if several else "seed "
    words += ", ".join(str(cell.seed) for cell in cells)
    seconds = cells[0].seconds
    if seconds is not None:
        words += f", {_roughly(seconds)}"
        words += " each" if several else ""
    return f"{state} ({words})"


def _print(text: str, indent: int) -> None:
    """Print a line, broken at 80 columns where it has blanks (a path stays whole); an empty one is
    left out."""
    if not text:
        return
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 4),
        break_long_words=False,
        break_on_hyphens=False,
    )
    print("\n".join(lines))
