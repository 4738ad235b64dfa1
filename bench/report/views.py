"""Pages, tables and pictures of a results folder: made again where the results they show have
changed, or a file of theirs is not what was written, whoever ran the cells."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cells.prepare import TaskPlan
from bench.cells.result_lines import record_checksum
from bench.cells.results import ResultStore, git_revision
from bench.contracts import DEMO_NOTE, KINDS, TASKS, Progress
from bench.core.hashing import digest
from bench.core.storage import held, write_atomically, writing
from bench.metrics.intervals import IntervalMethod
from bench.report.leaderboard import Table, build
from bench.report.leaderboard_pages import pages
from bench.report.overview import Overview, build_overviews, overview_pages
from bench.report.pictures import stamp

_DRAWING = ".drawing-"


@dataclass(frozen=True)
class Page:
    """The tables of a task as they stand in their files, and a sentence for every result that was
    left out."""

    tables: Sequence[Table]
    left_out: Sequence[str]


class Views:
    """The folder `leaderboards` of a store.

    Beside each view a hidden file says which results it was made from and which files it wrote,
    with their hashes; it is written last, so that a kill leaves a view that is made again.
    """

    def __init__(self, store: ResultStore) -> None:
        self.store = store
        self.folder = store.root / "leaderboards"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process write at a time, and remove what a dead one was drawing."""
        with held(self.store.root / "locks" / "views.lock"):
            for folder in self.folder.glob(f"{_DRAWING}*"):
                shutil.rmtree(folder, ignore_errors=True)
            yield

    def write_tables(
        self, task: str, metric: str = "", intervals: IntervalMethod = "standard"
    ) -> Page:
        """Write `<task>.md`, `<task>.csv` and `<task>.differences.csv`; demo results go to
        `<task>.demo.*` once real ones exist."""
        made_from = self.made_from(task, metric)
        if intervals != "standard":
            made_from = digest([made_from, intervals])
        tables, left_out = build(self.store, task, metric, intervals)
        self._write(task, made_from, pages(task, tables, left_out))
        return Page(tables, left_out)

    def write_overview(
        self, tables: Mapping[str, Sequence[Table]], metric: str = ""
    ) -> list[Overview]:
        """Write overview.md and overview.csv over `tables` (by task), of demo data overview.demo.*
        once there is real data; return what was written."""
        overviews = build_overviews(tables)
        made_from = self._all_made_from(tables, metric)
        self._write("overview", made_from, overview_pages(overviews))
        return overviews

    def update_tables(self, task: str) -> Page | None:
        """Write the tables of a task where they are not those of its results; None where they
        are."""
        current = self.is_current(task, self.made_from(task))
        return None if current else self.write_tables(task)

    def update_pictures(self, plan: TaskPlan, page: Page | None, progress: Progress) -> None:
        """Draw the pictures of a task where they are not those of its results on this data."""
        task = plan.task.name
        facts = [plan.data_hash, plan.split_hash, plan.test_hash, plan.root.kind]
        made_from = digest([self.made_from(task), facts])
        view = f"{task}.picture"
        if self.is_current(view, made_from):
            return
        of_plan = [table for table in self._tables(task, page) if _is_of(table, plan)]
        if not of_plan:
            return
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=_DRAWING, dir=self.folder) as drawing:
                files: dict[str, bytes] = {}
                for table in of_plan:
                    files.update(_draw(plan, table, self.store, Path(drawing), progress))
        self._write(view, made_from, files)
        for name in files:
            progress.say(f"Figure: {self.folder / name}")

    def update_overview(self, pages: Mapping[str, Page | None]) -> None:
        """Write the overview of some tasks where it is not that of their results."""
        if self.is_current("overview", self._all_made_from(pages, "")):
            return
        self.write_overview({task: self._tables(task, page) for task, page in pages.items()})

    def _tables(self, task: str, page: Page | None) -> Sequence[Table]:
        """Return the tables of a task: those of its page where that was just written."""
        if page is not None:
            return page.tables
        tables, _ = build(self.store, task)
        return tables

    def files(self, view: str) -> list[Path]:
        """Return the files of a view."""
        return [self.folder / name for name in self._state(view).get("files", {})]

    def stale(self) -> list[str]:
        """Return the tasks with results whose tables are not those of the results."""
        tasks = {str(record["task"]) for record in self.store.records().values()}
        return [
            task
            for task in sorted(tasks)
            if task in TASKS and not self.is_current(task, self.made_from(task))
        ]

    def is_current(self, view: str, made_from: str) -> bool:
        """Say whether a view was made from these results and its files are as they were written."""
        state = self._state(view)
        if state.get("made_from") != made_from:
            return False
        hashes = state["files"]
        return all(_hash(self.folder / name) == hashes[name] for name in hashes)

    def made_from(self, task: str, metric: str = "") -> str:
        """Return a digest of all that the tables of a task are made from: its results, their
        predictions as they are now, failures, and this program."""
        spec = TASKS.get(task)
        records = [*self.store.records().values(), *self.store.failures().values()]
        facts = sorted(
            (record_checksum(record), record["status"], self._state_of_predictions(record))
            for record in records
            if record.get("task") == task
        )
        damaged = [
            line.sentence for line in self.store.damaged() if line.record.get("task") == task
        ]
        version = [git_revision(), KINDS.get(spec.kind).evaluator_version]
        return digest([version, metric or spec.main_metric, facts, damaged])

    def _state_of_predictions(self, record: Mapping[str, object]) -> str:
        return self.store.fault(record) if record["status"] == "done" else ""

    def _all_made_from(self, tasks: Iterable[str], metric: str) -> str:
        return digest({task: self.made_from(task, metric) for task in tasks})

    def _write(self, view: str, made_from: str, files: Mapping[str, str | bytes]) -> None:
        """Write the files of a view, remove those it had before and has no more, then note it."""
        before = self._state(view).get("files", {})
        for name, content in files.items():
            write_atomically(self.folder / name, content)
        for name in before.keys() - files.keys():
            if _hash(self.folder / name) == before[name]:
                (self.folder / name).unlink()
        hashes = {name: _hash(self.folder / name) for name in files}
        state = json.dumps({"made_from": made_from, "files": hashes}, indent=1)
        write_atomically(self._state_path(view), state + "\n")

    def _state(self, view: str) -> dict[str, dict[str, str]]:
        """Return what was noted of a view, {} where that is missing or damaged."""
        path = self._state_path(view)
        try:
            state = json.loads(path.read_bytes()) if path.is_file() else {}
        except (ValueError, RecursionError):
            return {}
        whole = isinstance(state, dict) and isinstance(state.get("files"), dict)
        return state if whole else {}

    def _state_path(self, view: str) -> Path:
        return self.folder / f".{view}.json"


