"""Learning rates equal torch's schedules, and a resumed run needs no state of them; batches and what
a checkpoint is known by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import SettingError
from bench.core.progress import Silent
from bench.training.plan import (
    TrainingError,
    TrainPlan,
    batch_slices,
    fingerprint,
    learning_rate,
    plateaus,
    train,
)


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.30001, 0.5, 0.9]), max_size=14),
    st.sampled_from(["max", "min"]),
    st.integers(0, 3),
)
@settings(deadline=None)
def test_equals_torch(values: list[float], mode: Literal["min", "max"], hold: int) -> None:
    plan = TrainPlan(
        schedule="plateau", monitor="score", mode=mode, hold=hold, lr=1.0, factor=0.5, min_lr=0.0
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode=mode, factor=0.5, patience=hold, eps=0.0
    )
    for value in values:
        theirs.step(value)
    assert learning_rate(plan, 3, 10, values) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_the_rate_has_a_floor_and_a_warm_up() -> None:
    plan = TrainPlan(
        schedule="plateau", monitor="score", lr=1.0, min_lr=0.3, factor=0.5, hold=0, warmup=0.5
    )
    assert plateaus([1, 1, 1, 1], plan) == 3
    assert learning_rate(plan, 9, 10, [1, 1, 1, 1]) == 0.3 and learning_rate(plan, 0, 10) == 0.2


def test_it_needs_something_to_watch() -> None:
    with pytest.raises(SettingError, match="schedule plateau watches"):
        TrainPlan(schedule="plateau")


def rates(schedule: Any, steps: int) -> list[float]:
    """Return the rates of a schedule of torch."""
    values = []
    for _ in range(steps):
        values.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return values


@pytest.mark.parametrize("name", ["cosine", "linear", "constant"])
def test_a_schedule_is_a_closed_form_of_torchs(
    name: Literal["cosine", "linear", "constant"],
) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    schedulers = torch.optim.lr_scheduler
    theirs: Any = {
        "cosine": lambda: schedulers.CosineAnnealingLR(optimizer, 20, eta_min=0.1),
        "linear": lambda: schedulers.LinearLR(optimizer, 1.0, 0.25, total_iters=20),
        "constant": lambda: schedulers.ConstantLR(optimizer, 1.0),
    }[name]()
    plan = TrainPlan(schedule=name, lr=0.4, min_lr=0.1)
    ours = [learning_rate(plan, step, 20) for step in range(20)]
    np.testing.assert_allclose(ours, rates(theirs, 20), rtol=1e-9)


@pytest.mark.parametrize(("from_zero", "first"), [(False, 0.1), (True, 0.0)])
def test_the_warm_up_rises_in_equal_steps(from_zero: bool, first: float) -> None:
    plan = TrainPlan(schedule="constant", lr=0.4, warmup=0.4, warmup_from_zero=from_zero)
    ours = [learning_rate(plan, step, 10) for step in range(10)]
    np.testing.assert_allclose(np.diff(ours[:4]), 0.1)
    assert ours[0] == pytest.approx(first) and ours[4:] == [0.4] * 6


@given(st.integers(0, 60), st.integers(1, 9))
@settings(deadline=None)
def test_every_sample_is_in_one_batch_and_none_is_alone(count: int, size: int) -> None:
    batches = [list(range(count))[part] for part in batch_slices(count, size)]
    assert [row for batch in batches for row in batch] == list(range(count))
    assert all(len(batch) <= size + 1 for batch in batches)
    if size > 1 and count > 1:
        assert all(len(batch) > 1 for batch in batches)


class Batches:
    """A loader of `count` empty batches."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def batches(self, generator: np.random.Generator) -> Iterator[Any]:
        return iter([{}] * self.count)


def test_a_checkpoint_is_known_by_plan_batches_and_shapes() -> None:
    plan, shapes = TrainPlan(), {"a": (1, 2), "b": (3,)}
    whole = fingerprint(plan, Batches(4), shapes)
    assert whole == fingerprint(TrainPlan(), Batches(4), {"b": (3,), "a": (1, 2)})
    others = [
        fingerprint(replace(plan, lr=0.5), Batches(4), shapes),
        fingerprint(plan, Batches(5), shapes),
        fingerprint(plan, Batches(4), {**shapes, "b": (4,)}),
        fingerprint(plan, Batches(4), {"a": (1, 2)}),
    ]
    assert len({whole, *others}) == 5


def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    model, folder = torch.nn.Linear(1, 1), tmp_path / "work"
    with pytest.raises(SettingError, match="monitor 'score' needs a validation"):
        train(model, Batches(1), TrainPlan(monitor="score"), folder, progress=Silent())
    with pytest.raises(TrainingError, match="training: the loader has no batch"):
        train(model, Batches(0), TrainPlan(), folder, progress=Silent())
    assert not folder.exists()
