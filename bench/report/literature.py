"""Numbers from the literature, shown under a table of real data that was made with the same
protocol; never inside it."""

from __future__ import annotations

import csv
from collections import defaultdict
from functools import cache
from pathlib import Path

from bench.contracts import TaskSpec
from bench.report.markdown import table_row, table_rule

FOLDER = Path(__file__).with_name("numbers")
Row = dict[str, str]


@cache
def _rows(folder: Path) -> list[Row]:
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def _protocols(folder: Path) -> list[Row]:
    with (folder / "protocols.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def literature_groups(
    task: TaskSpec, protocol: str, folder: Path = FOLDER
) -> list[tuple[Row, list[Row]]]:
    """Return each published set-up that belongs under a task and protocol, and its numbers; none
    where the files are not there.

    A set-up is a row of `protocols.csv`; its `dataset` names ours where the source's name is
    another, its `difference` says what is not as in our protocol.
    """
    if not folder.is_dir():  # a wheel carries the packages only
        return []
    groups = []
    for setup in _protocols(folder):
        if (setup["kind"], setup["protocol"]) != (task.kind, protocol):
            continue
        rows = [row for row in _rows(folder) if _belongs(row, setup, task)]
        if rows:
            groups.append((setup, rows))
    return groups


def _belongs(row: Row, setup: Row, task: TaskSpec) -> bool:
    data = setup["dataset"] or row["dataset"]
    return (
        row["protocol"] == setup["published"]
        and data == task.dataset
        and "not linear" not in row["note"]
    )


def literature_markdown(
    task: TaskSpec, protocol: str, data_kind: str, folder: Path = FOLDER
) -> str:
    """Return a Markdown table per published set-up, one line per method and source; "" for demo
    data or where there are none."""
    groups = literature_groups(task, protocol, folder) if data_kind == "real" else []
    return "\n".join(_table(_heading(setup, protocol), rows) for setup, rows in groups)


def _heading(setup: Row, protocol: str) -> str:
    if not setup["difference"]:
        return (
            f"Published for protocol {protocol} (other code, seeds and test images: not ranked, "
            "no interval):"
        )
    return (
        f"Published on the same dataset, but not with protocol {protocol}: {setup['difference']} "
        "(not ranked, no interval):"
    )


def _table(head: str, rows: list[Row]) -> str:
    columns = list(dict.fromkeys((row["metric"], row["label_fraction"]) for row in rows))
    numbers: dict[tuple[str, str], dict[tuple[str, str], str]] = defaultdict(dict)
    for row in rows:
        column = (row["metric"], row["label_fraction"])
        numbers[_method(row), _source(row)][column] = _fraction(row)
    titles = [metric + (f" at {float(share):.0%}" if share else "") for metric, share in columns]
    lines = [head, "", table_row(["method", *titles, "source"]), table_rule(len(titles) + 2)]
    for (method, source), values in numbers.items():
        cells = [values.get(column, "n/a") for column in columns]
        lines.append(table_row([method, *cells, source]))
    return "\n".join(lines) + "\n"


def _method(row: Row) -> str:
    return row["method"] + (f" ({row['backbone']})" if row["backbone"] else "")


def _source(row: Row) -> str:
    return row["source"] + ("" if row["first_hand"] == "yes" else " (second-hand)")


def _fraction(row: Row) -> str:
    """Return a value as a fraction of one, with the digits the source gave."""
    if row["unit"] != "percent":
        return row["value"]
    digits = len(row["value"].partition(".")[2]) + 2
    return f"{float(row['value']) / 100:.{digits}f}"
