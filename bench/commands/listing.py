"""`place-bench list`: what can be named, for people and (`--json`) for programs. Imports no torch
and no pandas."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contracts import ANNOTATIONS, BACKBONES, DATASETS, KINDS, TASKS, Dataset
from bench.core.choices import settings_beside


def rows(what: str) -> list[dict[str, Any]]:
    """Return the declarations of `tasks`, `backbones`, `datasets` or `choices` as flat rows."""
    listed = {
        "tasks": _tasks,
        "backbones": _backbones,
        "datasets": _datasets,
        "choices": _choices,
    }
    return listed[what]()


def _tasks() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "kind": task.kind,
            "dataset": task.dataset,
            "metric": task.main_metric,
            "fractions": list(task.fractions),
            "groups": list(task.groups),
            "title": task.title,
        }
        for name, task in TASKS.items()
    ]


def _backbones() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "title": spec.title,
            "pretrain": bool(spec.method),
            "default": spec.default,
            "supervision": list(spec.supervision),
            "licence": spec.licence,
            "citation": spec.citation,
        }
        for name, spec in BACKBONES.items()
    ]


def _datasets() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "title": dataset.title,
            "annotations": _annotations(dataset),
            "masks": list(dataset.mask_classes),
            "boxes": list(dataset.box_classes),
            "reports": dataset.has_reports,
            "demo": dataset.has_demo,
            "licence": dataset.licence,
            "citation": dataset.citation,
        }
        for name, dataset in DATASETS.items()
    ]


def _annotations(dataset: Dataset) -> list[str]:
    """Return the names of the annotations that a dataset offers, those of plug-ins too."""
    return [name for name, annotation in ANNOTATIONS.items() if annotation.offered(dataset)]


def _choices() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "kind": kind,
            "setting": setting,
            "title": part.title,
            "settings": list(settings_beside(registry, name)),
        }
        for kind, declaration in KINDS.items()
        for setting, registry in declaration.choices.items()
        for name, part in registry.items()
    ]


def show(what: str, as_json: bool) -> None:
    """Print the rows for people, a line each, or as JSON with everything that is known."""
    declarations = rows(what)
    if as_json:
        print(json.dumps(declarations, indent=2, ensure_ascii=False))
        return
    lines = {
        "tasks": _task_lines,
        "backbones": _backbone_lines,
        "datasets": _dataset_lines,
        "choices": _choice_lines,
    }
    for line in lines[what](declarations):
        print(line)


def _task_lines(declarations: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the tasks by their kind: the kind's name is a group that runs them all."""
    width = _width(declarations) + 2
    for kind in sorted({str(row["kind"]) for row in declarations}):
        yield kind
        for row in declarations:
            if row["kind"] == kind:
                yield entry(f"  {row['name']}", row["title"], width)
    yield "\nA kind's name runs all its tasks. More on each: place-bench list tasks --json"


def _backbone_lines(declarations: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    width = _width(declarations)
    for row in declarations:
        yield entry(row["name"], row["title"], width)
    yield "\nAny other encoder, by name:"
    for scheme, facts in BACKBONES.schemes().items():
        yield entry(f"  {scheme}:NAME", facts.title, width + 2)
        yield f"      --backbones '{facts.example}'"


def _dataset_lines(declarations: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    width = _width(declarations)
    for row in declarations:
        contents = [*row["annotations"], *(("demo",) if row["demo"] else ())]
        title = f"{row['title']} [{', '.join(contents)}]" if contents else row["title"]
        yield entry(row["name"], title, width)
    yield "\nIn brackets: what it has beside images. A demo is rendered when needed."
    yield "How to get one: place-bench data info NAME"


def _choice_lines(declarations: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what a setting can name, under the kind of task and the setting."""
    width = _width(declarations) + 2
    for head in dict.fromkeys((row["kind"], row["setting"]) for row in declarations):
        yield f"{head[0]}, --set {head[1]}=NAME"
        for row in declarations:
            if (row["kind"], row["setting"]) == head:
                settings = f" ({', '.join(row['settings'])})" if row["settings"] else ""
                yield entry(f"  {row['name']}", f"{row['title']}{settings}", width)
    yield "\nIn brackets: the settings that it has beside those of the kind."


def _width(declarations: Sequence[Mapping[str, Any]]) -> int:
    return max((len(str(row["name"])) for row in declarations), default=0)


def entry(name: str, title: str, width: int) -> str:
    """Return a name and its text, wrapped beside it at the terminal's width (80 if unknown)."""
    columns = shutil.get_terminal_size((80, 24)).columns
    head = f"{name:<{width}}  "
    return textwrap.fill(
        title,
        max(columns, 40),
        break_long_words=False,
        initial_indent=head,
        subsequent_indent=" " * len(head),
    )