def _hash(path: Path) -> str:
    if not path.is_file():
        return ""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _is_of(table: Table, plan: TaskPlan) -> bool:
    """Say whether a table is of the data and the splits of a plan."""
    hashes = (plan.data_hash, plan.split_hash, plan.test_hash)
    return hashes == tuple(table.facts[f"hash:{name}"] for name in ("data", "split", "test"))


def _draw(
    plan: TaskPlan, table: Table, store: ResultStore, folder: Path, progress: Progress
) -> dict[str, bytes]:
    """Return the pictures of a table by their file names."""
    import numpy as np

    from bench.report.pairing import row_ids

    largest = table.columns[-1].fraction
    predictions = {
        table.names[str(record["key"])]: store.load_predictions(record)
        for record in table.records
        if record["label_fraction"] == largest
    }
    rows = {name: row_ids(of_row.table) for name, of_row in predictions.items()}
    order = next(iter(rows.values()))
    for name in [name for name, ids in rows.items() if ids != order]:
        progress.say(f"{name} is not in the picture: its images are in another order.")
        del predictions[name]
    test = plan.prepared.subset(plan.index[plan.index["split"] == "test"])
    test_row = {image: row for row, image in enumerate(test.index["image_id"].astype(str))}
    images = [image for image, *_ in order]
    if all(image in test_row for image in images):
        test = test.take(np.array([test_row[image] for image in images], np.int64))
    path = plan.kind.figure(plan.task, test, predictions, folder / f"{plan.task.name}.png")
    if path and plan.root.kind == "demo":
        stamp(path, DEMO_NOTE)
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.png"))}
