"""Cells of grounding through the engine, from files as downloaded to results: rows without an
encoder on boxes, phrases and gaze."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cells.request import RunRequest
from bench.cells.results import ResultStore
from bench.commands.run import run_command
from tests.support.chestxdet10 import write_chestxdet10
from tests.support.gaze import write_egd
from tests.support.ms_cxr import write_ms_cxr

DATA: dict[str, tuple[str, Callable[[Path], object]]] = {
    "chestxdet10_ground": ("chestxdet10", write_chestxdet10),
    "mimic_ground": ("", write_ms_cxr),
    "egd_gaze": ("", write_egd),
}


@pytest.mark.parametrize("task", DATA)
def test_a_task_runs_from_its_files(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    folder, write = DATA[task]
    root = tmp_path / "data"
    (root / folder).mkdir(parents=True)
    write(root / folder)
    request = RunRequest(
        tasks=(task,),
        backbones=("baseline:chance", "baseline:mean_training_map"),
        fractions=(1.0,),
        data="real",
        data_root=root,
        results=tmp_path / "results",
        threads=1,
    )
    run_command(request, dry_run=False)
    records = {
        record["backbone"]: record
        for record in ResultStore(tmp_path / "results").records().values()
    }
    chance = records["baseline:chance"]
    usual = records["baseline:mean_training_map"]
    assert chance["metric:auc_judd"] == 0.5 and chance["metric:nss"] == 0
    assert usual["metric:pointing"] > chance["metric:pointing"] > 0
    for record in records.values():
        assert record["metric:shuffled_auc"] in (0.5, None)
