"""`place-bench settings`: what can be set, what gave it its value, what it means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bench.cells.frame import end_to_end_settings
from bench.cells.request import RunRequest, head_settings
from bench.commands.settings import Asked, Row, lines, names_shown, record, settings_command, sheet
from bench.contracts import (
    BACKBONES,
    KINDS,
    TASKS,
    BackboneRequest,
    BackboneSpec,
    Profile,
    TaskSpec,
)
from bench.core.errors import SettingError, UnknownNameError
from bench.core.meanings import shown
from bench.core.settings import CheckedSettings
from tests.support.commands import place_bench

SCHEMES = ("file", "hf", "open_clip", "timm", "torchxrayvision")
KIND_NAMES = [name for name, kind in KINDS.items() if type(kind).__module__.startswith("tasks.")]
METHODS = ["convirt", "egma", "gloria", "mgca", "mlip_reimpl", "place"]
ENCODERS = [
    name
    for name, spec in BACKBONES.items()
    if spec.settings_type and spec.settings_type.__module__.startswith("backbones.")
]


def rows(name: str, **asked: Any) -> dict[str, Row]:
    """Return the settings of a name by their names."""
    return {row.setting.name: row for row in sheet(Asked(name, **asked)).rows}


@pytest.fixture
def tuned() -> Iterator[TaskSpec]:
    """A task that changes one setting under MGCA's protocol."""
    task = replace(TASKS.get("siim_seg"), name="tuned_seg", presets={"mgca": {"batch_size": "3"}})
    TASKS.add("tuned_seg", task)
    yield task
    del TASKS._items["tuned_seg"]


@pytest.mark.parametrize("profile", ["demo", "paper"])
@pytest.mark.parametrize("name", TASKS.names())
def test_values_are_those_of_a_run(name: str, profile: Profile) -> None:
    task = TASKS.get(name)
    for protocol in KINDS.get(task.kind).protocols():
        request = RunRequest(tasks=(name,), protocol=protocol, profile=profile)
        used = head_settings(task, request)
        for key, row in rows(name, protocol=protocol, profile=profile).items():
            assert row.value == getattr(used, key), (name, protocol, key)


@pytest.mark.parametrize("name", [*KIND_NAMES, *METHODS, *ENCODERS, *SCHEMES])
def test_every_kind_method_and_encoder_explains_all_of_its_settings(name: str) -> None:
    silent = [row.setting.name for row in sheet(Asked(name)).rows if not row.setting.meaning]
    assert sheet(Asked(name)).rows and not silent


def test_what_changed_a_value_is_named(tuned: TaskSpec) -> None:
    own = rows("tuned_seg", protocol="mgca", changes={"lr": "0.25"})
    assert (own["batch_size"].value, own["batch_size"].origin) == (3, "tuned_seg under mgca")
    assert (own["lr"].value, own["lr"].origin) == (0.25, "--set")
    assert (own["epochs"].value, own["epochs"].origin) == (5, "profile demo")
    assert (own["monitor"].value, own["monitor"].origin) == ("loss", "protocol mgca")
    assert own["focal_weight"].origin == ""
    assert rows("siim_cls")["labels"].origin == "the task"


def test_what_follows_from_a_change_is_told_apart_from_it() -> None:
    own = rows("siim_cls", changes={"head": "finetune"}, profile="paper")
    assert (own["head"].origin, own["lr"].origin) == ("--set", "follows from --set")
    assert own["lr"].value == 1e-4


def test_settings_that_a_change_brings_along_are_explained() -> None:
    listed = rows("chexpert5x200_zs", changes={"inference": "multi_resolution", "crops": "7"})
    assert (listed["inference"].value, listed["inference"].origin) == ("multi_resolution", "--set")
    assert (listed["crops"].value, listed["crops"].origin) == (7, "--set")
    assert listed["crop_min"].origin == ""


def test_a_kind_has_the_values_of_its_tasks_where_they_differ() -> None:
    own = rows("classification", profile="paper")
    assert own["mode"].text == "by task"
    assert own["mode"].by_task["covidx_cls"] == "multiclass"
    assert own["mode"].by_task["siim_cls"] == "binary"
    assert (own["lr"].text, own["lr"].by_task) == ("0.0005", {})


def test_a_method_has_the_values_of_its_training() -> None:
    demo = rows("place", changes={"pretrain.tau2": "0.5"})
    assert (demo["vpoe_width"].value, demo["vpoe_width"].origin) == (96, "profile demo")
    assert (demo["tau2"].value, demo["tau2"].origin) == (0.5, "--set")
    paper = rows("mgca", profile="paper")
    assert (paper["lr"].value, paper["lr"].origin) == (2e-5, "")
    assert paper["text_pooling"].value == "cls"


def test_an_encoder_has_the_values_of_its_name() -> None:
    own = rows("timm:resnet50?size=320", changes={"fit": "squash"})
    assert (own["size"].value, own["size"].origin) == (320, "its name")
    assert (own["fit"].value, own["fit"].origin) == ("squash", "--set")
    assert rows("random") == {}


