"""Baselines: rows that a kind declares, in every run of its tasks; each is a function, no encoder."""

from __future__ import annotations

import pytest

from bench.cells.request import RunRequest, check_rows, left_out, table_rows
from bench.contracts import BACKBONES, KINDS, TASKS, BackboneRequest, Body
from bench.core.errors import NotApplicableError

SIIM, NIH = TASKS.get("siim_seg"), TASKS.get("nih_cls")


def test_a_kinds_baselines_stand_behind_the_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS.get(SIIM.kind)
    request = RunRequest(("siim_seg",), ("random",))
    monkeypatch.setattr(kind, "baselines", {})
    assert table_rows(SIIM, request) == ["random"]
    monkeypatch.setattr(kind, "baselines", {"a": len, "b": len})
    assert table_rows(SIIM, request) == ["random", "baseline:a", "baseline:b"]
    named = RunRequest(("siim_seg",), ("baseline:b", "random"))
    assert table_rows(SIIM, named) == ["baseline:b", "random", "baseline:a"]


def test_a_baseline_has_no_encoder() -> None:
    spec = BACKBONES.get("baseline:constant")
    assert (spec.baseline, spec.architecture(BackboneRequest("demo"))) == ("constant", "")
    with pytest.raises(NotApplicableError, match="baseline:constant has no encoder"):
        spec.build(BackboneRequest("demo"))


def test_every_baseline_of_a_kind_is_a_function() -> None:
    declared = [(kind, name) for _, kind in KINDS.items() for name in kind.baselines]
    assert len(declared) >= 4
    for kind, name in declared:
        fit = kind.baseline(name)
        assert callable(fit.load() if isinstance(fit, Body) else fit)


def test_another_kinds_baseline_is_left_out_before_any_data_is_read() -> None:
    request = RunRequest(("siim_seg",), ("baseline:constant_report", "random"))
    assert table_rows(SIIM, request) == ["random", "baseline:prior_mask"]
    (reason,) = left_out(SIIM, request)
    assert reason.startswith("task 'siim_seg' has no row baseline:constant_report. ")
    assert "baseline:prior_mask" in reason


def test_a_run_of_rows_that_no_task_has_is_refused() -> None:
    with pytest.raises(NotApplicableError, match="'nih_cls' has no row baseline:prior_mask"):
        check_rows(RunRequest(("nih_cls",), ("baseline:prior_mask",)))
