"""`doctor`: what is ready in a line, what is at fault by name."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.commands import doctor
from bench.commands.data import info_command, list_command
from bench.commands.doctor import Check, _datasets, checks, doctor_command
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
    assert "siim_cls, siim_ground, siim_seg" in story


def check_named(name: str, data_root: Path) -> Check:
    return next(check for check in checks(data_root) if check.name == name)


def test_a_package_that_is_absent_blocks_and_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "timm":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert check_named("package timm", tmp_path) == Check(
        "package timm", "blocked", "not installed", "Run `make setup`."
    )
    assert check_named("package torch", tmp_path).found == real("torch")


@pytest.mark.parametrize(
    ("body", "level", "found"),
    [
        ("echo 'openjdk version 21' >&2", "ready", "openjdk version 21"),
        ("exit 1", "warning", "does not run"),
        (None, "warning", "not found"),
    ],
)
def test_java_is_run_and_not_only_looked_for(
    body: str | None, level: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if body is not None:
        program = tmp_path / "java"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = check_named("Java", tmp_path)
    assert check.level == level and found in check.found
    assert bool(check.action) == (level == "warning")


@pytest.mark.parametrize(
    ("gib", "level"), [(50, "ready"), (10.5, "ready"), (9, "warning"), (0.5, "blocked")]
)
def test_a_full_disk_warns_and_then_blocks(
    gib: float, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "not" / "there" / "yet"))
    free = SimpleNamespace(free=int(gib * 2**30))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free)
    check = check_named("disk for caches", tmp_path)
    assert check.level == level
    assert ("PLACE_BENCH_CACHE" in check.action) == (level != "ready")


def test_a_folder_that_cannot_be_written_blocks_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    check = check_named("cache folder", tmp_path)
    assert check.level == "blocked" and str(tmp_path / "file") in check.found


@pytest.mark.parametrize(("level", "code"), [("ready", 0), ("warning", 0), ("blocked", 2)])
def test_the_exit_code_says_whether_something_is_blocked(
    level: doctor.Level,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [Check("one", "ready", "fine"), Check("two", level, "[odd] found", "Do this.")]
    monkeypatch.setattr(doctor, "checks", lambda data_root: iter(found))
    assert doctor_command(None) == code
    out = capsys.readouterr().out
    assert f"{int(code > 0)} blocked." in out and "[odd] found" in out
    assert ("Next: place-bench run" in out) == (code == 0)
