"""Rendered demos that several tests read; every test has a cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.datasets.demos import mimic_cxr, siim

SEED, SIZE = 5, 96


@pytest.fixture(scope="session")
def siim_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "siim"
    siim.write(out, studies=24, size=SIZE, seed=SEED, workers=1)
    return out


@pytest.fixture(scope="session")
def mimic_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "mimic_cxr"
    mimic_cxr.write(out, studies=30, size=SIZE, seed=SEED, workers=1)
    return out


def content(folder: Path) -> dict[str, bytes]:
    """Return every file's bytes by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
