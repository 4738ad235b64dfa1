"""Tables as CSV, for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from bench.metrics.paired import Difference
from bench.report.leaderboard import Column, Table, role_of


def to_csv(tables: Sequence[Table]) -> str:
    """Return all tables as one CSV; the columns data_kind, protocol, profile, data_hash and
    split_hash keep them apart."""
    return csv_text(to_rows(*tables))


def to_rows(*tables: Table) -> list[dict[str, Any]]:
    """Return tables as flat rows, one per encoder and fraction; they have `supervision` where the
    encoder of any saw more than images and reports."""
    supervised = any(table.supervised for table in tables)
    return [
        _row(table, column, name) | _supervision(table, name, supervised)
        for table in tables
        for column in table.columns
        for name in table.rows
        if name in column.estimates
    ]


def _supervision(table: Table, name: str, supervised: bool) -> dict[str, str]:
    return {"supervision": table.supervision(name)} if supervised else {}


def _row(table: Table, column: Column, name: str) -> dict[str, Any]:
    estimate = column.estimates[name]
    return {
        "task": table.task.name,
        "encoder": name,
        "label_fraction": column.fraction,
        "metric": table.metric,
        "value": f"{estimate.value:.6f}",
        "low": f"{estimate.low:.6f}",
        "high": f"{estimate.high:.6f}",
        "se_patients": f"{estimate.spread.patients:.6f}",
        "seeds": len(estimate.seeds),
        "seed_sd": f"{estimate.seed_sd:.6f}",
        "n_images": table.test_images,
        "n_patients": table.test_patients,
        "best": name == column.best,
        "tied_with_best": name in column.tied,
        "letters": column.letters.get(name, ""),
        "role": _role(table, name),
        **_facts(table),
        "pretrained_on": table.notes.get(name, ""),
        "weights_from_file": table.encoder(name).get("encoder:coverage", ""),
        "seen_test_images": _or_empty(table.newest(name).get("seen:images")),
    }


def _role(table: Table, name: str) -> str:
    if name in table.submitted:
        return "submitted"
    return role_of(table.newest(name)) or "encoder"


def _or_empty(value: Any) -> Any:
    return "" if value is None else value


def _facts(table: Table) -> dict[str, Any]:
    return {
        "data_kind": table.facts["data_kind"],
        "protocol": table.facts["protocol"],
        "profile": table.facts["profile"],
        "data_hash": table.facts["hash:data"],
        "split_hash": _or_empty(table.facts["hash:split"]),
    }


def differences_csv(tables: Sequence[Table]) -> str:
    """Return every paired difference of every column as one CSV."""
    return csv_text(
        [
            _difference_row(table, column, difference)
            for table in tables
            for column in table.columns
            for difference in column.differences()
        ]
    )


def _difference_row(table: Table, column: Column, difference: Difference) -> dict[str, Any]:
    return {
        "task": table.task.name,
        "label_fraction": column.fraction,
        "metric": table.metric,
        "better": difference.one,
        "worse": difference.other,
        "value": f"{difference.value:.6f}",
        "low": f"{difference.low:.6f}",
        "high": f"{difference.high:.6f}",
        "p": f"{difference.p:.6f}",
        "p_holm": f"{difference.p_holm:.6f}",
        **_facts(table),
    }


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of the same keys as CSV; no rows, a header alone."""
    buffer = io.StringIO()
    columns = list(rows[0]) if rows else ["task"]
    writer = csv.DictWriter(buffer, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
