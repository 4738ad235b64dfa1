"""One page over many tasks: where every encoder ranks, and how far it is between the worst and the
best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.contracts import DEMO_NOTE, KINDS
from bench.metrics.bootstrap import Estimate, interval
from bench.report.leaderboard import Table, lower_is_better
from bench.report.tables import csv_text, escape

COMMON = ("data_kind", "protocol", "profile")


@dataclass(frozen=True)
class Standing:
    """One encoder: `rank` and `score` are means over the tasks with 95% intervals (patients of
    every test set resampled)."""

    name: str
    rank: Estimate
    score: Estimate


@dataclass(frozen=True)
class Overview:
    """Encoders over tasks of one data kind, protocol and profile; `values`: task -> encoder ->
    estimate at the largest fraction.

    Ranks and scores are over the encoders in `standings`, which have a defined value in every task;
    `left_out` lack some.
    """

    facts: Mapping[str, str]
    metrics: Mapping[str, str]
    values: Mapping[str, Mapping[str, Estimate]]
    standings: Sequence[Standing]
    left_out: Sequence[str]


def build_overviews(tables: Mapping[str, Sequence[Table]]) -> list[Overview]:
    """Return an overview per data kind, protocol and profile that has tables of two tasks or more.

    Of a task with several tables of one kind (other test sets, other settings of the head) the one
    with most rows is taken.
    """
    groups: dict[tuple[str, ...], dict[str, Table]] = defaultdict(dict)
    for name, found in tables.items():
        for table in found:
            key = tuple(str(table.facts[fact]) for fact in COMMON)
            held = groups[key].get(name)
            if held is None or len(table.rows) > len(held.rows):
                groups[key][name] = table
    return [
        _overview(dict(zip(COMMON, key, strict=True)), group)
        for key, group in sorted(groups.items())
        if len(group) > 1
    ]


def _overview(facts: Mapping[str, str], tables: Mapping[str, Table]) -> Overview:
    values = {name: _defined(table) for name, table in tables.items()}
    names = sorted({name for held in values.values() for name in held})
    complete = [name for name in names if all(name in held for held in values.values())]
    metrics = {name: table.metric for name, table in tables.items()}
    standings = _standings(complete, values, tables) if len(complete) > 1 else []
    return Overview(
        facts, metrics, values, standings, [name for name in names if name not in complete]
    )


def _defined(table: Table) -> dict[str, Estimate]:
    column = table.columns[-1]
    return {name: column.estimates[name] for name in column.groups}


def _standings(
    names: Sequence[str], values: Mapping[str, Mapping[str, Estimate]], tables: Mapping[str, Table]
) -> list[Standing]:
    from scipy.stats import rankdata

    ranks, scores = [], []
    for task, held in values.items():
        sign = -1 if lower_is_better(KINDS.get(tables[task].task.kind), tables[task].metric) else 1
        points = sign * np.array([[held[name].value] for name in names])
        samples = sign * np.stack([held[name].resampled for name in names])
        both = np.concatenate([points, samples], axis=1)
        ranks.append(rankdata(-both, axis=0, nan_policy="propagate"))
        scores.append(_scores(both))
    rank, score = (np.nanmean(np.stack(part), axis=0) for part in (ranks, scores))
    found = [
        Standing(name, _estimate(rank[i]), _estimate(score[i])) for i, name in enumerate(names)
    ]
    return sorted(
        found, key=lambda standing: (standing.rank.value, -standing.score.value, standing.name)
    )


def _scores(values: np.ndarray) -> np.ndarray:
    """Return (value - worst) / (best - worst) [n, R]; one half for all where they are equal."""
    low, high = values.min(0), values.max(0)
    spread = high - low
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread == 0, 0.5, (values - low) / spread)


def _estimate(row: np.ndarray) -> Estimate:
    return Estimate(float(row[0]), *interval(row[1:]), row[1:])


def overview_markdown(overview: Overview) -> str:
    """Return the page as Markdown: standings first, then every task's values."""
    facts = overview.facts
    lines = [f"### Overview of {len(overview.values)} tasks", ""]
    if facts["data_kind"] == "demo":
        lines += [f"**{DEMO_NOTE}**", ""]
    lines += ["| encoder | mean rank | mean normalised score |", "|---|---|---|"]
    lines += [f"| {escape(s.name)} | {s.rank.text} | {s.score.text} |" for s in overview.standings]
    lines += [
        "",
        "| encoder | "
        + " | ".join(f"{name} ({metric})" for name, metric in overview.metrics.items())
        + " |",
    ]
    lines.append("|---|" + "---|" * len(overview.metrics))
    rows = [standing.name for standing in overview.standings] + list(overview.left_out)
    lines += [
        f"| {escape(name)} | "
        + " | ".join(_value(held, name) for held in overview.values.values())
        + " |"
        for name in rows
    ]
    lines += ["", _legend(overview)]
    return "\n".join(lines) + "\n"


def _value(held: Mapping[str, Estimate], name: str) -> str:
    return held[name].text if name in held else "n/a"


def _legend(overview: Overview) -> str:
    facts = overview.facts
    text = (
        f"Data: {facts['data_kind']}. Protocol: {facts['protocol']}. Profile: "
        f"{facts['profile']}. Each task counts at its largest label fraction, and of several "
        "tables of a task the one with most rows counts. Rank 1 is the best; the normalised score "
        "is 0 for the worst encoder of a task and 1 for the best. Both are means over all tasks, "
        "for the encoders that have a value in every task [95% interval, patients of every test "
        "set drawn again]."
    )
    missing = ", ".join(escape(name) for name in overview.left_out)
    return text + (f" Without a rank, because a task is missing: {missing}." if missing else "")


def overview_csv(overviews: Sequence[Overview]) -> str:
    """Return the standings as CSV."""
    rows = []
    for overview in overviews:
        for s in overview.standings:
            numbers = {"rank": s.rank, "score": s.score}
            flat = {f"{k}{end}": f"{getattr(e, part):.6f}" for k, e in numbers.items()
                    for end, part in (("", "value"), ("_low", "low"), ("_high",
                    "high"))}  # fmt: skip
            rows.append(
                {"encoder": s.name, **flat, "tasks": " ".join(overview.values), **overview.facts}
            )
    return csv_text(rows)


def overview_pages(overviews: Sequence[Overview]) -> dict[str, str]:
    """Return the text of overview.md and overview.csv; of demo data overview.demo.* beside real
    data."""
    kinds = {overview.facts["data_kind"] for overview in overviews}
    files = {}
    for kind in sorted(kinds):
        chosen = [overview for overview in overviews if overview.facts["data_kind"] == kind]
        name = "overview.demo" if kind == "demo" and "real" in kinds else "overview"
        files[f"{name}.md"] = "\n".join(map(overview_markdown, chosen))
        files[f"{name}.csv"] = overview_csv(chosen)
    return files
