"""Views of the store: one table per comparable set of results, as CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.contracts import KINDS, TASKS, Predictions, TaskKind, TaskSpec
from bench.errors import PlaceBenchError
from bench.results import ResultStore, write_atomically
from bench.stats import Estimate, cluster_weights, mean_estimate, tied_with_best

Record = Mapping[str, Any]
DEMO_NOTE = "Rendered data: shows that the pipeline works, says nothing clinical."
_COMPARABLE = ("task", "protocol", "profile", "data_kind", "hash:data", "hash:test", "evaluator_version", "settings_id")


@dataclass(frozen=True)
class Column:
    """One column: every row's estimate at one label fraction, with the names that tie with the best."""

    fraction: float
    estimates: Mapping[str, Estimate]
    tied: frozenset[str]
    seeds: Mapping[str, int]

    @property
    def best(self) -> str:
        """Return the row with the highest value."""
        return max(self.estimates, key=lambda name: self.estimates[name].value)


@dataclass(frozen=True)
class Table:
    """Results that may stand side by side: same task, protocol, profile, data, test split, settings and evaluator."""

    task: TaskSpec
    facts: Mapping[str, Any]
    metric: str
    columns: Sequence[Column]
    test_images: int
    test_patients: int
    records: Sequence[Record]
    names: Mapping[str, str]
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[str]:
        """Return the row names, best at the largest fraction first."""
        last = self.columns[-1].estimates
        names = {name for column in self.columns for name in column.estimates}
        return sorted(names, key=lambda name: (-last[name].value if name in last else 0.0, name))


def build(store: ResultStore, task_name: str, metric: str = "") -> tuple[list[Table], list[str]]:
    """Return the tables of a task, and a sentence for every result that was left out."""
    task, records = TASKS.get(task_name), [r for r in store.records().values() if r["task"] == task_name]
    kind = KINDS.get(task.kind)
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    left_out = []
    for record in records:
        if record["evaluator_version"] != kind.evaluator_version:
            left_out.append(f"{record['title']}: evaluator version {record['evaluator_version']}, now {kind.evaluator_version}.")
        elif not store.predictions_path(record["key"]).is_file():
            left_out.append(f"{record['title']}: its predictions are gone.")
        else:
            groups[tuple(record.get(name) for name in _COMPARABLE)].append(record)
    tables = [_table(store, task, kind, metric or task.main_metric, group) for _, group in sorted(groups.items(), key=str)]
    return tables, left_out


def row_names(records: Sequence[Record]) -> dict[str, str]:
    """Return the row of every result (by key): backbone, architecture and settings; two checkpoints of a name are told apart."""
    checkpoints: dict[str, set[str]] = defaultdict(set)
    for record in records:
        checkpoints[_name(record)].add(str(record["hash:checkpoint"]))
    return {
        str(r["key"]): _name(r) + (f" [{r['hash:checkpoint'][:6]}]" if len(checkpoints[_name(r)]) > 1 else "") for r in records
    }


def _name(record: Record) -> str:
    words = [str(record["backbone"])] + ([f"({record['architecture']})"] if record["architecture"] else [])
    return " ".join(words + [f"{key}={value}" for key, value in sorted(record["backbone_settings"].items())])


def _table(store: ResultStore, task: TaskSpec, kind: TaskKind, metric: str, records: Sequence[Record]) -> Table:
    predictions = {str(r["key"]): store.load_predictions(str(r["key"])) for r in records}
    first = next(iter(predictions.values())).table
    weights = cluster_weights(first["patient_id"].tolist())
    names, columns = row_names(records), []
    for fraction in sorted({float(r["label_fraction"]) for r in records}):
        columns.append(
            _column(
                task, kind, metric, fraction, [r for r in records if r["label_fraction"] == fraction], names, predictions, weights
            )
        )
    facts = dict(zip(_COMPARABLE, (records[0].get(name) for name in _COMPARABLE), strict=True))
    notes = {names[str(r["key"])]: str(r["pretrained_on"]) for r in records if r.get("pretrained_on")}
    return Table(task, facts, metric, columns, len(first), int(first["patient_id"].nunique()), records, names, notes)


