"""What settings say about a training is what the trainer carries out."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bench.core.settings import override
from bench.training.plan import TrainPlan
from bench.training.settings import TrainingSettings
from tests.support.settings import SETTINGS

TRAINED = {name: cls for name, cls in SETTINGS.items() if issubclass(cls, TrainingSettings)}
OTHER = {
    "accumulate": 3,
    "amp": "bf16",
    "amsgrad": True,
    "betas": (0.25, 0.5),
    "clip": 3.5,
    "ema": 0.75,
    "epochs": 7,
    "lr": 0.0625,
    "min_lr": 0.03125,
    "optimizer": "adam",
    "patience": 4,
    "schedule": "linear",
    "steps_per_epoch": 9,
    "val_every": 2,
    "warmup": 0.375,
    "warmup_from_zero": True,
    "weight_decay": 0.125,
}
"""A value for every setting that a plan has too; none is a default of either."""


def planned(cls: type[TrainingSettings]) -> dict[str, Any]:
    names = {each.name for each in dataclasses.fields(TrainPlan)} - {"mode", "monitor", "seed"}
    return {each.name: OTHER[each.name] for each in dataclasses.fields(cls) if each.name in names}


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_every_setting_that_a_plan_has_reaches_it(name: str) -> None:
    wanted = planned(TRAINED[name])
    plan = override(TRAINED[name](), wanted).plan(seed=5)
    assert {key: getattr(plan, key) for key in wanted} == wanted
    assert plan.seed == 5


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_what_settings_leave_open_is_the_trainers_default(name: str) -> None:
    wanted = {*planned(TRAINED[name]), "mode", "monitor", "seed", "steps_per_epoch"}
    plan, usual = TRAINED[name]().plan(seed=0), TrainPlan()
    left = {each.name for each in dataclasses.fields(TrainPlan)} - wanted
    assert {key: getattr(plan, key) for key in left} == {key: getattr(usual, key) for key in left}


@pytest.mark.parametrize(
    ("kind", "monitor", "watched", "mode"),
    [
        ("classification", "loss", "loss", "min"),
        ("classification", "auroc", "auroc", "max"),
        ("classification", "none", None, "max"),
        ("segmentation", "loss", "loss", "min"),
        ("segmentation", "dice_global", "dice_global", "max"),
        ("detection", "froc", "froc", "max"),
        ("report_generation", "bleu4", "bleu4", "max"),
        ("report_generation", "loss", "loss", "min"),
        ("report_generation", "none", None, "max"),
    ],
)
def test_the_best_loss_is_the_lowest_and_the_best_score_the_highest(
    kind: str, monitor: str, watched: str | None, mode: str
) -> None:
    (cls,) = (each for name, each in TRAINED.items() if name.startswith(f"tasks.{kind}.settings."))
    plan = override(cls(), {"monitor": monitor}).plan(seed=0)
    assert (plan.monitor, plan.mode) == (watched, mode)


def test_updates_are_shared_out_among_the_epochs() -> None:
    cls = TRAINED["tasks.report_generation.settings.ReportSettings"]
    plan = override(cls(), {"updates": "100", "epochs": "12"}).plan(seed=0)
    assert plan.steps_per_epoch == 9
