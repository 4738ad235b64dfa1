import pytest


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
