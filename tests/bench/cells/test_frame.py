"""What frames a table: its rows, their settings and seeds, and what of it stands in a key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.cells.frame import end_to_end_settings, framing, recipe_of
from bench.cells.prepare import EncoderRef, TaskPlan, make_cell, plan_task
from bench.cells.request import (
    RunRequest,
    asked_of,
    check_request,
    check_rows,
    head_settings,
    left_out,
    row_settings,
    seeds_of,
    table_rows,
)
from bench.cells.results import ResultStore
from bench.cells.seen import seen_in
from bench.commands.run import run_command
from bench.contracts import BACKBONES, KINDS, TASKS, Profile
from bench.core.errors import NotApplicableError, SettingError
from bench.core.progress import Silent
from tests.tasks.datasets.fakes import write_siim

SEG, CLS, ZS = (TASKS.get(name) for name in ("siim_seg", "siim_cls", "chexpert_zs"))
FRAMED = RunRequest(("siim_seg", "siim_cls"), ("convirt",), frame=True)
SHORT = {"epochs": "1", "steps_per_epoch": "1", "batch_size": "2"}


@pytest.fixture(autouse=True)
def _no_outsider(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the weights of photographs."""
    for name, spec in BACKBONES.items():
        if spec.frame == "outsider":
            monkeypatch.setitem(
                BACKBONES._items, name, replace(spec, weights_file=lambda request: None)
            )


def test_every_table_is_framed_unless_it_is_not_asked_for() -> None:
    assert table_rows(SEG, FRAMED) == ["convirt", "random", "supervised", "baseline:prior_mask"]
    assert table_rows(CLS, FRAMED) == ["convirt", "random", "supervised"]
    assert table_rows(CLS, replace(FRAMED, frame=False)) == ["convirt"]
    named = replace(FRAMED, backbones=("supervised", "random"))
    assert table_rows(CLS, named) == ["supervised", "random"]


def test_an_outsider_frames_tables_where_its_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights.pth"
    spec = replace(BACKBONES.get("imagenet_lite"), weights_file=lambda request: weights)
    monkeypatch.setitem(BACKBONES._items, "imagenet_lite", spec)
    assert "imagenet_lite" not in framing()
    weights.touch()
    assert "imagenet_lite" in framing() and "imagenet_lite" in table_rows(CLS, FRAMED)
    with_vit = asked_of("imagenet_lite", replace(FRAMED, architecture="vit"))
    assert with_vit.architecture == "", "it has its own"
    assert asked_of("random", replace(FRAMED, architecture="vit")).architecture == "vit"


def test_a_kind_that_trains_nothing_has_no_ceiling_and_says_nothing_of_it() -> None:
    of_texts = replace(FRAMED, tasks=("chexpert_zs",))
    assert table_rows(ZS, of_texts) == ["convirt", "baseline:random_order"]
    assert table_rows(ZS, replace(of_texts, backbones=("random",))) == [], "none that reads texts"
    assert left_out(ZS, replace(FRAMED, tasks=("chexpert_zs",))) == []
    (reason,) = left_out(ZS, RunRequest(("chexpert_zs",), ("supervised", "convirt")))
    assert "'chexpert_zs' has no row supervised: zero_shot trains nothing" in reason


@pytest.mark.parametrize(
    ("task", "change"),
    [
        ("siim_cls", {"head": "finetune"}),
        ("siim_seg", {"frozen": "false", "cache_features": "false"}),
        ("vindr_det", {"frozen": "false", "cache_features": "false"}),
        ("iu_rg", {"encoder": "finetune"}),
    ],
)
def test_where_every_encoder_is_trained_random_is_that_row(
    task: str, change: dict[str, str]
) -> None:
    spec = TASKS.get(task)
    request = RunRequest((task,), ("random",), frame=True)
    assert "supervised" in table_rows(spec, request)
    changed = replace(request, settings=change)
    assert "supervised" not in table_rows(spec, changed) and "random" in table_rows(spec, changed)
    with pytest.raises(NotApplicableError, match="trains every encoder, and `random` is"):
        row_settings(spec, changed)


def test_a_published_protocol_has_no_recipe_of_ours() -> None:
    request = replace(FRAMED, protocol="mgca")
    assert table_rows(SEG, request) == ["convirt", "random", "baseline:prior_mask"]
    (reason,) = left_out(SEG, replace(request, backbones=("supervised",)))
    assert "protocol mgca prescribes how everything is trained" in reason


