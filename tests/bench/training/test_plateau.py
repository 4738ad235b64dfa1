"""The plateau schedule: equal to torch's, and a resumed run needs no state of it."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import SettingError
from bench.training.plan import TrainPlan, learning_rate, plateaus


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
