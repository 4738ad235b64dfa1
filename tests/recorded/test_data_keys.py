"""Hashes of data and names of caches are as recorded: kept caches, features and results are
found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.recorded.data_keys import RECORDED, data_keys


def test_hashes_of_data_and_names_of_caches_are_as_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    assert data_keys(tmp_path, tmp_path / "cache") == json.loads(RECORDED.read_text())
