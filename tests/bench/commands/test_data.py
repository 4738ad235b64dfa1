"""`data verify`: it looks at every dataset, and says by its exit code whether all is well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.commands.data import verify_command
from bench.contracts import DATASETS
from tasks.demo.writers.manifest import finish
from tests.tasks.datasets.fakes import write_covid, write_siim


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PLACE_BENCH_DATA", raising=False)
    write_covid(tmp_path / "data" / "covid_seg")
    write_siim(tmp_path / "data" / "siim", images=12)
    return tmp_path / "data"


def test_a_dataset_that_does_not_read_hides_no_other(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "covid_seg" / "structure.csv").write_bytes(b"\0")
    assert verify_command([], data) == 2
    out = capsys.readouterr().out
    assert "ERROR   file" in out and "structure.csv, line 1 holds a NUL byte" in out
    assert out.index("covid_seg: real files") < out.index("siim: real files")
    assert "images: 12 found, 10675 expected" in out


def test_an_unforeseen_error_of_a_dataset_is_one_line(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: dict[str, object] = {}
    monkeypatch.setattr(type(DATASETS.get("covid_seg")), "validate", lambda *_: nothing["x"])
    assert verify_command([], data) == 2
    out = capsys.readouterr().out
    assert "ERROR   dataset 'covid_seg': validate() fails in" in out and "siim: real files" in out


def test_what_a_run_would_refuse_in_the_index_is_found_too(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dataset's own validation says nothing of it; each fault is said once."""
    dataset = DATASETS.get("siim")
    read = dataset.index
    monkeypatch.setattr(type(dataset), "validate", lambda *_: [])
    monkeypatch.setattr(type(dataset), "index", lambda _, root: read(root).assign(split="tset"))
    assert verify_command(["siim"], data) == 2
    out = capsys.readouterr().out
    assert out.count("ERROR") == 1
    assert "split is 'tset'" in out


def test_wrong_counts_are_an_error_and_right_ones_are_not(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify_command(["siim"], data) == 2
    counts = {"images": 12, "positive images": 4, "rows": 14, "images with several masks": 2}
    finish(data / "siim", {"dataset": "siim", "studies": 12}, counts)
    assert verify_command(["siim"], data) == 0
    (data / "siim" / "DEMO.json").write_text(json.dumps({"counts": {**counts, "rows": 15}}))
    assert verify_command(["siim"], data) == 2
    (data / "siim" / "DEMO.json").write_text("{")
    assert verify_command(["siim"], data) == 2
    assert "DEMO.json cannot be read as JSON" in capsys.readouterr().out
    (data / "siim" / "DEMO.json").unlink()
    (data / "siim" / "DEMO.json").mkdir()
    assert verify_command(["siim"], data) == 2
    out = capsys.readouterr().out
    assert "siim: demo files" in out and "DEMO.json is a directory" in out


def test_a_picture_under_another_name_is_said(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = data / "covid_seg" / "images" / "case 5.png"
    (data / "covid_seg" / "images" / "case 4.jpg").replace(path)
    verify_command(["covid_seg"], data)
    assert "1 files hold another type of image than their name says" in capsys.readouterr().out