@pytest.mark.parametrize("task", ["siim_cls", "siim_seg", "vindr_det", "iu_rg"])
@pytest.mark.parametrize("profile", ["demo", "paper"])
def test_a_recipe_trains_the_encoder_and_changes_nothing_that_is_read_or_scored(
    task: str, profile: Profile
) -> None:
    spec = TASKS.get(task)
    request = replace(FRAMED, tasks=(task,), profile=profile)
    of_table, own = head_settings(spec, request), row_settings(spec, request)
    recipe = recipe_of(own, of_table)
    assert (
        recipe.get("head") == "finetune"
        or recipe.get("encoder") == "finetune"
        or (recipe["frozen"] is False and recipe["batchnorm"] == "train")
    )
    of_data = {"image_size", "labels", "uncertain", "blank", "views", "mode", "shots", "text"}
    of_scores = {"threshold", "min_area", "calibration", "subgroups", "reference", "labeler"}
    assert not (of_data | of_scores) & recipe.keys()


def test_settings_of_the_row_are_its_own() -> None:
    changed = replace(FRAMED, settings={"supervised.lr": "0.5", "lr": "0.25"})
    check_request(changed)
    check_rows(changed)
    for task in (SEG, CLS):
        assert row_settings(task, changed).lr == 0.5 and head_settings(task, changed).lr == 0.25
    plan_of = lambda key: replace(FRAMED, settings={f"supervised.{key}": "1"})  # noqa: E731
    with pytest.raises(SettingError, match="setting 'image_size' is one of the whole table"):
        row_settings(CLS, plan_of("image_size"))
    with pytest.raises(SettingError, match="unknown setting 'epoch'.*Did you mean epochs"):
        row_settings(CLS, plan_of("epoch"))
    nowhere = replace(plan_of("epochs"), frame=False)
    with pytest.raises(SettingError, match="supervised.* changes nothing: no table of this run"):
        check_rows(nowhere)


def test_settings_of_named_encoders_are_not_those_of_the_frame() -> None:
    request = replace(FRAMED, settings={"backbone.weights": "x", "supervised.lr": "1", "lr": "2"})
    assert asked_of("convirt", request) == request
    assert set(asked_of("random", request).settings) == {"supervised.lr", "lr"}


def test_a_row_runs_once_where_no_seed_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(FRAMED, seeds=(4, 5))
    assert seeds_of("convirt", CLS, request) == (4, 5)
    assert seeds_of("convirt", ZS, request) == (4,)
    seeded = replace(BACKBONES.get("convirt"), seeded=True)
    monkeypatch.setitem(BACKBONES._items, "convirt", seeded)
    assert seeds_of("convirt", ZS, request) == (4, 5), "its weights are made from the seed"


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[TaskPlan, RunRequest]:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    write_siim(tmp_path / "data" / "siim", images=36)
    request = RunRequest(
        ("siim_cls",),
        ("random",),
        fractions=(1.0,),
        settings={f"supervised.{key}": value for key, value in SHORT.items()},
        data_root=tmp_path / "data",
        results=tmp_path / "results",
        device="cpu",
        frame=True,
        workers=1,
    )
    return plan_task("siim_cls", request, Silent()), request


def test_the_recipe_decides_the_key_of_its_row_alone(plan: tuple[TaskPlan, RunRequest]) -> None:
    of_task, request = plan
    encoder = EncoderRef("resnet_demo", untrained=True)

    def keys(of_plan: TaskPlan) -> list[str]:
        return [
            make_cell(of_plan, BACKBONES.get(name), encoder, 1.0, 0, request).key
            for name in ("random", "supervised")
        ]

    other = replace(of_task, end_to_end=replace(of_task.end_to_end, lr=0.125))
    (random, supervised), (same, changed) = keys(of_task), keys(other)
    assert random == same and supervised != changed
    assert seen_in(of_task, encoder) is not None


def test_the_row_is_trained_by_its_recipe_and_stands_unranked_in_the_same_table(
    plan: tuple[TaskPlan, RunRequest],
) -> None:
    _, request = plan
    assert run_command(request, dry_run=False) == 0
    records = {
        record["label"]: record for record in ResultStore(request.results).records().values()
    }
    random, supervised = records["random"], records["supervised"]
    assert (random["fit:head"], supervised["fit:head"]) == ("logistic", "finetune")
    assert supervised["recipe:steps_per_epoch"] == 1 and supervised["fit:epochs"] == 1
    assert supervised["settings_id"] == random["settings_id"]
    assert not [name for name in random if name.startswith("recipe:")]
    page = (request.results / "leaderboards" / "siim_cls.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:3]
    assert rows[0].startswith("| random (resnet_demo) |")
    assert rows[1].startswith("| supervised (resnet_demo) (not ranked) |")


def test_a_kind_without_a_recipe_says_so() -> None:
    kind = KINDS.get("retrieval")
    task = TASKS.get("chexpert5x200_ret")
    settings = head_settings(task, RunRequest((task.name,)))
    with pytest.raises(NotApplicableError, match="retrieval trains nothing"):
        end_to_end_settings(kind, settings, "default", "demo", {})
