"""The Python API: what a run returns, without a word on the screen."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import bench
from bench.core.errors import PlaceBenchError, SettingError, UnknownNameError
from tests.tasks.datasets.fakes import write_siim

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "notebook.py"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("api")
    (root / "data" / "siim").mkdir(parents=True)
    write_siim(root / "data" / "siim", images=36)
    return root


@pytest.fixture(scope="module")
def outcome(home: Path) -> bench.Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLACE_BENCH_CACHE", str(home / "cache"))
        return bench.run(
            "siim_cls",
            "random",
            fractions=[1.0],
            seeds=[0, 1],
            frame=False,
            data_root=home / "data",
            results=home / "results",
        )


def test_an_outcome_holds_tables_records_and_predictions(
    outcome: bench.Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    table = outcome.table()
    assert isinstance(table, pd.DataFrame) and len(table) == 1
    assert table["seeds"][0] == 2
    accuracy = outcome.table(metric="accuracy")
    assert accuracy["low"][0] <= accuracy["value"][0] <= accuracy["high"][0]
    assert pd.isna(table["low"][0])  # fewer than three test patients have a pneumothorax
    assert [record["seed"] for record in outcome.records] == [0, 1]
    mean = sum(record["metric:auroc"] for record in outcome.records) / 2
    assert table["value"][0] == pytest.approx(mean, abs=1e-6)
    predictions = outcome.predictions(outcome.records[0])
    assert len(predictions.table) == table["n_images"][0]
    assert outcome.pages["siim_cls"].startswith("### Pneumothorax classification")
    assert outcome.table(metric="auprc")["metric"][0] == "auprc"
    assert outcome.tables.keys() == {"siim_cls"} and not outcome.failed
    assert capsys.readouterr().out == ""


def test_a_second_run_reuses_every_cell(
    outcome: bench.Outcome, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(home / "cache"))
    again = bench.run(
        ["siim_cls"],
        "random",
        fractions=[1.0],
        seeds=[0, 1],
        frame=False,
        data_root=home / "data",
        results=home / "results",
    )
    assert not again.cells.done and again.keys == outcome.keys
    assert again.records == outcome.records


def test_what_is_wrong_raises_the_sentence_of_the_command_line(home: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown task 'siim_clas'. Did you mean siim_cls"):
        bench.run("siim_clas")
    with pytest.raises(SettingError, match="setting 'folds'|unknown setting"):
        bench.run("siim_cls", "random", settings={"nonsense": 1})
    with pytest.raises(PlaceBenchError, match="has no results"):
        bench.compare("siim_seg", results=home / "results")


def test_importing_bench_stays_light() -> None:
    code = "import sys, bench; print([n for n in ('torch', 'pandas', 'numpy') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_example_of_the_documentation_runs(
    outcome: bench.Outcome,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(home / "cache"))
    monkeypatch.setenv("PLACE_BENCH_DATA", str(home / "data"))
    monkeypatch.chdir(home)
    runpy.run_path(str(EXAMPLE))
    printed = capsys.readouterr().out
    assert "random (resnet_demo)" in printed and "resnet_demo 36 (2, " in printed


def test_the_page_shows_the_example_itself() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") in (DOCS / "python.md").read_text(encoding="utf-8")
