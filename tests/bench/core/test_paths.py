"""Where caches lie, in which order the environment is asked, and what is said without a home."""

from pathlib import Path

import pytest

from bench.commands.doctor import checks
from bench.core.errors import StorageError
from bench.core.paths import cache_home, check_results


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


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without a passwd entry, and no HOME."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "PLACE_BENCH_CACHE", "XDG_CACHE_HOME", "PLACE_BENCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_the_sentence_names_the_variable_to_set() -> None:
    with pytest.raises(StorageError, match="HOME is not set .* Set PLACE_BENCH_CACHE"):
        cache_home()


@pytest.mark.usefixtures("homeless")
def test_doctor_shows_a_missing_home_as_a_line() -> None:
    lines = {check.name: check for check in checks()}
    assert lines["cache folder"].level == lines["disk for caches"].level == "blocked"
    assert "PLACE_BENCH_CACHE" in lines["cache folder"].action
    assert lines["results folder"].level == "ready"


def test_a_store_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").mkdir()
    with pytest.raises(StorageError, match=r"results.jsonl is not a file"):
        check_results(tmp_path)
