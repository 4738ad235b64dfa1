"""`place-bench power`: what a test set can show, from the results made on it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from bench.api import tables_of
from bench.core.progress import default_progress
from bench.report.leaderboard import Table
from bench.report.markdown import escape, share, table_row, table_rule
from bench.report.power import ColumnPower, PairPower, column_power, patients_text


def power_command(
    task: str, difference: float, metric: str, results: Path, *, as_json: bool = False
) -> None:
    """Print the smallest difference of every pair of encoders, and the patients that `difference`
    needs."""
    tables, left_out = tables_of(task, metric, results)
    for reason in left_out:
        default_progress().say(f"Left out: {reason}")
    if as_json:
        rows = [row for table in tables for row in power_rows(table, difference)]
        print(json.dumps(rows, indent=2))
        return
    for table in tables:
        print(power_markdown(table, difference))


def power_markdown(table: Table, difference: float) -> str:
    """Return the power of a table, Markdown: per label fraction a sentence, and a row per pair."""
    facts = table.facts
    lines = [
        f"### {table.task.title}",
        "",
        f"`{table.task.name}`: {table.metric}. Data: {facts['data_kind']}. Protocol: "
        f"{facts['protocol']}. Profile: {facts['profile']}. Test set: {table.test_images} images "
        f"of {table.test_patients} patients.",
        "",
    ]
    for column in table.columns:
        lines.append(f"{share(column.fraction)} of labels:")
        lines.append("")
        power = column_power(table, column, difference)
        if power is None:
            lines += ["There are no two encoders to compare.", ""]
            continue
        lines += [*_column_lines(power, table.metric), ""]
    return "\n".join(lines)


def _column_lines(power: ColumnPower, metric: str) -> list[str]:
    typical = power.typical
    sentence = (
        f"A difference of {typical.smallest:.3f} in {metric} between two encoders is shown with "
        f"80% probability; after correction for {power.comparisons} pairs one of "
        f"{typical.smallest_corrected:.3f}. A difference of {power.difference:g} needs "
        f"{patients_text(typical.patients)}; after correction "
        f"{patients_text(typical.patients_corrected)}."
    )
    titles = [
        "pair",
        "shows",
        "corrected",
        f"patients for {power.difference:g}",
        "corrected",
    ]
    rows = [table_row(_cells(pair)) for pair in power.pairs]
    return [sentence, "", table_row(titles), table_rule(len(titles)), *rows]


def _cells(pair: PairPower) -> list[str]:
    return [
        f"{escape(pair.one)} and {escape(pair.other)}",
        f"{pair.smallest:.3f}",
        f"{pair.smallest_corrected:.3f}",
        _count(pair.patients),
        _count(pair.patients_corrected),
    ]


def _count(patients: float) -> str:
    return "more seeds" if math.isinf(patients) else f"{patients:.0f}"


def power_rows(table: Table, difference: float) -> list[dict[str, Any]]:
    """Return the power of a table as rows: one per label fraction and pair; null patients where no
    number is enough."""
    rows = []
    for column in table.columns:
        power = column_power(table, column, difference)
        for pair in power.pairs if power else ():
            rows.append(
                {
                    "task": table.task.name,
                    "metric": table.metric,
                    "label_fraction": column.fraction,
                    "one": pair.one,
                    "other": pair.other,
                    "test_patients": table.test_patients,
                    "smallest_difference": pair.smallest,
                    "smallest_difference_corrected": pair.smallest_corrected,
                    "difference": difference,
                    "patients_needed": _finite(pair.patients),
                    "patients_needed_corrected": _finite(pair.patients_corrected),
                    **{name: table.facts[name] for name in ("data_kind", "protocol", "profile")},
                }
            )
    return rows


def _finite(patients: float) -> float | None:
    return None if math.isinf(patients) else patients
