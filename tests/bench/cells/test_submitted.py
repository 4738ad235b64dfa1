"""Predictions that were made elsewhere stand in the tables beside those of runs, under a name of
the user."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import bench
from bench.cells.request import RunRequest
from bench.cells.results import ResultStore
from bench.cells.submitted import (
    Exported,
    ScoreRequest,
    check_submission,
    export_predictions,
    form_of,
)
from bench.commands.cli import app
from bench.commands.power import power_command
from bench.commands.run import compare_command, leaderboard_command
from bench.commands.score import export_command, parse_thresholds
from bench.commands.verify import verify_command
from bench.contracts import EVERY, KINDS, TASKS
from bench.core.errors import NotApplicableError, PlaceBenchError, SettingError
from bench.core.progress import Silent
from bench.running import score_request
from tests.tasks.datasets.fakes import write_siim

TASK = "siim_cls"
SETTINGS = {"penalties": "0.1,1.0"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with data, a cache and the results of a run."""
    home = tmp_path_factory.mktemp("scored")
    (home / "data" / "siim").mkdir(parents=True)
    write_siim(home / "data" / "siim", images=150)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLACE_BENCH_CACHE", str(home / "cache"))
        bench.run(
            TASK,
            "random",
            fractions=[1.0],
            seeds=[0],
            frame=False,
            data_root=home / "data",
            results=home / "ran",
            threads=1,
            settings=SETTINGS,
        )
        yield home


@pytest.fixture
def home(ran: Path, tmp_path: Path) -> Path:
    """The same with results of its own."""
    shutil.copytree(ran / "ran", tmp_path / "results")
    for name in ("data", "cache"):
        (tmp_path / name).symlink_to(ran / name)
    return tmp_path


def exported(home: Path) -> Exported:
    """Return the predictions of the run as a file."""
    (entry,) = export_predictions(ResultStore(home / "results"), TASK, home / "out")
    return entry


def request(home: Path, file: Path, **changes: Any) -> ScoreRequest:
    run = RunRequest(
        (TASK,),
        data_root=home / "data",
        results=home / "results",
        threads=1,
        settings=SETTINGS,
    )
    return replace(ScoreRequest(run, file, "theirs", "predictions"), **changes)


def score(home: Path, entry: Exported, **changes: Any) -> bench.Outcome:
    asked = request(home, entry.path, thresholds=entry.thresholds)
    return score_request(replace(asked, **changes), Silent())


