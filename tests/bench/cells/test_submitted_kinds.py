"""Files of other kinds than tables of probabilities, through the engine: from the export of a run
to the same numbers; and texts that stand nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bench
from bench.cells.prepare import plan_task
from bench.cells.request import RunRequest
from bench.cells.results import ResultStore
from bench.cells.submitted import export_predictions
from bench.core.errors import NotApplicableError
from bench.core.progress import Silent
from tasks.report_generation.metrics import java
from tests.damage.scenes import write_objects
from tests.tasks.datasets.fakes import write_mimic, write_siim

CANARY = "zanzibar"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


def asked(home: Path, **changes: Any) -> dict[str, Any]:
    return {
        "data": "real",
        "data_root": home / "data",
        "results": home / "results",
        "threads": 1,
        **changes,
    }


@pytest.mark.parametrize(
    ("task", "folder", "write", "row"),
    [
        ("siim_seg", "siim", write_siim, "baseline:prior_mask"),
        ("object_cxr_det", "object_cxr", write_objects, "baseline:frequent_boxes"),
    ],
)
def test_what_a_run_exports_is_scored_as_the_run_was(
    tmp_path: Path, task: str, folder: str, write: Any, row: str
) -> None:
    (tmp_path / "data" / folder).mkdir(parents=True)
    write(tmp_path / "data" / folder)
    settings = {"image_size": "64"}
    same = asked(tmp_path, settings=settings)
    bench.run(task, row, fractions=[1.0], seeds=[0], frame=False, **same)
    (entry,) = export_predictions(ResultStore(tmp_path / "results"), task, tmp_path / "out")
    outcome = bench.score(task, entry.path, "ours", thresholds=entry.thresholds, **same)
    (record,) = outcome.records
    measured = [k for k in entry.record if k.split(":")[0] in ("metric", "low", "high", "n")]
    assert len(measured) > 60
    assert {k: record[k] for k in measured} == {k: entry.record[k] for k in measured}
    assert set(outcome.table()["encoder"]) == {row, "ours"}


def test_a_kind_whose_runs_keep_too_little_exports_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="keeps no scores of images and reports"):
        export_predictions(ResultStore(tmp_path), "mimic5x200_ret", tmp_path / "out")


def test_the_text_of_a_licensed_report_stands_in_no_file_and_on_no_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "mimic_cxr").mkdir(parents=True)
    write_mimic(tmp_path / "data" / "mimic_cxr", studies=40)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # METEOR needs Java, and takes long
    monkeypatch.delenv("JAVA_HOME", raising=False)
    java.java_command.cache_clear()
    settings = {"tokenizer": "cleaned", "image_size": "64"}
    request = RunRequest(
        ("mimic_rg",), data="real", data_root=tmp_path / "data", settings=settings, threads=1
    )
    index = plan_task("mimic_rg", request, Silent()).index
    studies = index.loc[index["split"] == "test", "study_id"].drop_duplicates()
    file = tmp_path / "mine.csv"
    pd.DataFrame({"study_id": studies, "text": f"The {CANARY} is clear. No effusion."}).to_csv(
        file, index=False
    )
    outcome = bench.score("mimic_rg", file, "writer", **asked(tmp_path, settings=settings))
    java.java_command.cache_clear()
    assert outcome.records[0]["metric:words"] == 6
    stored = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert len(stored) > 3
    for path in stored:
        assert CANARY.encode() not in path.read_bytes().lower(), path
    predictions = outcome.predictions(outcome.records[0])
    assert list(predictions.table) == ["image_id", "patient_id"]
    assert {array.dtype.kind for array in predictions.arrays.values()} <= set("biuf")
    said = capfd.readouterr()
    assert CANARY not in (said.out + said.err).lower()
