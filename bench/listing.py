"""`place-bench list`: what can be named, for people and (`--json`) for programs. Imports no torch
and no pandas."""

from __future__ import annotations

import json
from typing import Any

from bench.contracts import BACKBONES, DATASETS, TASKS


def rows(what: str) -> list[dict[str, Any]]:
    """Return the declarations of `tasks`, `backbones` or `datasets` as flat rows."""
    return {"tasks": _tasks, "backbones": _backbones, "datasets": _datasets}[what]()


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
            "masks": list(dataset.mask_classes),
            "reports": dataset.has_reports,
            "demo": dataset.has_demo,
            "licence": dataset.licence,
            "citation": dataset.citation,
        }
        for name, dataset in DATASETS.items()
    ]


def show(what: str, as_json: bool) -> None:
    """Print the rows as a table, or as JSON."""
    found = rows(what)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    left_out = {"citation", "licence", "groups", "metric"}  # in --json
    print_table(
        what,
        [{key: _text(value) for key, value in row.items() if key not in left_out} for row in found],
    )
    if what == "backbones":
        for scheme, facts in BACKBONES.schemes().items():
            print(f"{scheme}:NAME  {facts.title}, e.g. --backbones {facts.example}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return ", ".join(f"{item}" for item in value) if isinstance(value, list) else str(value)


def print_table(title: str, table_rows: list[dict[str, str]]) -> None:
    """Print rows of equal keys as a table; long cells wrap."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, header_style="bold", title_justify="left")
    for number, column in enumerate(table_rows[0] if table_rows else ["(none)"]):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in table_rows:
        table.add_row(*(Text(value) for value in row.values()))
    Console().print(table)
