"""Where the cache is."""

from pathlib import Path

import pytest

from bench.paths import cache_home


def test_the_cache_is_where_the_user_or_the_desktop_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PLACE_BENCH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_home() == tmp_path / ".cache" / "place-bench"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_home() == tmp_path / ".cache" / "place-bench"
    monkeypatch.setenv("XDG_CACHE_HOME", "/desktop")
    assert cache_home() == Path("/desktop/place-bench")
    monkeypatch.setenv("PLACE_BENCH_CACHE", "~/mine")
    assert cache_home() == tmp_path / "mine"