def test_every_line_fits_eighty_columns_and_a_title_says_who_changed_what(tuned: TaskSpec) -> None:
    shown = list(lines(sheet(Asked("tuned_seg", protocol="mgca")), 80))
    assert max(map(len, shown)) <= 80
    title = " ".join(shown[: shown.index("")])
    assert "settings of segmentation, protocol mgca, profile demo" in title
    assert "tuned_seg under mgca (batch_size)" in title and "profile demo (6 settings)" in title
    assert "batch_size = 3  (tuned_seg under mgca; default 16)" in shown


def test_long_lists_are_shown_by_their_ends() -> None:
    text = rows("siim_cls")["penalties"].text
    assert text == "1e-05, 3.16228e-05, ..., 1000 (17 values)"


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (Asked("siim_sge"), UnknownNameError, "'siim_sge'. Did you mean siim_seg"),
        (Asked("segmentatoin"), UnknownNameError, "Did you mean segmentation"),
        (Asked("zzzzzz"), UnknownNameError, "'zzzzzz'. `place-bench settings`"),
        (Asked("siim_seg", "mcga"), UnknownNameError, "Did you mean mgca"),
        (Asked("place", "mgca"), SettingError, "'place' is no task, and --protocol mgca"),
        (Asked("siim_seg", changes={"lrr": "1"}), SettingError, "Did you mean lr"),
        (Asked("place", changes={"tua2": "1"}), SettingError, "Did you mean tau2"),
        (Asked("siim_seg", changes={"pretrain.lr": "1"}), SettingError, "no setting of 'siim_seg'"),
        (Asked("timm", changes={"size": "1"}), SettingError, "'size' is 1"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    asked: Asked, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sheet(asked)


def test_json_has_everything() -> None:
    found = record(sheet(Asked("siim_seg", "mgca", "paper")))
    assert (found["subject"], found["protocol"], found["profile"]) == ("task", "mgca", "paper")
    own = {each["name"]: each for each in found["settings"]}
    assert own["setr_channels"]["value"] == [512, 256, 128, 64]
    lr = own["lr"]
    assert (lr["value"], lr["default"], lr["changed_by"]) == (5e-4, 5e-4, "")
    assert lr["meaning"] and lr["allowed"] == "a number, above 0 and at most 10"
    assert json.dumps(found)


def test_without_a_name_it_says_what_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    settings_command(Asked(""))
    shown = capsys.readouterr().out
    assert shown.splitlines() == list(names_shown())
    words = shown.replace(",", " ").split()
    assert {*KIND_NAMES, *METHODS, *ENCODERS, *SCHEMES} <= set(words)
    assert "baseline" not in words


@dataclass(frozen=True)
class Untold(CheckedSettings):
    width: int = 3


def test_a_plug_ins_setting_without_a_meaning_is_shown() -> None:
    def build(request: BackboneRequest) -> Any:
        raise AssertionError("not asked for")

    BACKBONES.add("untold", BackboneSpec("untold", "Untold", build, settings_type=Untold))
    try:
        shown = list(lines(sheet(Asked("untold")), 80))
    finally:
        del BACKBONES._items["untold"]
    assert shown[-2:] == ["width = 3", "    Values: a whole number."]


def test_the_page_is_what_the_source_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "settings.md").read_text(encoding="utf-8")
    made = place_bench("settings", "--markdown", cwd=tmp_path).stdout
    assert made == page, "docs/settings.md is not current: make docs-settings"


def test_the_page_has_every_setting_in_a_table_of_its_own_width() -> None:
    page = (Path(__file__).parents[3] / "docs" / "settings.md").read_text(encoding="utf-8")
    tables = [block for block in page.split("\n\n") if block.startswith("|")]
    for table in tables:
        assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1
    for name in (*KIND_NAMES, *METHODS, *SCHEMES):
        assert all(f"| `{key}` |" in page for key in rows(name))


@pytest.mark.parametrize(
    ("kind", "task"),
    [("classification", "siim_cls"), ("segmentation", "siim_seg"), ("report_generation", "iu_rg")],
)
def test_the_page_has_what_the_row_trained_on_labels_can_have_alone(kind: str, task: str) -> None:
    """What has a cell can be set for that row; what has a dash is refused there."""
    page = (Path(__file__).parents[3] / "docs" / "settings.md").read_text(encoding="utf-8")
    section = page.partition("### supervised\n")[2].partition("\n## ")[0]
    shown_lines = [line for line in section.splitlines() if line.startswith("|")]
    table = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in shown_lines]
    column = table[0].index(kind)
    settings = KINDS.get(kind).settings(TASKS.get(task), "default", "demo", {})
    recipe = end_to_end_settings(KINDS.get(kind), settings, "default", "demo", {})
    refused = set()
    for key, *cells in table[2:]:
        cell = cells[column - 1]
        change = {key: shown(getattr(recipe, key, 1))}
        if cell == "-":
            refused.add(key)
            with pytest.raises(SettingError, match="of the whole table|unknown setting"):
                end_to_end_settings(KINDS.get(kind), settings, "default", "demo", change)
        else:
            end_to_end_settings(KINDS.get(kind), settings, "default", "demo", change)
            value = shown(getattr(recipe, key))
            assert cell in ("", value) or cell.endswith(f"({value})")
    assert refused and "lr" not in refused