def _column(
    task: TaskSpec,
    kind: TaskKind,
    metric: str,
    fraction: float,
    records: Sequence[Record],
    names: Mapping[str, str],
    predictions: Mapping[str, Predictions],
    weights: Any,
) -> Column:
    rows: dict[str, list[Any]] = defaultdict(list)
    for record in records:
        statistics = kind.statistics(predictions[str(record["key"])], task)
        if metric not in statistics:
            raise PlaceBenchError(f"task '{task.name}' has no metric '{metric}'.", f"Known: {', '.join(statistics)}.")
        rows[names[str(record["key"])]].append(statistics[metric])
    estimates = {name: mean_estimate(found, weights) for name, found in rows.items()}
    return Column(fraction, estimates, frozenset(tied_with_best(estimates)), {n: len(s) for n, s in rows.items()})


def to_markdown(table: Table) -> str:
    """Return the table as it stands in a README: best in bold, ties with the best marked with =."""
    facts = table.facts
    head = [
        f"### {table.task.title}",
        "",
        f"`{table.task.name}`: {table.metric}, mean over seeds [95% interval, bootstrap over patients]",
        "",
    ]
    if facts["data_kind"] == "demo":
        head += [f"**{DEMO_NOTE}**", ""]
    lines = ["| encoder | " + " | ".join(f"{c.fraction:.0%} of labels" for c in table.columns) + " | seeds | n |"]
    lines.append("|---|" + "---|" * (len(table.columns) + 2))
    for name in table.rows:
        cells = [_cell(column, name) for column in table.columns]
        seeds = max(column.seeds.get(name, 0) for column in table.columns)
        lines.append(f"| {_escape(name)} | " + " | ".join(cells) + f" | {seeds} | {table.test_images} |")
    foot = ["", f"Data: {facts['data_kind']}. Protocol: {facts['protocol']}. Profile: {facts['profile']}. "
            f"Test set: {table.test_images} images of {table.test_patients} patients. **Bold**: best of the column; "
            "`=`: ties with it (the 95% interval of the paired difference contains 0)."]  # fmt: skip
    foot += [f"{_escape(name)} was pre-trained on {_escape(note)}." for name, note in sorted(table.notes.items())]
    return "\n".join(head + lines + foot) + "\n"


def _cell(column: Column, name: str) -> str:
    if name not in column.estimates:
        return "n/a"
    text = column.estimates[name].text
    if name == column.best:
        return f"**{text}**"
    return f"{text} =" if name in column.tied else text


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def to_rows(table: Table) -> list[dict[str, Any]]:
    """Return the table as flat rows: one per encoder and fraction."""
    rows = []
    for column in table.columns:
        for name in table.rows:
            if name in column.estimates:
                rows.append(_row(table, column, name))
    return rows


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
        "seeds": column.seeds[name],
        "n_images": table.test_images,
        "n_patients": table.test_patients,
        "best": name == column.best,
        "tied_with_best": name in column.tied,
        "data_kind": table.facts["data_kind"],
        "protocol": table.facts["protocol"],
        "profile": table.facts["profile"],
        "data_hash": table.facts["hash:data"],
        "pretrained_on": table.notes.get(name, ""),
    }


def to_csv(tables: Sequence[Table]) -> str:
    """Return all tables as one CSV; the columns data_kind, protocol, profile and data_hash keep them apart."""
    rows = [row for table in tables for row in to_rows(table)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]) if rows else ["task"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def write(store: ResultStore, task_name: str, folder: Path, metric: str = "") -> tuple[list[Table], list[str]]:
    """Write `<task>.md` and `<task>.csv` into `folder`; demo results go to `<task>.demo.*` once real ones exist."""
    tables, left_out = build(store, task_name, metric)
    kinds = {str(table.facts["data_kind"]) for table in tables}
    for data_kind in kinds:
        name = f"{task_name}.demo" if data_kind == "demo" and "real" in kinds else task_name
        chosen = [table for table in tables if table.facts["data_kind"] == data_kind]
        reasons = "".join(f"\nLeft out: {_escape(reason)}" for reason in left_out)
        body = "\n".join(to_markdown(table) for table in chosen)
        write_atomically(folder / f"{name}.md", body + reasons + ("\n" if reasons else ""))
        write_atomically(folder / f"{name}.csv", to_csv(chosen))
    return tables, left_out
