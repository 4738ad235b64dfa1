"""`results verify` finds every kind of damage, changes nothing and exits with 2."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cells.results import ResultStore
from bench.commands.verify import verify_command
from bench.core.errors import PlaceBenchError
from bench.report.views import Views
from tests.support.results import add


@pytest.fixture
def whole(store: ResultStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ResultStore:
    """Three results of one task, with their tables and an empty cache."""
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    for name in ("a", "b", "c"):
        add(store, name, 0.5)
    Views(store).write_tables("fake_task")
    return store


def state(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_whole_folder_has_no_fault(
    whole: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify_command(whole.root, cache=True) == 0
    assert capsys.readouterr().out.strip() == "3 result(s) looked at, 0 fault(s)."


def _edit_a_metric(store: ResultStore) -> None:
    store.path.write_text(store.path.read_text().replace('"seed": 0', '"seed": 1', 1))


def _tear_a_line(store: ResultStore) -> None:
    with store.path.open("a") as file:
        file.write('{"key": "x", ')


def _flip_predictions(store: ResultStore) -> None:
    path = sorted((store.root / "predictions").iterdir())[1]
    path.write_bytes(path.read_bytes()[:-9] + b"123456789")


def _lose_predictions(store: ResultStore) -> None:
    sorted((store.root / "predictions").iterdir())[0].unlink()


def _lose_a_page(store: ResultStore) -> None:
    (store.root / "leaderboards" / "fake_task.md").unlink()


def _edit_a_table(store: ResultStore) -> None:
    with (store.root / "leaderboards" / "fake_task.csv").open("a") as file:
        file.write("another row\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_edit_a_metric, "line 1 (a {}) was changed after it was written"),
        (_tear_a_line, "line 4 is torn"),
        (_flip_predictions, "are not those of their record. Run the task again"),
        (_lose_predictions, "are missing"),
        (_lose_a_page, "the tables of fake_task are not those of its results"),
        (_edit_a_table, "the tables of fake_task are not those of its results"),
    ],
)
def test_damage_is_listed_and_left_as_it_is(
    whole: ResultStore,
    damage: Callable[[ResultStore], None],
    words: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    damage(whole)
    before = state(whole.root)
    assert verify_command(whole.root, cache=False) == 2
    assert words in capsys.readouterr().out and not caplog.text, "said once, on stdout"
    assert state(whole.root) == before


def test_damage_of_the_cache_is_listed_where_asked(
    whole: ResultStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache" / "images" / "siim-128-0123").mkdir(parents=True)
    card = tmp_path / "cache" / "checkpoints" / "place-x" / "card.json"
    card.parent.mkdir(parents=True)
    card.write_text("[")
    assert verify_command(whole.root, cache=False) == 0
    assert verify_command(whole.root, cache=True) == 2
    shown = capsys.readouterr().out
    assert "about.json is missing or damaged" in shown and f"{card} is damaged" in shown


def test_a_folder_without_results_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(PlaceBenchError, match="no results in"):
        verify_command(tmp_path / "nowhere", cache=False)
    assert not (tmp_path / "nowhere").exists()
