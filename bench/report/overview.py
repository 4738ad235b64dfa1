"""One page over many tasks: against how many of the others an encoder wins, ties and loses."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.contracts import DEMO_NOTE
from bench.metrics.bootstrap import Estimate
from bench.report.csv_files import csv_text
from bench.report.leaderboard import Table
from bench.report.markdown import escape, table_row, table_rule

COMMON = ("data_kind", "protocol", "profile")


@dataclass(frozen=True)
class Standing:
    """One encoder against the others: in how many image sets it wins, ties and loses, each set
    counting one: the mean over its tasks and over the other encoders."""

    name: str
    wins: float
    ties: float
    losses: float


@dataclass(frozen=True)
class Overview:
    """Encoders over tasks of one data kind, protocol and profile; `values`: task -> encoder ->
    estimate at the largest fraction.

    `standings` are of the encoders that have a value in every task; `left_out` lack some.
    `unranked` rows are compared with none. `supervision`: encoder -> what it learned from beside
    images and reports, of those that did. `image_sets`: the tasks that count, those of the same
    test images together; `uncounted`: tasks in which no encoder is better than the floor.
    """

    facts: Mapping[str, str]
    metrics: Mapping[str, str]
    values: Mapping[str, Mapping[str, Estimate]]
    standings: Sequence[Standing]
    left_out: Sequence[str]
    image_sets: Sequence[Sequence[str]]
    uncounted: Sequence[str]
    unranked: Sequence[str] = ()
    supervision: Mapping[str, str] = field(default_factory=dict)


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
    counts = Counter(row for table in tables.values() for row in table.columns[-1].defined)
    complete = [encoder for encoder in sorted(counts) if counts[encoder] == len(tables)]
    uncounted = [name for name, table in tables.items() if table.floor and not table.above_floor]
    sets: dict[str, list[str]] = defaultdict(list)
    for name, table in tables.items():
        if name not in uncounted:
            sets[str(table.facts["hash:test"])].append(name)
    image_sets = list(sets.values())
    return Overview(
        facts=facts,
        metrics={name: table.metric for name, table in tables.items()},
        values={name: _defined(table) for name, table in tables.items()},
        standings=_standings(complete, tables, image_sets) if len(complete) > 1 else [],
        left_out=[encoder for encoder in sorted(counts) if counts[encoder] < len(tables)],
        image_sets=image_sets,
        uncounted=uncounted,
        unranked=sorted({row for table in tables.values() for row in table.unranked}),
        supervision={
            row: words
            for table in tables.values()
            for row in table.rows
            if (words := table.supervision(row))
        },
    )


def _defined(table: Table) -> dict[str, Estimate]:
    column = table.columns[-1]
    rows = [*column.defined, *table.unranked]
    estimates = {name: column.estimates[name] for name in rows if name in column.estimates}
    return {name: each for name, each in estimates.items() if not math.isnan(each.value)}


def _standings(
    names: Sequence[str], tables: Mapping[str, Table], image_sets: Sequence[Sequence[str]]
) -> list[Standing]:
    standings = [_standing(name, names, tables, image_sets) for name in names]
    return sorted(standings, key=lambda s: (s.losses - s.wins, s.name))


def _standing(
    name: str,
    names: Sequence[str],
    tables: Mapping[str, Table],
    image_sets: Sequence[Sequence[str]],
) -> Standing:
    others = [other for other in names if other != name]
    wins = 0.0
    losses = 0.0
    for tasks in image_sets:
        columns = [tables[task].columns[-1] for task in tasks]
        comparisons = len(others) * len(columns)
        won = sum(column.beats(name, other) for column in columns for other in others)
        lost = sum(column.beats(other, name) for column in columns for other in others)
        wins += won / comparisons
        losses += lost / comparisons
    return Standing(name, wins, len(image_sets) - wins - losses, losses)


def overview_markdown(overview: Overview) -> str:
    """Return the page as Markdown: standings first, then every task's values."""
    facts = overview.facts
    lines = [f"### Overview of {len(overview.values)} tasks", ""]
    if facts["data_kind"] == "demo":
        lines += [f"**{DEMO_NOTE}**", ""]
    if overview.standings:
        lines += [table_row(["encoder", "wins", "ties", "losses"]), table_rule(4)]
    else:
        lines.append("Wins and losses need two encoders that have a value in every task.")
    for standing in overview.standings:
        shares = [standing.wins, standing.ties, standing.losses]
        cells = [escape(standing.name), *(f"{share:.1f}" for share in shares)]
        lines.append(table_row(cells))
    titles = [_title(overview, name) for name in overview.metrics]
    lines += ["", table_row(["encoder", *titles]), table_rule(len(titles) + 1)]
    ranked = [standing.name for standing in overview.standings]
    every = sorted({name for estimates in overview.values.values() for name in estimates})
    others = [name for name in every if name not in ranked and name not in overview.unranked]
    for name in [*ranked, *others, *overview.unranked]:
        cells = [_value(estimates, name) for estimates in overview.values.values()]
        lines.append(table_row([escape(name), *cells]))
    lines += ["", _legend(overview)]
    return "\n".join(lines) + "\n"


def _value(estimates: Mapping[str, Estimate], name: str) -> str:
    return estimates[name].text if name in estimates else "n/a"


def _title(overview: Overview, task: str) -> str:
    mark = " ✗" if task in overview.uncounted else ""
    return f"{task} ({overview.metrics[task]}){mark}"


def _legend(overview: Overview) -> str:
    facts = overview.facts
    sentences = [
        f"Data: {facts['data_kind']}. Protocol: {facts['protocol']}. Profile: {facts['profile']}.",
        "Every task at its largest label fraction; of a task with several tables, the one with "
        "most rows.",
        "An encoder wins against another in a task where it is better beyond the comparison "
        "corrected for all pairs of that task's table; where neither wins they tie.",
        f"Each of the {len(overview.image_sets)} sets of test images has one vote, whatever the "
        "number of tasks on it: the mean over its tasks and over the other encoders.",
    ]
    if overview.uncounted:
        sentences.append("✗: no encoder is shown to be better than the floor; not counted.")
    if overview.unranked:
        rows = ", ".join(escape(name) for name in overview.unranked)
        sentences.append(f"Trained on the labels of each task, and therefore not ranked: {rows}.")
    if overview.supervision:
        rows = ", ".join(
            f"{escape(name)} ({words.replace(' ', ', ')})"
            for name, words in sorted(overview.supervision.items())
        )
        sentences.append(f"Learned from more than images and reports: {rows}.")
    if overview.left_out:
        missing = ", ".join(escape(name) for name in overview.left_out)
        sentences.append(f"Not compared, for want of some tasks: {missing}.")
    return " ".join(sentences)


def overview_csv(overviews: Sequence[Overview]) -> str:
    """Return the standings as CSV."""
    rows = []
    for overview in overviews:
        for standing in overview.standings:
            row = {
                "encoder": standing.name,
                "wins": f"{standing.wins:.6f}",
                "ties": f"{standing.ties:.6f}",
                "losses": f"{standing.losses:.6f}",
                "image_sets": len(overview.image_sets),
                "tasks": " ".join(overview.values),
                **overview.facts,
            }
            rows.append(row)
    return csv_text(rows)


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
