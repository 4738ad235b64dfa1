"""Baselines: rows that a kind declares, in every run of its tasks; they have no encoder."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.cells.baselines import Baseline
from bench.cells.prepare import RunRequest, entrants
from bench.cells.runner import _check_baseline
from bench.contracts import BACKBONES, KINDS, TASKS, BackboneRequest, has_text_side
from bench.core.errors import NotApplicableError


def test_a_kinds_baselines_stand_behind_the_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS.get(TASKS.get("siim_seg").kind)
    request = RunRequest(("siim_seg",), ("random",))
    monkeypatch.setattr(kind, "baselines", ())
    assert entrants(TASKS.get("siim_seg"), request) == ["random"]
    monkeypatch.setattr(kind, "baselines", ("a", "b"))
    assert entrants(TASKS.get("siim_seg"), request) == ["random", "baseline:a", "baseline:b"]
    named = RunRequest(("siim_seg",), ("baseline:b", "random"))
    assert entrants(TASKS.get("siim_seg"), named) == ["baseline:b", "random", "baseline:a"]


def test_a_baseline_has_no_encoder() -> None:
    spec = BACKBONES.get("baseline:constant")
    built = spec.build(BackboneRequest("demo"))
    assert isinstance(built, Baseline)
    assert (built.which, spec.architecture(BackboneRequest("demo"))) == ("constant", "")
    with pytest.raises(NotApplicableError, match="baseline:constant has no encoder"):
        built.features(torch.zeros(1, 3, 2, 2))
    assert not has_text_side(built)


def test_another_kinds_baseline_is_refused() -> None:
    plan: Any = SimpleNamespace(kind=KINDS.get("segmentation"))
    _check_baseline(BACKBONES.get("baseline:prior_mask").build(BackboneRequest("demo")), plan)
    other = BACKBONES.get("baseline:constant_report").build(BackboneRequest("demo"))
    with pytest.raises(
        NotApplicableError,
        match="segmentation has no baseline:constant_report.*baseline:prior_mask",
    ):
        _check_baseline(other, plan)
