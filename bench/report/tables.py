"""Tables as text: Markdown for people, CSV for programs."""

from __future__ import annotations

import csv
import io
import math
import string
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bench.cells.seen import UNKNOWN, SeenCount
from bench.contracts import DEMO_NOTE, KINDS
from bench.metrics.paired import Difference
from bench.report.leaderboard import Column, Table, lower_is_better
from bench.report.literature import published_markdown

PARTLY = "†"
"""Marks a row whose encoder has weights that no file gave."""


def to_markdown(table: Table) -> str:
    """Return the table as it stands in a README: best in bold, letters of the tie groups, paired
    differences, other metrics."""
    lines = [
        *_head(table),
        "",
        *_body(table),
        "",
        *_foot(table),
        *_differences(table),
        *_others(table),
    ]
    published = published_markdown(
        table.task, str(table.facts["protocol"]), str(table.facts["data_kind"])
    )
    return "\n".join(lines) + "\n" + (f"\n{published}" if published else "")


def _head(table: Table) -> list[str]:
    what = (
        f"`{table.task.name}`: {table.metric}, mean over seeds [95% interval, bootstrap over "
        "patients]"
    )
    demo = ["", f"**{DEMO_NOTE}**"] if table.facts["data_kind"] == "demo" else []
    return [f"### {table.task.title}", "", what, *demo]


def _body(table: Table) -> list[str]:
    lines = [
        "| encoder | "
        + " | ".join(f"{share(c.fraction)} of labels" for c in table.columns)
        + " | seeds | n |"
    ]
    lines.append("|---|" + "---|" * (len(table.columns) + 2))
    for name in table.rows:
        cells = [_cell(column, name) for column in table.columns]
        seeds = max(column.seeds.get(name, 0) for column in table.columns)
        mark = f" {PARTLY}" if _coverage(table, name) < 1 else ""
        lines.append(
            f"| {escape(name)}{mark} | " + " | ".join(cells) + f" | {seeds} | {table.test_images} |"
        )
    return lines


def _cell(column: Column, name: str) -> str:
    if name not in column.estimates:
        return "n/a"
    if name not in column.groups:
        return "undefined"
    text = column.estimates[name].text
    spread = column.seed_sd[name]
    text += "" if math.isnan(spread) else f" ±{spread:.3f}"
    return f"{f'**{text}**' if name == column.best else text} {_letter(column.groups[name])}"


def _letter(group: int) -> str:
    return string.ascii_lowercase[group] if group < 26 else str(group)


def _foot(table: Table) -> list[str]:
    facts = table.facts
    legend = (
        f"Data: {facts['data_kind']}. Protocol: {facts['protocol']}. Profile: {facts['profile']}. "
        f"Test set: {table.test_images} images of {table.test_patients} patients. **Bold**: "
        "best of the column. Letters: rows with `a` cannot be told apart from the best row (the "
        "95% interval of their paired difference contains 0); of the other rows, the best and "
        "those that cannot be told apart from it carry `b`, and so on."
    )
    several = any(count > 1 for column in table.columns for count in column.seeds.values())
    sd = [" ±: standard deviation over seeds, which is no part of the interval."] if several else []
    notes = [
        f"{escape(name)} was pre-trained on {escape(note)}."
        for name, note in sorted(table.notes.items())
    ]
    remarks = [*_weights(table), *_seen(table), *_cautions(table)]
    return ["".join([legend, *sd]), *notes, *remarks]


def _weights(table: Table) -> list[str]:
    """Return a sentence for each encoder whose weights did not all come from its file as they stand
    there."""
    lines = []
    for name in sorted(table.rows):
        facts = _encoder(table, name)
        if _coverage(table, name) < 1:
            lines.append(
                f"{PARTLY} {escape(name)}: {_percent(_coverage(table, name))} of its weights come "
                f"from its file; not in it: {escape(', '.join(facts.get('encoder:missing', [])))}."
            )
        changed = facts.get("encoder:adaptations") or []
        if changed:
            lines.append(f"{escape(name)}, changed to fit: {escape('; '.join(changed))}.")
    return lines


def _percent(share: float) -> str:
    """Return a share below one as a percentage that is never rounded up to 100%."""
    return f"{math.floor(1000 * share) / 10:g}%"


def _encoder(table: Table, name: str) -> Mapping[str, Any]:
    """Return a result of one row, for what it says of its encoder; one with a mark goes first."""
    records = [record for record in table.records if table.names[str(record["key"])] == name]
    return min(records, key=_share, default={})


def _coverage(table: Table, name: str) -> float:
    return _share(_encoder(table, name))


def _share(record: Mapping[str, Any]) -> float:
    """Return how much of an encoder came from its file; 1 where a result says nothing of it."""
    return float(record.get("encoder:coverage", 1.0))


def _seen(table: Table) -> list[str]:
    """Return which rows were pre-trained on test images or patients, and of which nobody knows."""
    lines, unknown = [], []
    for name in sorted(table.rows):
        images = _fact(table, name, "seen:images")
        patients = _fact(table, name, "seen:patients")
        if images == UNKNOWN:
            unknown.append(escape(name))
        elif images or patients:
            count = SeenCount(images, patients, table.test_images, table.test_patients)
            lines.append(count.sentence(f"**{escape(name)}**"))
    if unknown:
        lines.append(
            "Nobody recorded which images these were pre-trained on, so whether they have seen the "
            f"test images is unknown: {', '.join(unknown)}."
        )
    return lines


