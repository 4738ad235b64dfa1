"""A leaderboard as people read it: the table in Markdown, with what stands under it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from bench.cells.seen import UNKNOWN, SeenCount
from bench.contracts import DEMO_NOTE, KINDS
from bench.core.errors import in_words
from bench.metrics.intervals import FEW_POSITIVE, FEWEST_POSITIVE
from bench.metrics.paired import Difference
from bench.report.csv_files import differences_csv, to_csv
from bench.report.leaderboard import Column, Table, lower_is_better
from bench.report.literature import literature_markdown
from bench.report.markdown import escape, share, table_row, table_rule
from bench.report.power import power_lines
from bench.report.row_names import Record

PARTLY = "†"
"""Marks a row whose encoder has weights that no file gave."""
ELSEWHERE = "‡"
"""Marks a row whose predictions were made elsewhere."""


def pages(task_name: str, tables: Sequence[Table], left_out: Sequence[str]) -> dict[str, str]:
    """Return the text of `<task>.md`, `<task>.csv` and `<task>.differences.csv`; of demo results
    `<task>.demo.*` beside real ones."""
    kinds = {str(table.facts["data_kind"]) for table in tables}
    reasons = "".join(f"\nLeft out: {escape(reason)}\n" for reason in left_out)
    files = {}
    for data_kind in sorted(kinds):
        name = f"{task_name}.demo" if data_kind == "demo" and "real" in kinds else task_name
        of_kind = [table for table in tables if table.facts["data_kind"] == data_kind]
        files[f"{name}.md"] = "\n".join(to_markdown(table) for table in of_kind) + reasons
        files[f"{name}.csv"] = to_csv(of_kind)
        files[f"{name}.differences.csv"] = differences_csv(of_kind)
    return files


def to_markdown(table: Table) -> str:
    """Return the table as it stands in a README: best in bold, letters of what differs, paired
    differences, other metrics."""
    lines = [
        *_head(table),
        "",
        *_body(table),
        "",
        *_foot(table),
        *power_lines(table),
        *_differences(table),
        *_others(table),
    ]
    literature = literature_markdown(
        table.task, str(table.facts["protocol"]), str(table.facts["data_kind"])
    )
    if literature:
        lines += ["", literature.removesuffix("\n")]
    return "\n".join(lines) + "\n"


def _head(table: Table) -> list[str]:
    measure = f"`{table.task.name}`: {table.metric}, mean over seeds [95% interval]"
    demo = ["", f"**{DEMO_NOTE}**"] if table.facts["data_kind"] == "demo" else []
    return [f"### {table.task.title}", "", *_nothing_above(table), measure, *demo]


def _nothing_above(table: Table) -> list[str]:
    """Return the first line of a table in which no encoder is better than what looks at nothing."""
    floor = table.floor
    ranked = set(table.rows).difference(table.unranked)
    if not floor or ranked == set(floor):
        return []
    above = table.above_floor
    rows = " and ".join(escape(row) for row in floor)
    if not above:
        sentence = f"No encoder is shown to be better than {rows} here: this table ranks nobody."
    elif set(above) <= set(table.outsiders):
        names = " and ".join(escape(row) for row in above)
        sentence = (
            f"Only {names}, trained on photographs, is shown to be better than {rows} here: this "
            "table ranks no encoder of radiographs."
        )
    else:
        return []
    return [f"**{sentence}**", ""]


def _body(table: Table) -> list[str]:
    titles = ["encoder", *_fraction_titles(table), "seeds", "n"]
    if table.supervised:
        titles.append("supervision")
    lines = [table_row(titles), table_rule(len(titles))]
    submitted = table.submitted
    for name in table.rows:
        mark = f" {PARTLY}" if table.coverage(name) < 1 else ""
        mark += f" {ELSEWHERE}" if name in submitted else ""
        values = [_cell(column, name) for column in table.columns]
        seeds = max(column.seed_count(name) for column in table.columns)
        beside = " (not ranked)" if name in table.unranked else ""
        cells = [escape(name) + mark + beside, *values, str(seeds), str(table.test_images)]
        if table.supervised:
            cells.append(table.supervision(name) or "-")
        lines.append(table_row(cells))
    return lines


def _fraction_titles(table: Table) -> list[str]:
    return [f"{share(column.fraction)} of labels" for column in table.columns]


def _cell(column: Column, name: str) -> str:
    if name not in column.estimates:
        return "n/a"
    estimate = column.estimates[name]
    if math.isnan(estimate.value):
        return "undefined"
    text = estimate.text
    if not math.isnan(estimate.seed_sd):
        text += f" ±{estimate.seed_sd:.3f}"
    if name == column.best:
        text = f"**{text}**"
    return f"{text} {column.letters.get(name, '')}".rstrip()


def _foot(table: Table) -> list[str]:
    facts = table.facts
    legend = (
        f"Data: {facts['data_kind']}. Protocol: {facts['protocol']}. Profile: {facts['profile']}. "
        f"Test set: {table.test_images} images of {table.test_patients} patients. **Bold**: "
        "best of the column. Letters: two rows of a column differ exactly where they have no "
        "letter in common (p below 0.05 after Holm's correction for all pairs of the column)."
    )
    notes = [
        f"{escape(name)} was pre-trained on {escape(note)}."
        for name, note in sorted(table.notes.items())
    ]
    remarks = [
        *_supervision(table),
        *_unranked(table),
        *_weights(table),
        *_submitted(table),
        *_seen(table),
        *_cautions(table),
    ]
    sentences = [legend, *_of_training(table), *_of_validation(table), *_few_positives(table)]
    return [" ".join(sentences), *notes, *remarks]


def _supervision(table: Table) -> list[str]:
    """Say what the column of that name means, where there is one."""
    if not table.supervised:
        return []
    return ["Supervision: what an encoder learned from beside images and reports (-: nothing)."]


def _of_training(table: Table) -> list[str]:
    """Say what the intervals know of the noise of training a head."""
    if not KINDS.get(table.task.kind).trained:
        return []
    counts = {len(each.seeds) for column in table.columns for each in column.estimates.values()}
    if not counts:
        return []
    sentences = []
    if max(counts) > 1:
        sentences.append(
            "±: standard deviation over seeds; the intervals hold it, as the noise of training."
        )
    if min(counts) == 1:
        rows = "some rows have" if max(counts) > 1 else "there is"
        sentences.append(
            f"**The noise of training is not included where {rows} one seed: another seed may "
            "give another order.**"
        )
    return sentences


def _of_validation(table: Table) -> list[str]:
    """Say what a head that had a share of the labels was chosen on."""
    fewest = min(column.fraction for column in table.columns)
    if fewest == 1 or not KINDS.get(table.task.kind).trained:
        return []
    if any(record.get("setting:validation") == "fraction" for record in table.records):
        return ["Below 100% the validation labels are cut by the same share, by patient."]
    return [
        "Below 100% of labels, epochs, penalties and thresholds are still chosen on all "
        "validation labels."
    ]


def _few_positives(table: Table) -> list[str]:
    """Warn where intervals stand on few patients."""
    estimates = [each for column in table.columns for each in column.estimates.values()]
    fewest = min((each.spread.patient_freedom + 1 for each in estimates), default=math.inf)
    if fewest >= FEW_POSITIVE:
        return []
    if fewest < FEWEST_POSITIVE:
        return [
            f"**{table.metric} stands on fewer than {FEWEST_POSITIVE} patients with a positive: "
            "there is no interval.**"
        ]
    return [
        f"**Few positives: {table.metric} stands on about {fewest:.0f} patients, its intervals "
        "are rough.**"
    ]


def _unranked(table: Table) -> list[str]:
    """Return a sentence for each row that stands beside the ranked ones: what it is, and how far
    the best of them is from it."""
    return [
        f"{escape(name)} is not pre-trained: encoder and head are trained end to end on the labels "
        f"of this task. It is a row to compare with, no encoder among the others, and not ranked"
        f"{_distance(table.columns[-1], name)}."
        for name in table.unranked
    ]


def _distance(column: Column, name: str) -> str:
    """Return the difference of a row that is not ranked to the best that is, at the largest label
    fraction; "" where one of them has no value."""
    pairs = column.differences((name, column.best))
    if not pairs:
        return ""
    pair = pairs[0]
    return (
        f"; {escape(pair.one)} minus {escape(pair.other)}: {pair.value:+.3f} "
        f"[{pair.low:+.3f}, {pair.high:+.3f}], p {p_text(pair.p)} (this pair alone)"
    )


def _weights(table: Table) -> list[str]:
    """Return a sentence for each encoder whose weights did not all come from its file as they stand
    there."""
    lines = []
    for name in sorted(table.rows):
        record = table.encoder(name)
        coverage = table.coverage(name)
        if coverage < 1:
            missing = escape(", ".join(record.get("encoder:missing", [])))
            lines.append(
                f"{PARTLY} {escape(name)}: {_percent(coverage)} of its weights come from its file; "
                f"not in it: {missing}."
            )
        changed = record.get("encoder:adaptations") or []
        if changed:
            lines.append(f"{escape(name)}, changed to fit: {escape('; '.join(changed))}.")
    return lines


def _submitted(table: Table) -> list[str]:
    """Return a sentence on the rows whose predictions were made elsewhere."""
    names = [escape(name) for name in table.submitted]
    if not names:
        return []
    return [
        f"{ELSEWHERE} {in_words(names)}: predictions that were made elsewhere and read from a file "
        "(`place-bench score`). No model was run, and nothing is known of what it was trained on."
    ]


def _percent(share: float) -> str:
    """Return a share below one as a percentage that is never rounded up to 100%."""
    return f"{math.floor(1000 * share) / 10:g}%"


def _seen(table: Table) -> list[str]:
    """Return which rows were pre-trained on test images or patients, and of which nobody knows."""
    lines = []
    unknown = []
    for name in sorted(set(table.rows).difference(table.submitted)):
        record = table.newest(name)
        images = record.get("seen:images", 0)
        patients = record.get("seen:patients", 0)
        if images == UNKNOWN:
            unknown.append(escape(name))
        elif images or patients:
            seen = SeenCount(images, patients, table.test_images, table.test_patients)
            lines.append(seen.sentence(f"**{escape(name)}**"))
    if unknown:
        lines.append(
            "Nobody recorded which images these were pre-trained on, so whether they have seen the "
            f"test images is unknown: {', '.join(unknown)}."
        )
    return lines


def _cautions(table: Table) -> list[str]:
    """Return what the dataset says of its test images, once."""
    sentences = [text for record in table.records for text in record.get("cautions", [])]
    return [escape(text) for text in dict.fromkeys(sentences)]


def _differences(table: Table) -> list[str]:
    """Return the differences to the best row at the largest fraction; the CSV beside has all
    pairs."""
    column = table.columns[-1]
    to_best = [pair for pair in column.differences() if pair.one == column.best]
    if not to_best:
        return []
    head = (
        f"Paired differences to {escape(column.best)} at {share(column.fraction)} of labels "
        "[95% interval of this pair alone], p as it is and corrected by Holm for all pairs:"
    )
    titles = table_row(["against", "difference", "p", "p (Holm)"])
    rows = [table_row(_difference_cells(pair)) for pair in to_best]
    return ["", head, "", titles, table_rule(4), *rows]


def _others(table: Table) -> list[str]:
    """Return the kind's other metrics at the largest fraction, mean over seeds; `place-bench
    compare --metric` has intervals."""
    kind = KINDS.get(table.task.kind)
    fraction = table.columns[-1].fraction
    fields = {name for record in _at(table.records, fraction) for name in record}
    measured = [name for name in kind.metrics if f"metric:{name}" in fields]
    metrics = [name for name in measured if name != table.metric]
    if not metrics:
        return []
    hint = (
        f"intervals and differences: `place-bench compare {table.task.name} --metric {metrics[0]}`"
    )
    titles = [f"{name} ↓" if lower_is_better(kind, name) else name for name in metrics]
    arrow = "; ↓: lower is better" if titles != metrics else ""
    lines = ["", f"Other metrics at {share(fraction)} of labels ({hint}{arrow}):", ""]
    lines += [table_row(["encoder", *titles]), table_rule(len(titles) + 1)]
    for name in table.rows:
        records = _at(table.records_of(name), fraction)
        if records:
            values = [_mean(records, metric) for metric in metrics]
            lines.append(table_row([escape(name), *values]))
    return lines


def _at(records: Sequence[Record], fraction: float) -> list[Record]:
    """Return the results at one label fraction."""
    return [record for record in records if float(record["label_fraction"]) == fraction]


def _mean(records: Sequence[Record], metric: str) -> str:
    """Return the mean of a metric over results; undefined where it is in one of them."""
    values = [record.get(f"metric:{metric}") for record in records]
    defined = [value for value in values if value is not None and not math.isnan(value)]
    if len(defined) < len(values):
        return "undefined"
    return f"{sum(defined) / len(defined):.3f}"


def _difference_cells(pair: Difference) -> list[str]:
    value = f"{pair.value:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]"
    return [escape(pair.other), value, p_text(pair.p), p_text(pair.p_holm)]


def p_text(p: float) -> str:
    """Return a p-value as it is written: three digits, `<0.001` below, `-` where there is none."""
    if math.isnan(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def comparison(table: Table, among: Collection[str]) -> str:
    """Return every paired difference of the rows `among` (none named: of all), per label fraction,
    as Markdown."""
    lines = [*_head(table), ""]
    titles = table_row(["better", "against", "difference", "p", "p (Holm)"])
    for column in table.columns:
        pairs = column.differences(among)
        lines += [f"{share(column.fraction)} of labels:", ""]
        lines += [titles, table_rule(5)] if pairs else ["There are no two encoders to compare."]
        for pair in pairs:
            lines.append(table_row([escape(pair.one), *_difference_cells(pair)]))
        lines.append("")
    return "\n".join(lines)
