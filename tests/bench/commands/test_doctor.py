"""`doctor`: what is ready in a line, what is at fault by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.commands.data import info_command, list_command
from bench.commands.doctor import _datasets
from bench.contracts import DATASETS
from tests.tasks.datasets.fakes import write_siim


def test_all_datasets_share_one_line(tmp_path: Path) -> None:
    write_siim(tmp_path / "siim", images=2)
    (check,) = list(_datasets(tmp_path))
    assert check.level == "ready" and "real files: siim;" in check.found
    assert all(name in check.found for name in DATASETS.names())


def test_every_dataset_has_a_line_and_its_whole_story(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write_siim(tmp_path / "siim", images=2)
    list_command(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(DATASETS.names()) + 2
    assert any(line.startswith("siim ") and str(tmp_path) in line for line in lines)
    info_command(["siim"], tmp_path)
    story = " ".join(capsys.readouterr().out.split())
    siim = DATASETS.get("siim")
    assert all(" ".join(text.split()) in story for text in (siim.how_to_get, siim.citation))
    assert "siim_cls, siim_seg" in story
