"""Pages, tables and pictures are those of the results, whoever ran the cells and wherever a kill
fell; what is current is not written again."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench import contracts
from bench.cells.results import ResultStore
from bench.contracts import Predictions, TaskSpec
from bench.core.progress import Silent
from bench.report.views import Views
from tests.support.progress import Said
from tests.support.results import _FakeKind, add

TASKS = ("fake_task", "other_task")


class DrawingKind(_FakeKind):
    """A kind whose picture has one pixel per row, and a second picture beside it."""

    def figure(self, task: TaskSpec, test: Any, shown: Any, out: Path) -> Path:
        for path in (out, out.with_name(f"{out.stem}_attention.png")):
            Image.new("L", (len(shown), len(test.index))).save(path)
        return out


class Images:
    """Test images in a given order."""

    def __init__(self, images: list[str]) -> None:
        self.index = pd.DataFrame({"image_id": images})

    def take(self, rows: np.ndarray) -> "Images":
        return Images(self.index["image_id"].iloc[rows].tolist())


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    """Two tasks with two encoders each."""
    contracts.TASKS.names()
    for name in TASKS:
        spec = TaskSpec(name, "fake", "none", f"The task {name}", "score")
        monkeypatch.setitem(contracts.TASKS._items, name, spec)
    monkeypatch.setitem(contracts.KINDS._items, "fake", DrawingKind())
    store = ResultStore(tmp_path)
    for task in TASKS:
        for name, mean in (("a", 0.5), ("b", 0.4)):
            add(store, name, mean, {"hash:split": "s"}, task=task)
    return store


def plan(task: str) -> Any:
    """Return what the picture of a task is drawn from."""
    prepared = SimpleNamespace(subset=lambda rows: Images([str(number) for number in range(200)]))
    return SimpleNamespace(
        task=contracts.TASKS.get(task),
        kind=DrawingKind(),
        data_hash="d",
        split_hash="s",
        test_hash="t",
        root=SimpleNamespace(kind="real"),
        index=pd.DataFrame({"split": ["test"]}),
        prepared=prepared,
    )


def publish(store: ResultStore) -> None:
    """Bring everything up to date, as the end of a run does."""
    views = Views(store)
    with views.locked():
        pages = {task: views.update_tables(task) for task in TASKS}
        for task in TASKS:
            views.update_pictures(plan(task), pages[task], Silent())
        views.update_overview(pages)


def contents(store: ResultStore) -> dict[str, bytes]:
    folder = store.root / "leaderboards"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def test_everything_is_written_and_then_left_alone(store: ResultStore) -> None:
    publish(store)
    folder = store.root / "leaderboards"
    visible = sorted(name for name in contents(store) if not name.startswith("."))
    endings = (".csv", ".differences.csv", ".md", ".png", "_attention.png")
    tasks = [f"{task}{ending}" for task in TASKS for ending in endings]
    assert visible == sorted([*tasks, "overview.csv", "overview.md"])
    before = {path: path.stat().st_ino for path in folder.iterdir()}
    publish(store)
    assert {path: path.stat().st_ino for path in folder.iterdir()} == before


def _remove(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [_remove, _empty])
def test_each_file_that_is_gone_or_changed_is_made_again(
    store: ResultStore, harm: Callable[[Path], None]
) -> None:
    publish(store)
    whole = contents(store)
    for name in whole:
        harm(store.root / "leaderboards" / name)
        publish(store)
        assert contents(store) == whole, name


def test_a_note_that_is_nonsense_is_written_again(store: ResultStore) -> None:
    publish(store)
    whole = contents(store)
    for text in ("[1]", '{"files": 3}', '{"made_from": []}', "{" * 100_000, "\udcff"):
        note = store.root / "leaderboards" / ".fake_task.json"
        note.write_text(text, errors="surrogateescape")
        publish(store)
        assert contents(store) == whole


def _killed_at(store: ResultStore, write: int) -> bool:
    """Publish in a process that dies at its n-th renaming of a file; say whether it came to
    that."""
    child = os.fork()
    if child == 0:
        renamed, replace = [0], Path.replace

        def until(path: Path, target: Path) -> Path:
            renamed[0] += 1
            if renamed[0] == write:
                os._exit(9)
            return replace(path, target)

        Path.replace = until  # type: ignore[method-assign,assignment]
        publish(store)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_kill_at_any_file_leaves_what_a_second_run_makes_whole(
    store: ResultStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    publish(store)
    whole = contents(store)
    for write in range(1, 100):
        for path in (store.root / "leaderboards").iterdir():
            path.unlink()
        died = _killed_at(store, write)
        store.tidy()
        publish(store)
        assert contents(store) == whole
        if not died:
            break
    assert write > 15, "every file of every view was a place to die at"


def test_a_result_of_another_process_makes_every_view_of_its_task_again(
    store: ResultStore,
) -> None:
    publish(store)
    before = contents(store)
    add(store, "c", 0.3, {"hash:split": "s"})
    publish(store)
    after = contents(store)
    changed = {name for name in after if before[name] != after[name] and name[0] != "."}
    assert changed >= {"fake_task.md", "fake_task.csv", "fake_task.png", "overview.md"}
    assert not any(name.startswith("other_task") for name in changed)


def test_a_picture_is_drawn_though_the_tables_were_written_before(store: ResultStore) -> None:
    Views(store).write_tables("fake_task")
    assert "fake_task.png" not in contents(store)
    publish(store)
    add(store, "c", 0.3, {"hash:split": "s"})
    Views(store).write_tables("fake_task")
    publish(store)
    with Image.open(store.root / "leaderboards" / "fake_task.png") as picture:
        assert picture.size == (3, 200)


def test_tables_by_another_metric_are_not_taken_for_the_main_ones(store: ResultStore) -> None:
    publish(store)
    whole = contents(store)
    Views(store).write_tables("fake_task", "mean_rank")
    assert contents(store)["fake_task.md"] != whole["fake_task.md"]
    publish(store)
    assert contents(store) == whole


def test_damaged_predictions_take_their_row_out_of_the_page(store: ResultStore) -> None:
    publish(store)
    key = next(key for key, r in store.records().items() if r["backbone"] == "a")
    store.predictions_path(key).write_bytes(b"")
    assert Views(store).stale() == ["fake_task"]
    publish(store)
    page = contents(store)["fake_task.md"].decode()
    assert "| a (net)" not in page and "Left out: a " in page


def test_the_page_of_a_task_that_lost_its_results_goes(store: ResultStore) -> None:
    publish(store)
    (store.root / "leaderboards" / "mine.md").write_text("kept")
    lines = store.path.read_text().splitlines(keepends=True)
    store.path.write_text("".join(line for line in lines if '"task": "fake_task"' not in line))
    publish(store)
    names = set(contents(store))
    assert not {"fake_task.md", "fake_task.csv"} & names and "mine.md" in names


def test_a_picture_shows_images_in_the_order_of_the_predictions(store: ResultStore) -> None:
    seen: list[list[str]] = []

    class Watching(DrawingKind):
        def figure(self, task: TaskSpec, test: Any, shown: Any, out: Path) -> Path:
            seen.append([*test.index["image_id"], *shown])
            return super().figure(task, test, shown, out)

    records = [r for r in store.records().values() if r["task"] == "fake_task"]
    kept = store.load_predictions(records[0])
    store.finish(records[0], Predictions(kept.table.iloc[::-1].reset_index(drop=True)))
    other = plan("fake_task")
    other.kind = Watching()
    progress = Said()
    Views(store).update_pictures(other, None, progress)
    (shown,) = seen
    names = {r["key"]: f"{r['backbone']} (net)" for r in records}
    reversed_first = shown[:200] == [str(number) for number in reversed(range(200))]
    assert reversed_first == (shown[200:] == [names[records[0]["key"]]])
    assert (
        len(shown) == 201
        and "is not in the picture: its images are in another order" in progress.lines[0]
    )
