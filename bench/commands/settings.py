"""`place-bench settings`: what can be set, what it is under a protocol and profile, and what it
means. Imports no torch and no pandas."""

from __future__ import annotations

import dataclasses
import json
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.cells.encoders import trainer_of
from bench.contracts import (
    BACKBONES,
    KINDS,
    TASKS,
    BackboneSpec,
    GivesSettings,
    Profile,
    Recipe,
    TaskKind,
    TaskSpec,
)
from bench.core.errors import PlaceBenchError, SettingError, UnknownNameError
from bench.core.hashing import flatten
from bench.core.meanings import Explained, explain, shown
from bench.core.naming import split_name
from bench.core.registry import nearest
from bench.core.settings import override

Subject = Literal["task", "kind", "method", "encoder"]
_SET = "--set"
_IMPLIED = "follows from --set"
_BY_TASK = "the task"
_FEW = 3
"""Settings that a title names; of more it says how many."""
_LONG = 8
"""Values of a setting that are all shown."""


@dataclass(frozen=True)
class Asked:
    """What `place-bench settings NAME` was asked."""

    name: str
    protocol: str = "default"
    profile: Profile = "demo"
    changes: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One setting with its value and what gave it that; "" where it is the default.

    `by_task` has the values of a kind's tasks where these differ, and `value` is then None.
    """

    setting: Explained
    value: Any
    origin: str = ""
    by_task: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return the value as it is shown."""
        return "by task" if self.by_task else displayed(self.value)


@dataclass(frozen=True)
class Sheet:
    """All settings of a task, kind, method or encoder; `scope` stands before their names in
    `--set` of `place-bench run`."""

    asked: Asked
    subject: Subject
    title: str
    rows: tuple[Row, ...]
    scope: str = ""


@dataclass(frozen=True)
class _Layer:
    """The settings once something has had its say."""

    origin: str
    settings: Any


def sheet(asked: Asked) -> Sheet:
    """Return the settings of what is asked for; raise UnknownNameError with the nearest names, and
    SettingError for a setting that it does not have."""
    if asked.name in TASKS:
        return _of_task(asked)
    if asked.name in KINDS:
        return _of_kind(asked)
    if asked.name in BACKBONES or asked.name in BACKBONES.schemes():
        return _of_backbone(asked)
    names = [*TASKS.names(), *KINDS.names(), *BACKBONES.names(), *BACKBONES.schemes()]
    raise UnknownNameError(
        f"there is no task, kind of task, method or encoder '{asked.name}'.",
        f"{nearest(asked.name, names)}`place-bench settings` and `place-bench list tasks` say what "
        "there is.",
    )


# ------------------------------------------------------------------------------------------- heads
def _of_task(asked: Asked) -> Sheet:
    task = TASKS.get(asked.name)
    kind = KINDS.get(task.kind)
    rows = _rows(_head_layers(kind, task, asked), asked.changes)
    title = f"settings of {task.kind}, protocol {asked.protocol}, profile {asked.profile}"
    return Sheet(asked, "task", title, _with_choices(kind, rows))


def _of_kind(asked: Asked) -> Sheet:
    """Return the settings of a kind's protocol without what single tasks say of it."""
    kind = KINDS.get(asked.name)
    tasks = [spec for _, spec in TASKS.items() if spec.kind == asked.name]
    if not tasks:
        raise SettingError(
            f"no task is of kind '{asked.name}', and its settings depend on the task.",
            "Register a task of this kind.",
        )
    bare = [dataclasses.replace(task, presets={}) for task in tasks]
    rows = {task.name: _rows(_head_layers(kind, task, asked), asked.changes) for task in bare}
    title = f"settings of every such task, protocol {asked.protocol}, profile {asked.profile}"
    return Sheet(asked, "kind", title, _with_choices(kind, _merged(rows)))


