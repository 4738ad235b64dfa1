"""docs/settings.md: the settings of all kinds, methods and encoders as Markdown tables. Imports no
torch and no pandas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.cells.frame import ceilings, changeable, end_to_end_settings
from bench.commands.settings import Asked, Row, displayed, settings_of_scheme, sheet
from bench.contracts import BACKBONES, KINDS, TASKS, Profile, TaskKind
from bench.core.choices import settings_beside
from bench.core.errors import NotApplicableError
from bench.core.meanings import explain

_HEAD = """# Settings

Everything that `--set KEY=VALUE` can change: for the heads of each
[task kind](glossary.md#task-kind), for pre-training methods and for encoders. `make docs-settings`
writes this page from the source. For one task, method or encoder:

```
place-bench settings siim_seg --protocol mgca --profile paper
place-bench settings place
```

The first value is that of the [profile](glossary.md#profile) `paper`. Where the profile `demo` has
another one, it follows in brackets. The columns of a head are its
[protocols](glossary.md#protocol); an empty cell means the same value as in the first column.
*By task* means that the task decides: its labels, the section of the report, the number of images.
Some tasks change further settings under a published protocol, as its authors did for that dataset;
`place-bench settings TASK --protocol P` shows these.
"""


def page() -> str:
    """Return the whole page."""
    blocks = [_HEAD, "## Heads\n\n`place-bench run TASK --set KEY=VALUE`\n"]
    for name, kind in KINDS.items():
        if any(True for _ in _tasks_of(name)):
            blocks.append(f"### {name}\n\n{_table(*_kind(name, kind.protocols()))}")
            blocks += _choices(kind)
    blocks += _ceilings()
    blocks.append(
        "## Pre-training\n\n`place-bench pretrain METHOD --set KEY=VALUE`; in `place-bench run`, "
        "where an encoder of the demo profile is trained on the way, `--set pretrain.KEY=VALUE`.\n"
    )
    blocks += _methods()
    blocks.append(
        "## Encoders\n\n`place-bench run TASK --backbones NAME --set backbone.KEY=VALUE`, or in "
        "the name, `'NAME?KEY=VALUE&KEY=VALUE'`.\n"
    )
    blocks += _encoders()
    return "\n".join(blocks)


# ------------------------------------------------------------------------------------------- heads
def _tasks_of(kind: str) -> Iterator[str]:
    return (name for name, task in TASKS.items() if task.kind == kind)


def _kind(name: str, protocols: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the lines of a kind's table, a column for each protocol."""
    columns = {protocol: _values(name, protocol) for protocol in protocols}
    first, *others = protocols
    rows = sheet(Asked(name, first, "paper")).rows
    lines = []
    for row in rows:
        key = row.setting.name
        usual = columns[first][key]
        differing = [columns[other][key] for other in others]
        cells = [usual, *("" if cell == usual else cell for cell in differing)]
        lines.append([f"`{key}`", *cells, _explained(row)])
    return ["setting", *protocols, "meaning"], lines


def _choices(kind: TaskKind) -> Iterator[str]:
    """Yield a table of the settings that a part of a kind has beside those of the kind."""
    for setting, registry in kind.choices.items():
        for name, part in registry.items():
            beside = settings_beside(registry, name)
            fields = [field for field in explain(part.settings) if field.name in beside]
            lines = [
                [f"`{field.name}`", displayed(field.default), _explained(Row(field, field.default))]
                for field in fields
            ]
            if lines:
                table = _table(["setting", "default", "meaning"], lines)
                yield f"With `{setting}={name}` ({part.title}), beside these:\n\n{table}"


def _values(name: str, protocol: str = "default") -> dict[str, str]:
    """Return every setting's value in the paper profile, and in the demo profile where it
    differs."""
    paper, demo = (sheet(Asked(name, protocol, profile)).rows for profile in ("paper", "demo"))
    return {
        row.setting.name: _both(row.text, other.text)
        for row, other in zip(paper, demo, strict=True)
    }


def _both(paper: str, demo: str) -> str:
    return paper if paper == demo else f"{paper} ({demo})"


# ----------------------------------------------------------------------------------- the ceiling
def _ceilings() -> list[str]:
    """Return, for every row whose encoder is trained with the head, a table of what can be changed
    in it alone, a column for each kind."""
    recipes = {
        name: recipe
        for name, kind in KINDS.items()
        if any(True for _ in _tasks_of(name)) and (recipe := _recipe(name, kind))
    }
    keys = sorted(set().union(*recipes.values()))
    lines = [[f"`{key}`", *(recipe.get(key, "-") for recipe in recipes.values())] for key in keys]
    table = _table(["setting", *recipes], lines)
    return [
        f"### {name}\n\n`place-bench run TASK --set {name}.KEY=VALUE` changes the row `{name}` "
        "alone, which stands under the protocol `default` ([frame.md](frame.md#the-ceiling)). The "
        "settings are those of the kinds above. An empty cell means the value of the whole table; "
        "a dash, that the kind lacks the setting or that all rows share it.\n\n"
        f"{table}"
        for name in ceilings()
    ]


def _recipe(name: str, kind: TaskKind) -> dict[str, str]:
    """Return the settings that such a row of a kind can have alone, "" where they are those of the
    table; none for a kind that has no such row."""
    try:
        paper, demo = (_row_and_table(name, kind, profile) for profile in ("paper", "demo"))
    except NotApplicableError:
        return {}
    recipe = {}
    for key in sorted({*changeable(*paper), *changeable(*demo)}):
        same = all(getattr(row, key) == getattr(table, key) for row, table in (paper, demo))
        values = [displayed(getattr(row, key)) for row, _ in (paper, demo)]
        recipe[key] = "" if same else _both(*values)
    return recipe


def _row_and_table(name: str, kind: TaskKind, profile: Profile) -> tuple[Any, Any]:
    """Return the settings of such a row and of its table."""
    task = TASKS.get(next(_tasks_of(name)))
    table = kind.settings(task, "default", profile, {})
    return end_to_end_settings(kind, table, "default", profile, {}), table


# ---------------------------------------------------------------------------------------- encoders
def _methods() -> list[str]:
    """Return a table of what all methods have, and one of what each has beside."""
    names = [name for name, spec in BACKBONES.items() if spec.method]
    sheets = {name: sheet(Asked(name, profile="paper")).rows for name in names}
    values = {name: _values(name) for name in names}
    if not names:
        return []
    shared = set.intersection(*map(set, values.values()))
    base = min(names, key=lambda name: len(values[name]))
    every = [row for row in sheets[base] if row.setting.name in shared]
    lines = [
        [
            f"`{row.setting.name}`",
            values[base][row.setting.name],
            _otherwise(row.setting.name, base, values),
            _explained(row),
        ]
        for row in every
    ]
    blocks = [f"### Every method\n\n{_table(['setting', 'value', 'otherwise', 'meaning'], lines)}"]
    for name in names:
        lines = [
            [f"`{row.setting.name}`", values[name][row.setting.name], _explained(row)]
            for row in sheets[name]
            if row.setting.name not in shared
        ]
        table = _table(["setting", "value", "meaning"], lines) if lines else "Nothing beside.\n"
        blocks.append(f"### {name}\n\n{table}")
    return blocks


def _otherwise(key: str, base: str, values: Mapping[str, Mapping[str, str]]) -> str:
    """Return the methods whose value of a shared setting is another one."""
    usual = values[base][key]
    return ", ".join(
        f"{name}: {settings[key]}" for name, settings in values.items() if settings[key] != usual
    )


def _encoders() -> list[str]:
    """Return a table for every settings class, under the names of the encoders that have it."""
    named: dict[type[Any], list[str]] = {}
    for name, spec in BACKBONES.items():
        if spec.settings_type and not spec.method:
            named.setdefault(spec.settings_type, []).append(f"`{name}`")
    for scheme in BACKBONES.schemes():
        settings_type = settings_of_scheme(scheme)
        if settings_type:
            named.setdefault(settings_type, []).append(f"`{scheme}:NAME`")
    blocks = []
    for settings_type, names in named.items():
        lines = [
            [f"`{field.name}`", displayed(field.default), _explained(Row(field, field.default))]
            for field in explain(settings_type)
        ]
        blocks.append(
            f"### {', '.join(names)}\n\n{_table(['setting', 'default', 'meaning'], lines)}"
        )
    return blocks


# ------------------------------------------------------------------------------------------ tables
def _explained(row: Row) -> str:
    return f"{row.setting.meaning} *Values: {row.setting.allowed}.*".strip()


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    text = ""
    for row in rows:
        cells = [cell.replace("|", r"\|") for cell in row]
        text += f"| {' | '.join(cells)} |\n"
    return text
