"""One page over many tasks: where every encoder ranks, and how far it is between the worst and the
best."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.contracts import DEMO_NOTE, KINDS
from bench.metrics.bootstrap import Estimate, interval
from bench.report.csv_files import csv_text
from bench.report.leaderboard import Table, lower_is_better
from bench.report.markdown import escape, table_row, table_rule

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
    for name, of_task in tables.items():
        for table in of_task:
            group = groups[tuple(str(table.facts[fact]) for fact in COMMON)]
            if name not in group or len(table.rows) > len(group[name].rows):
                group[name] = table
    return [
        _overview(dict(zip(COMMON, key, strict=True)), group)
        for key, group in sorted(groups.items())
        if len(group) > 1
    ]


def _overview(facts: Mapping[str, str], tables: Mapping[str, Table]) -> Overview:
    values = {name: _defined(table) for name, table in tables.items()}
    counts = Counter(encoder for estimates in values.values() for encoder in estimates)
    complete = [encoder for encoder in sorted(counts) if counts[encoder] == len(tables)]
    return Overview(
        facts=facts,
        metrics={name: table.metric for name, table in tables.items()},
        values=values,
        standings=_standings(complete, values, tables) if len(complete) > 1 else [],
        left_out=[encoder for encoder in sorted(counts) if counts[encoder] < len(tables)],
    )


def _defined(table: Table) -> dict[str, Estimate]:
    column = table.columns[-1]
    return {name: column.estimates[name] for name in column.groups}


def _standings(
    names: Sequence[str], values: Mapping[str, Mapping[str, Estimate]], tables: Mapping[str, Table]
) -> list[Standing]:
    from scipy.stats import rankdata

    ranks = []
    scores = []
    for task, estimates in values.items():
        kind = KINDS.get(tables[task].task.kind)
        sign = -1 if lower_is_better(kind, tables[task].metric) else 1
        points = sign * np.array([[estimates[name].value] for name in names])
        resampled = sign * np.stack([estimates[name].resampled for name in names])
        both = np.concatenate([points, resampled], axis=1)
        ranks.append(rankdata(-both, axis=0, nan_policy="propagate"))
        scores.append(_scores(both))
    mean_ranks = np.nanmean(np.stack(ranks), axis=0)
    mean_scores = np.nanmean(np.stack(scores), axis=0)
    standings = [
        Standing(name, _estimate(rank), _estimate(score))
        for name, rank, score in zip(names, mean_ranks, mean_scores, strict=True)
    ]
    return sorted(standings, key=lambda s: (s.rank.value, -s.score.value, s.name))


def _scores(values: np.ndarray) -> np.ndarray:
    """Return (value - worst) / (best - worst) [n, R]; one half for all where they are equal."""
    worst = values.min(0)
    spread = values.max(0) - worst
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread == 0, 0.5, (values - worst) / spread)


def _estimate(row: np.ndarray) -> Estimate:
    """Return the estimate of a row: its value, then its resampled values."""
    low, high = interval(row[1:])
    return Estimate(float(row[0]), low, high, row[1:])


def overview_markdown(overview: Overview) -> str:
    """Return the page as Markdown: standings first, then every task's values."""
    facts = overview.facts
    lines = [f"### Overview of {len(overview.values)} tasks", ""]
    if facts["data_kind"] == "demo":
        lines += [f"**{DEMO_NOTE}**", ""]
    if overview.standings:
        lines += [table_row(["encoder", "mean rank", "mean normalised score"]), table_rule(3)]
    else:
        lines.append("Ranks need two encoders that have a value in every task.")
    for standing in overview.standings:
        cells = [escape(standing.name), standing.rank.text, standing.score.text]
        lines.append(table_row(cells))
    titles = [f"{name} ({metric})" for name, metric in overview.metrics.items()]
    lines += ["", table_row(["encoder", *titles]), table_rule(len(titles) + 1)]
    ranked = [standing.name for standing in overview.standings]
    every = sorted({name for estimates in overview.values.values() for name in estimates})
    for name in [*ranked, *(name for name in every if name not in ranked)]:
        cells = [_value(estimates, name) for estimates in overview.values.values()]
        lines.append(table_row([escape(name), *cells]))
    lines += ["", _legend(overview)]
    return "\n".join(lines) + "\n"


def _value(estimates: Mapping[str, Estimate], name: str) -> str:
    return estimates[name].text if name in estimates else "n/a"


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
        for standing in overview.standings:
            row = {
                "encoder": standing.name,
                **_numbers("rank", standing.rank),
                **_numbers("score", standing.score),
                "tasks": " ".join(overview.values),
                **overview.facts,
            }
            rows.append(row)
    return csv_text(rows)


def _numbers(name: str, estimate: Estimate) -> dict[str, str]:
    return {
        name: f"{estimate.value:.6f}",
        f"{name}_low": f"{estimate.low:.6f}",
        f"{name}_high": f"{estimate.high:.6f}",
    }


def overview_pages(overviews: Sequence[Overview]) -> dict[str, str]:
    """Return the text of overview.md and overview.csv; of demo data overview.demo.* beside real
    data."""
    kinds = {overview.facts["data_kind"] for overview in overviews}
    files = {}
    for kind in sorted(kinds):
        of_kind = [overview for overview in overviews if overview.facts["data_kind"] == kind]
        name = "overview.demo" if kind == "demo" and "real" in kinds else "overview"
        files[f"{name}.md"] = "\n".join(map(overview_markdown, of_kind))
        files[f"{name}.csv"] = overview_csv(of_kind)
    return files
