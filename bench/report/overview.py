"""One page over many tasks, by kinds of task: against how many of the others an encoder wins, ties
and loses."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from bench.contracts import DEMO_NOTE, baseline_row
from bench.metrics.bootstrap import Estimate
from bench.report.csv_files import csv_text
from bench.report.leaderboard import Table
from bench.report.markdown import escape, table_row, table_rule

COMMON = ("data_kind", "protocol", "profile")
KIND = "kind"


@dataclass(frozen=True)
class Standing:
    """One encoder against the others: in how many image sets it wins, ties and loses, each set
    counting one: the mean over its tasks and over the other encoders."""

    name: str
    wins: float
    ties: float
    losses: float

    @property
    def balance(self) -> float:
        """Return wins minus losses as a share of the image sets: 1 beats every other encoder
        everywhere, -1 is beaten by all."""
        return (self.wins - self.losses) / (self.wins + self.ties + self.losses)


@dataclass(frozen=True)
class Overview:
    """Encoders over tasks of one kind, data kind, protocol and profile (`facts`); `values`: task ->
    encoder -> estimate at the largest fraction.

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
    """Return an overview per kind of task for every data kind, protocol and profile that has tables
    of two tasks or more.

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
        _overview({**dict(zip(COMMON, key, strict=True)), KIND: kind}, of_kind)
        for key, group in sorted(groups.items())
        if len(group) > 1
        for kind, of_kind in _by_kind(group).items()
    ]


def _by_kind(tables: Mapping[str, Table]) -> dict[str, dict[str, Table]]:
    kinds: dict[str, dict[str, Table]] = defaultdict(dict)
    for name, table in tables.items():
        kinds[table.task.kind][name] = table
    return dict(sorted(kinds.items()))


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
    """Return the section of one kind as Markdown: standings first, then every task's values."""
    facts = overview.facts
    count = len(overview.values)
    tasks = f"{count} task" + "s" * (count > 1)
    lines = _head(f"Overview of {facts[KIND]}: {tasks}", overview)
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


def _head(title: str, overview: Overview) -> list[str]:
    """Return the first lines of a section; rendered data is said there."""
    note = [f"**{DEMO_NOTE}**", ""] if overview.facts["data_kind"] == "demo" else []
    return [f"### {title}", "", *note]


def summary_markdown(overviews: Sequence[Overview]) -> str:
    """Return one table over several kinds of task: the balance of every encoder in each. The rows
    without an encoder, which differ by kind, count as opponents."""
    kinds = [overview.facts[KIND] for overview in overviews]
    balances: dict[str, dict[str, float]] = defaultdict(dict)
    for overview in overviews:
        for standing in overview.standings if overview.image_sets else ():
            if not standing.name.startswith(baseline_row("")):
                balances[standing.name][overview.facts[KIND]] = standing.balance
    lines = _head("Overview by kinds of task", overviews[0])
    lines += [table_row(["encoder", *kinds]), table_rule(len(kinds) + 1)]
    names = sorted(balances, key=lambda name: (-fmean(balances[name].values()), name))
    for name in names:
        of_name = balances[name]
        cells = [f"{of_name[kind]:+.2f}" if kind in of_name else "n/a" for kind in kinds]
        lines.append(table_row([escape(name), *cells]))
    lines += ["", _SUMMARY]
    return "\n".join(lines) + "\n"


_SUMMARY = (
    "Wins minus losses, as a share of the sets of test images: +1 is better than every other "
    "encoder everywhere, -1 worse than all; 0 ties, or wins as often as it loses. Only encoders "
    "with a value in every task of a kind; n/a: it lacks one. Rows without an image are among the "
    "others. Sorted by the mean."
)


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
        files[f"{name}.md"] = "\n".join(_sections(of_kind))
        files[f"{name}.csv"] = overview_csv(of_kind)
    return files


def _sections(overviews: Sequence[Overview]) -> list[str]:
    """Return the sections of a page: of each protocol and profile one over its kinds, where it has
    several, then one per kind."""
    groups: dict[tuple[str, ...], list[Overview]] = defaultdict(list)
    for overview in overviews:
        groups[tuple(overview.facts[fact] for fact in COMMON)].append(overview)
    sections = []
    for group in groups.values():
        sections += [summary_markdown(group)] if len(group) > 1 else []
        sections += map(overview_markdown, group)
    return sections
