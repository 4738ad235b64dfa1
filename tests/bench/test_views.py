"""A view is made again where it does not show the store as it is, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.results import ResultStore
from bench.views import FILE, is_fresh, note, state_of


def record(key: str, value: float) -> dict[str, object]:
    return {"key": key, "status": "done", "task": "a_task", "metric:x": value}


@pytest.fixture
def written(tmp_path: Path) -> tuple[ResultStore, Path]:
    store = ResultStore(tmp_path)
    store.append(record("a", 0.5))
    page = tmp_path / "leaderboards" / "a_task.md"
    page.parent.mkdir()
    page.write_text("a table")
    note(page.parent, "a_task", state_of(store, "a_task"), [page])
    return store, page


def fresh(store: ResultStore, page: Path) -> bool:
    return is_fresh(page.parent, "a_task", state_of(store, "a_task"))


def test_a_view_of_the_store_as_it_is_stays(written: tuple[ResultStore, Path]) -> None:
    store, page = written
    assert fresh(store, page)
    store.append({**record("b", 0.1), "task": "another"})
    assert fresh(store, page), "results of another task change nothing"


def test_whoever_added_a_result_the_view_is_stale(written: tuple[ResultStore, Path]) -> None:
    store, page = written
    store.append(record("b", 0.6))
    assert not fresh(store, page)


@pytest.mark.parametrize("damage", ["removed", "edited", "notes lost", "notes damaged"])
def test_a_missing_or_edited_view_is_stale(damage: str, written: tuple[ResultStore, Path]) -> None:
    store, page = written
    if damage == "removed":
        page.unlink()
    elif damage == "edited":
        page.write_text("another table")
    elif damage == "notes lost":
        (page.parent / FILE).unlink()
    else:
        (page.parent / FILE).write_text("[" * 100_000)
    assert not fresh(store, page)
