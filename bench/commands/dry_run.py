"""What a run would do: where its data is, and which cells have a result. Nothing is made."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.cells.encoders import encoder_request, resolve_encoder
from bench.cells.prepare import (
    EncoderRef,
    RunRequest,
    TaskPlan,
    entrants,
    expand_tasks,
    head_settings,
    left_out,
    make_cell,
    plan_task,
    settings_hash,
)
from bench.cells.results import ResultStore
from bench.cells.seen import check_unseen
from bench.contracts import BACKBONES, DATASETS, KINDS, TASKS, TaskSpec
from bench.core.errors import NotMadeError
from bench.core.hashing import flatten
from bench.core.naming import absolute_name
from bench.core.progress import Silent
from bench.data.roots import resolve_root

Records = Mapping[str, Mapping[str, Any]]
WIDTH = 80
DONE, OPEN, MAYBE = "has a result", "would run", "has a result if its data is the same"


@dataclass(frozen=True)
class _Row:
    """One encoder of one task; `plan` and `encoder` are None where something has to be made before
    they are known."""

    task: TaskSpec
    name: str
    plan: TaskPlan | None
    encoder: EncoderRef | None


def print_plan(request: RunRequest) -> None:
    """Print, per task and encoder, which cells have a result and which would run.

    A cell is known by the content of its data and its encoder. Where these are not there yet, a
    result of the same settings may turn out to be that of the cell.
    """
    records = ResultStore(request.results).finished()
    states: Counter[str] = Counter()
    for name in expand_tasks(request.tasks):
        task = TASKS.get(name)
        reasons = left_out(task, request)
        plan = _print_data(task, request) if entrants(task, request) else None
        for reason in reasons:
            _print(f"left out: {reason}", 2)
        for entrant in entrants(task, request):
            row = _Row(task, entrant, plan, _print_encoder(entrant, plan, request))
            for fraction in request.fractions or task.fractions:
                found = {
                    seed: _state(row, fraction, seed, request, records) for seed in request.seeds
                }
                states.update(found.values())
                _print(f"{fraction:g} of labels: {_by_state(found)}", 4)
    counted = ", ".join(f"{state}: {count}" for state, count in sorted(states.items()))
    _print(f"{states.total()} cells ({counted}).", 0)
    _print("Dry run: nothing was run, made or downloaded.", 0)


def _print_data(task: TaskSpec, request: RunRequest) -> TaskPlan | None:
    """Print where the data of a task is; return its plan where the data is decoded."""
    _print(task.name, 0)
    try:
        dataset = DATASETS.get(task.dataset)
        root = resolve_root(dataset, request.data_root, request.data, make=False)
        _print(f"{root.kind} data: {root.path}", 2)
        return plan_task(task.name, request, Silent(), make=False)
    except NotMadeError as error:
        _print(f"{error.args[0]}.", 2)
        return None


def _print_encoder(name: str, plan: TaskPlan | None, request: RunRequest) -> EncoderRef | None:
    """Print what an encoder is; return it where it is there. Raise as a run would for test images
    that it was pre-trained on."""
    try:
        encoder = resolve_encoder(encoder_request(name, request), Silent(), make=False)
    except NotMadeError as error:
        _print(f"{name}: {error.args[0]}", 2)
        return None
    _print(f"{name}{_described(encoder)}", 2)
    seen = check_unseen(plan, name, encoder, allowed=request.allow_seen) if plan else ""
    if seen:
        _print(seen, 4)
    return encoder


def _described(encoder: EncoderRef) -> str:
    architecture = f" ({encoder.architecture})" if encoder.architecture else ""
    trained = f": pre-trained on {encoder.pretrained_on}" if encoder.pretrained_on else ""
    return f"{architecture}{trained}"


def _state(row: _Row, fraction: float, seed: int, request: RunRequest, records: Records) -> str:
    if request.force:
        return OPEN
    if row.plan and row.encoder:
        spec = BACKBONES.get(row.name)
        cell = make_cell(row.plan, spec, row.encoder, fraction, seed, request)
        return DONE if ResultStore(request.results).finished([cell.key]) else OPEN
    facts = _known_facts(row, fraction, seed, request)
    alike = (all(record.get(k) == v for k, v in facts.items()) for record in records.values())
    return MAYBE if any(alike) else OPEN


def _known_facts(row: _Row, fraction: float, seed: int, request: RunRequest) -> dict[str, Any]:
    """Return what the record of a cell says of it that needs neither data nor encoder."""
    kind = KINDS.get(row.task.kind)
    threads = request.threads if kind.trained else None
    return {
        "task": row.task.name,
        "source": absolute_name(row.name),
        "label_fraction": float(fraction),
        "seed": seed,
        "protocol": request.protocol,
        "profile": request.profile,
        "evaluator_version": kind.evaluator_version,
        "settings_id": settings_hash(flatten(head_settings(row.task, request)), threads),
    }


def _by_state(found: Mapping[int, str]) -> str:
    groups: dict[str, list[str]] = {}
    for seed, state in found.items():
        groups.setdefault(state, []).append(str(seed))
    return ", ".join(
        f"{state} (seed{'s' * (len(seeds) > 1)} {', '.join(seeds)})"
        for state, seeds in groups.items()
    )


def _print(text: str, indent: int) -> None:
    """Print a line, broken at 80 columns where it has blanks (a path stays whole)."""
    first, rest = " " * indent, " " * (indent + 4)
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    print("\n".join(lines))