def test_our_own_predictions_give_the_record_of_our_run_and_stand_in_its_table(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = exported(home)
    outcome = score(home, entry)
    (record,) = outcome.records
    measured = [k for k in entry.record if k.split(":")[0] in ("metric", "low", "high", "n")]
    assert len(measured) > 40
    assert {k: record[k] for k in measured} == {k: entry.record[k] for k in measured}
    assert record["settings_id"] == entry.record["settings_id"]
    assert record["seen:images"] == "unknown"
    assert record["scored:file"] == entry.path.name

    page = outcome.pages[TASK]
    assert "| theirs ‡ |" in page
    assert "No model was run, and nothing is known of what it was trained on." in page
    table = outcome.table()
    assert set(table["role"]) == {"submitted", "floor"}
    rows = bench.compare(TASK, results=home / "results")
    assert rows["difference"].tolist() == [0.0]
    leaderboard_command((TASK,), "f1", home / "results")
    compare_command(TASK, ("theirs", "random"), "auroc", home / "results")
    power_command(TASK, 0.1, "auroc", home / "results")
    assert "| theirs |" in capsys.readouterr().out
    leaderboard_command((TASK,), "", home / "results")
    assert verify_command(home / "results", cache=False) == 0


def test_the_same_file_is_scored_once_and_another_needs_another_name(home: Path) -> None:
    entry = exported(home)
    score(home, entry)
    before = (home / "results" / "results.jsonl").read_bytes()
    score(home, entry)
    assert (home / "results" / "results.jsonl").read_bytes() == before
    table = pd.read_csv(entry.path)
    table["Pneumothorax"] /= 2
    table.to_csv(entry.path, index=False)
    with pytest.raises(PlaceBenchError, match="'theirs' is the name of other predictions"):
        score(home, entry)
    score(home, entry, name="theirs 2")
    changed = score(home, entry, run=replace(request(home, entry.path).run, force=True))
    assert set(changed.table()["encoder"]) >= {"theirs", "theirs 2"}


def test_a_result_that_lacks_metrics_keeps_its_name_and_is_scored_again(home: Path) -> None:
    entry = exported(home)
    (record,) = score(home, entry).records
    store = ResultStore(home / "results")
    store.append({**record, "fit:missing:meteor": "There is no Java."})
    table = pd.read_csv(entry.path)
    halved = entry.path.with_name("halved.csv")
    table.assign(Pneumothorax=table["Pneumothorax"] / 2).to_csv(halved, index=False)
    with pytest.raises(PlaceBenchError, match="'theirs' is the name of other predictions"):
        score(home, entry, path=halved)
    (again,) = score(home, entry).records
    assert "fit:missing:meteor" not in again


def test_a_row_without_a_metric_leaves_the_tables_of_others_whole(home: Path) -> None:
    entry = exported(home)
    outcome = score(home, entry, thresholds={})
    assert "metric:f1" not in outcome.records[0]
    leaderboard_command((TASK,), "f1", home / "results")
    assert outcome.table(metric="f1")["role"].tolist() == ["floor"]
    alone = score(home, entry, thresholds={}, run=_elsewhere(home, entry))
    leaderboard_command((TASK,), "f1", alone.request.results)
    assert not len(alone.table(metric="f1"))


def _elsewhere(home: Path, entry: Exported) -> RunRequest:
    return replace(request(home, entry.path).run, results=home / "alone")


def test_seeds_of_one_name_are_one_row(home: Path) -> None:
    entry = exported(home)
    for seed in (0, 1):
        outcome = score(home, entry, seed=seed)
    row = outcome.table().set_index("encoder").loc["theirs"]
    assert row["seeds"] == 2


def test_predictions_that_are_lost_are_scored_again_not_run(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (record,) = score(home, exported(home)).records
    ResultStore(home / "results").predictions_path(record["key"]).unlink()
    assert verify_command(home / "results", cache=False) == 2
    assert "Score its file again, with --force." in capsys.readouterr().out


def test_the_export_prints_a_command_that_gives_the_numbers_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_command(TASK, home / "out", home / "results")
    line = capsys.readouterr().out.splitlines()[1]
    words = [*shlex.split(line)[1:], "--data-root", str(home / "data")]
    words += ["--results", str(home / "results")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    theirs, ours = (
        next(each for each in ResultStore(home / "results").records().values() if name == each[key])
        for key, name in (("label", "NAME"), ("backbone", "random"))
    )
    assert theirs["settings_id"] == ours["settings_id"]
    assert theirs["metric:f1"] == ours["metric:f1"]


def test_the_export_names_a_label_fraction_with_all_its_digits(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ResultStore(home / "results")
    (record,) = (each for each in store.records().values() if each["backbone"] == "random")
    shutil.copy(store.predictions_path(record["key"]), store.predictions_path("third"))
    store.append({**record, "key": "third", "label_fraction": 1 / 3})
    export_command(TASK, home / "out", home / "results")
    words = shlex.split(capsys.readouterr().out)
    fractions = [words[at + 1] for at, word in enumerate(words) if word == "--fraction"]
    assert sorted(map(float, fractions)) == [1 / 3, 1.0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"form": "masks"}, "is scored from predictions, not from masks"),
        ({"name": ""}, "--name is ''"),
        ({"name": "a|b"}, "--name is 'a|b'"),
        ({"name": "x" * 61}, "--name is 'xxx"),
        ({"name": "random"}, "is the name of an encoder of place-bench"),
        ({"fraction": 1.5}, "label fraction 1.5"),
        ({"seed": -1}, "seed"),
        ({"path": Path("nowhere.csv")}, "nowhere.csv does not exist"),
        (
            {"thresholds": {EVERY: 0.5}, "validation": Path(__file__)},
            "--threshold and --validation were both given",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused_before_any_data_is_read(
    changes: dict[str, Any], said: str
) -> None:
    asked = request(Path("no"), Path(__file__), **changes)
    with pytest.raises(PlaceBenchError, match=said):
        check_submission(asked)


@pytest.mark.parametrize("setting", ["pretrain.epochs", "backbone.x"])
def test_settings_of_training_are_refused(setting: str) -> None:
    asked = request(Path("no"), Path(__file__))
    with pytest.raises(SettingError, match="nothing is trained"):
        check_submission(replace(asked, run=replace(asked.run, settings={setting: "1"})))


def test_files_without_thresholds_refuse_them() -> None:
    asked = request(Path("no"), Path(__file__), form="reports", thresholds={EVERY: 0.5})
    with pytest.raises(SettingError, match="reports take no --threshold"):
        check_submission(replace(asked, run=replace(asked.run, tasks=("iu_rg",), settings={})))


def test_thresholds_are_one_number_or_one_for_each_class() -> None:
    assert parse_thresholds(["0.5", "Lung Opacity=0.3"]) == {EVERY: 0.5, "Lung Opacity": 0.3}
    for words in (["high"], ["a=nan"], ["a=0.1", "a=0.2"], ["0.1", "0.2"]):
        with pytest.raises(SettingError):
            parse_thresholds(words)


def test_a_kind_that_reads_no_files_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(KINDS.get("classification")), "submission", None)
    with pytest.raises(NotApplicableError, match="reads no predictions from elsewhere"):
        form_of(TASKS.get(TASK))