def _fact(table: Table, name: str, fact: str) -> Any:
    """Return a fact of the newest result of a row, None where it has none."""
    facts = [r.get(fact) for r in table.records if table.names[str(r["key"])] == name]
    return facts[-1] if facts else None


def _cautions(table: Table) -> list[str]:
    """Return what the dataset says of its test images, once."""
    sentences = [text for record in table.records for text in record.get("cautions", [])]
    return [escape(text) for text in dict.fromkeys(sentences)]


def _differences(table: Table) -> list[str]:
    """Return the differences to the best row at the largest fraction; the CSV beside has all
    pairs."""
    column = table.columns[-1]
    rows = [found for found in column.differences() if found.one == column.best]
    if not rows:
        return []
    head = (
        f"Paired differences to {escape(column.best)} at {share(column.fraction)} of labels (p "
        "corrected for all pairs by Holm):"
    )
    return [
        "",
        head,
        "",
        "| against | difference | p (Holm) |",
        "|---|---|---|",
        *(_line(found) for found in rows),
    ]


def _others(table: Table) -> list[str]:
    """Return the kind's other metrics at the largest fraction, mean over seeds; `place-bench
    compare --metric` has intervals."""
    kind, fraction = KINDS.get(table.task.kind), table.columns[-1].fraction
    records = [record for record in table.records if float(record["label_fraction"]) == fraction]
    known = [name for name in kind.metrics if any(f"metric:{name}" in record for record in records)]
    metrics = [name for name in known if name != table.metric]
    if not metrics:
        return []
    hint = (
        f"intervals and differences: `place-bench compare {table.task.name} --metric {metrics[0]}`"
    )
    heads = [f"{name} ↓" if lower_is_better(kind, name) else name for name in metrics]
    arrow = "; ↓: lower is better" if heads != metrics else ""
    lines = ["", f"Other metrics at {share(fraction)} of labels ({hint}{arrow}):", ""]
    lines += ["| encoder | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for name in table.rows:
        own = [record for record in records if table.names[str(record["key"])] == name]
        if own:
            lines.append(
                f"| {escape(name)} | "
                + " | ".join(_mean([r.get(f"metric:{m}") for r in own]) for m in metrics)
                + " |"
            )
    return lines


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return f"{sum(known) / len(known):.3f}" if len(known) == len(values) else "undefined"


def _line(found: Difference) -> str:
    value = f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    return f"| {escape(found.other)} | {value} | {found.p_holm:.3f} |"


def comparison(table: Table, among: Collection[str]) -> str:
    """Return every paired difference of the rows `among` (none named: of all), per label fraction,
    as Markdown."""
    lines = [*_head(table), ""]
    for column in table.columns:
        lines += [
            f"{share(column.fraction)} of labels:",
            "",
            "| better | against | difference | p (Holm) |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {escape(found.one)} {_line(found)}" for found in column.differences(among)
        ] + [""]
    return "\n".join(lines)


def share(fraction: float) -> str:
    """Return a label fraction as a percentage with the digits it needs: 100%, 10%, 0.5%."""
    return f"{100 * fraction:g}%"


def escape(text: str) -> str:
    """Return a text that stands in a Markdown table as it is."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def to_rows(table: Table) -> list[dict[str, Any]]:
    """Return the table as flat rows: one per encoder and fraction."""
    return [
        _row(table, column, name)
        for column in table.columns
        for name in table.rows
        if name in column.estimates
    ]


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
        "seed_sd": f"{column.seed_sd[name]:.6f}",
        "n_images": table.test_images,
        "n_patients": table.test_patients,
        "best": name == column.best,
        "tied_with_best": column.groups.get(name) == 0,
        "tie_group": column.groups.get(name, ""),
        **_facts(table),
        "pretrained_on": table.notes.get(name, ""),
        "weights_from_file": _encoder(table, name).get("encoder:coverage", ""),
        "seen_test_images": _or_empty(_fact(table, name, "seen:images")),
    }


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


def to_csv(tables: Sequence[Table]) -> str:
    """Return all tables as one CSV; the columns data_kind, protocol, profile, data_hash and
    split_hash keep them apart."""
    return csv_text([row for table in tables for row in to_rows(table)])


def differences_csv(tables: Sequence[Table]) -> str:
    """Return every paired difference of every column as one CSV."""
    rows = []
    for table in tables:
        for column in table.columns:
            about = {
                "task": table.task.name,
                "label_fraction": column.fraction,
                "metric": table.metric,
            }
            for found in column.differences():
                numbers = {
                    name: f"{getattr(found, name):.6f}"
                    for name in ("value", "low", "high", "p", "p_holm")
                }
                rows.append(
                    {**about, "better": found.one, "worse": found.other, **numbers, **_facts(table)}
                )
    return csv_text(rows)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of the same keys as CSV; no rows, a header alone."""
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, fieldnames=list(rows[0]) if rows else ["task"], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