def _with_choices(kind: TaskKind, rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return rows that say what may be named where a setting names a part."""
    named = {
        setting: f"one of {', '.join(registry.names())}"
        for setting, registry in kind.choices.items()
    }
    return tuple(
        dataclasses.replace(row, setting=dataclasses.replace(row.setting, allowed=allowed))
        if (allowed := named.get(row.setting.name))
        else row
        for row in rows
    )


def _head_layers(kind: TaskKind, task: TaskSpec, asked: Asked) -> list[_Layer]:
    protocol = asked.protocol
    profile = asked.profile
    changes = dict(_unscoped(asked, ""))
    protocols = kind.protocols()
    plain = "default" if "default" in protocols else protocols[0]
    of_task = dict(task.presets.get(protocol, {}))
    return [
        _Layer(_BY_TASK, kind.settings(task, plain, "paper", {})),
        _Layer(f"protocol {protocol}", kind.settings(task, protocol, "paper", {})),
        _Layer(f"profile {profile}", kind.settings(task, protocol, profile, {})),
        _Layer(f"{task.name} under {protocol}", kind.settings(task, protocol, profile, of_task)),
        _Layer(_SET, kind.settings(task, protocol, profile, {**of_task, **changes})),
    ]


def _merged(rows: Mapping[str, tuple[Row, ...]]) -> tuple[Row, ...]:
    """Return the rows that all tasks of a kind have, told apart where their values are."""
    merged = []
    for same in zip(*rows.values(), strict=True):
        values = dict(zip(rows, (row.value for row in same), strict=True))
        if all(value == same[0].value for value in values.values()):
            merged.append(same[0])
        else:
            merged.append(Row(same[0].setting, None, _BY_TASK, values))
    return tuple(merged)


# ---------------------------------------------------------------------------------------- encoders
def _of_backbone(asked: Asked) -> Sheet:
    schemes = BACKBONES.schemes()
    spec = schemes[asked.name].declare("NAME") if asked.name in schemes else None
    spec = spec or BACKBONES.get(asked.name)
    if asked.protocol != "default":
        raise SettingError(
            f"'{asked.name}' is no task, and --protocol {asked.protocol} is of tasks.",
            "Leave it out, or name a task.",
        )
    return _of_method(spec, asked) if spec.method else _of_encoder(spec, asked)


def _of_method(spec: BackboneSpec, asked: Asked) -> Sheet:
    trainer = trainer_of(spec)
    title = f"settings of its pre-training, profile {asked.profile}"
    if not isinstance(trainer, GivesSettings):
        return Sheet(asked, "method", title, (), "pretrain.")
    changes = _unscoped(asked, "pretrain.")
    plain = Recipe(split_name(spec.name)[1], asked.profile)
    changed = dataclasses.replace(plain, settings=dict(changes))
    layers = [
        _Layer(f"profile {asked.profile}", trainer.recipe_settings(plain)),
        _Layer(_SET, trainer.recipe_settings(changed)),
    ]
    return Sheet(asked, "method", title, _rows(layers, changes), "pretrain.")


def _of_encoder(spec: BackboneSpec, asked: Asked) -> Sheet:
    title = "settings of the encoder"
    if spec.settings_type is None:
        return Sheet(asked, "encoder", title, (), "backbone.")
    changes = _unscoped(asked, "backbone.")
    named = override(spec.settings_type(), spec.settings)
    layers = [_Layer("its name", named), _Layer(_SET, override(named, changes))]
    return Sheet(asked, "encoder", title, _rows(layers, changes), "backbone.")


def _unscoped(asked: Asked, scope: str) -> Mapping[str, str]:
    """Return `--set` without the scope that its keys have in `place-bench run`."""
    changes = {key.removeprefix(scope): value for key, value in asked.changes.items()}
    for key in changes:
        if "." in key:
            raise SettingError(
                f"--set {key} is no setting of '{asked.name}'.",
                "Name the method (pretrain.key) or the encoder (backbone.key) itself.",
            )
    return changes


def _rows(layers: Sequence[_Layer], changes: Mapping[str, str]) -> tuple[Row, ...]:
    """Return every setting with its last value and what gave it that."""
    last = layers[-1].settings
    rows = []
    for setting in explain(type(last)):
        before = setting.default
        origin = ""
        for layer in layers:
            # a part that --set or a protocol names has settings which the layers before lack
            value = getattr(layer.settings, setting.name, before)
            if value != before:
                origin = layer.origin
            before = value
        if origin == _SET and setting.name not in changes:
            origin = _IMPLIED
        rows.append(Row(setting, before, origin))
    return tuple(rows)


# ----------------------------------------------------------------------------------------- showing
def settings_command(asked: Asked, *, as_json: bool = False, markdown: bool = False) -> None:
    """Print the settings of what is asked for, or what may be asked for; with `markdown` the page
    of all of them."""
    if markdown:
        from bench.commands.settings_page import page

        print(page(), end="")
        return
    if not asked.name:
        for line in names_shown():
            print(line)
        return
    settings = sheet(asked)
    if as_json:
        print(json.dumps(record(settings), indent=2, ensure_ascii=False))
        return
    width = max(40, shutil.get_terminal_size((80, 24)).columns)
    for line in lines(settings, width):
        print(line)


def record(sheet: Sheet) -> dict[str, Any]:
    """Return a sheet with JSON values."""
    asked = sheet.asked
    of_task = sheet.subject in ("task", "kind")
    return {
        "name": asked.name,
        "subject": sheet.subject,
        "protocol": asked.protocol if of_task else None,
        "profile": asked.profile if sheet.subject != "encoder" else None,
        "scope": sheet.scope,
        "settings": [
            {
                **flatten(row.setting),
                "value": list(row.value) if isinstance(row.value, tuple) else row.value,
                "changed_by": row.origin,
                **({"by_task": dict(row.by_task)} if row.by_task else {}),
            }
            for row in sheet.rows
        ],
    }


def lines(sheet: Sheet, width: int) -> Iterator[str]:
    """Yield what a person reads: a title, then every setting with its value, meaning and range."""
    yield from textwrap.wrap(f"{sheet.asked.name}: {sheet.title}.", width)
    if not sheet.rows:
        yield "It declares none."
        return
    yield from textwrap.wrap(_changed(sheet.rows), width)
    yield from textwrap.wrap(f"Change one with {_how_to_set(sheet)}.", width)
    for row in sheet.rows:
        yield ""
        yield from _entry(row, width)


def _entry(row: Row, width: int) -> Iterator[str]:
    setting = row.setting
    notes = [row.origin] if row.origin and not row.by_task else []
    if row.by_task or row.value != setting.default:
        notes.append(f"default {displayed(setting.default)}")
    note = f"  ({'; '.join(notes)})" if notes else ""
    yield from textwrap.wrap(
        f"{setting.name} = {row.text}{note}",
        width,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    for paragraph in (setting.meaning, f"Values: {setting.allowed}."):
        yield from textwrap.wrap(
            paragraph,
            width,
            initial_indent="    ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )


def _changed(rows: Sequence[Row]) -> str:
    """Return which protocol, profile or task changed what, as a sentence."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row.origin:
            names.setdefault(row.origin, []).append(row.setting.name)
    if not names:
        return "All have their defaults."
    causes = []
    for origin, changed in names.items():
        count = f"{len(changed)} settings"
        causes.append(f"{origin} ({', '.join(changed) if len(changed) <= _FEW else count})")
    return f"Changed from the defaults by: {', '.join(causes)}."


def _how_to_set(sheet: Sheet) -> str:
    asked = sheet.asked
    profile = "" if asked.profile == "demo" else f" --profile {asked.profile}"
    if sheet.subject == "method":
        return f"`place-bench pretrain {asked.name}{profile} --set KEY=VALUE`"
    if sheet.subject == "encoder":
        return "`--set backbone.KEY=VALUE`, or in its name, NAME?KEY=VALUE"
    protocol = "" if asked.protocol == "default" else f" --protocol {asked.protocol}"
    return f"`place-bench run {asked.name}{protocol}{profile} --set KEY=VALUE`"


def displayed(value: Any) -> str:
    """Return a value for people: "nothing" where it is empty, the ends of a long list."""
    if value in ("", ()):
        return "nothing"
    if not isinstance(value, tuple):
        return shown(value)
    words = [shown(entry) for entry in value]
    if len(words) > _LONG:
        return f"{words[0]}, {words[1]}, ..., {words[-1]} ({len(words)} values)"
    return ", ".join(words)


def settings_of_scheme(scheme: str) -> type[Any] | None:
    """Return the settings class of the encoders `scheme:NAME`; None where they declare none, or
    cannot say it without a real name."""
    try:
        return BACKBONES.schemes()[scheme].declare("NAME").settings_type
    except PlaceBenchError:
        return None


def names_shown() -> Iterable[str]:
    """Yield what may be named, when nothing is."""
    methods = [name for name, spec in BACKBONES.items() if spec.method]
    encoders = [name for name, spec in BACKBONES.items() if spec.settings_type and not spec.method]
    listed = {
        "kinds of task": KINDS.names(),
        "pre-training methods": methods,
        "encoders": [*encoders, *filter(settings_of_scheme, BACKBONES.schemes())],
    }
    yield "Name one of these, or a task of `place-bench list tasks`:"
    for title, names in listed.items():
        yield from textwrap.wrap(
            f"{title}: {', '.join(names)}", 80, initial_indent="  ", subsequent_indent="    "
        )
