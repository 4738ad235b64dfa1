"""The store: last record counts, damaged lines and predictions do not, claims exclude, writes are
atomic."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import zipfile
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.cells.results import ResultStore
from bench.contracts import Predictions
from bench.core.errors import PlaceBenchError, StorageError
from bench.core.storage import write_atomically


def test_last_record_of_a_key_counts_and_failures_are_kept_apart(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.append({"key": "a", "status": "done", "value": 1})
    store.append({"key": "a", "status": "done", "value": 2})
    store.append({"key": "b", "status": "failed", "error": "x"})
    assert {key: record["value"] for key, record in store.records().items()} == {"a": 2}
    assert list(store.failures()) == ["b"]
    store.append({"key": "b", "status": "done", "value": 3})
    assert not store.failures()


def test_a_line_torn_by_a_kill_loses_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ResultStore(tmp_path)
    store.append({"key": "a", "status": "done"})
    with store.path.open("a") as file:
        file.write('{"key": "b", "stat')
    store.append({"key": "c", "status": "done"})
    assert sorted(store.records()) == ["a", "c"]
    assert "line 2 is torn" in caplog.text


def _append_many(root: Path, name: str) -> None:
    store = ResultStore(root)
    for number in range(50):
        store.append({"key": f"{name}{number}", "status": "done", "text": "x" * 500})


def test_two_processes_append_without_losing_a_line(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(tmp_path, name)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(ResultStore(tmp_path).records()) == 100


def _try_claim(root: Path, queue: Queue[bool]) -> None:
    with ResultStore(root).claim("cell", wait=False) as ours:
        queue.put(ours)


def test_a_claimed_cell_is_not_given_to_another_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with ResultStore(tmp_path).claim("cell") as ours:
        assert ours
        other = context.Process(target=_try_claim, args=(tmp_path, queue))
        other.start()
        assert queue.get(timeout=60) is False
        other.join(60)
    with ResultStore(tmp_path).claim("cell", wait=False) as ours:
        assert ours


def test_predictions_come_back_equal(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"image_id": ["a", "b"], "patient_id": ["1", "2"], "tp": [1, 2], "p": [0.5, 0.25]}
    )
    store = ResultStore(tmp_path)
    store.save_predictions(
        "k", Predictions(table, {"mask": np.arange(6, dtype=np.uint8)}, {"epochs": 3})
    )
    back = store.load_predictions("k")
    pd.testing.assert_frame_equal(back.table, table, check_dtype=False)
    np.testing.assert_array_equal(back.arrays["mask"], np.arange(6))
    assert back.extra == {"epochs": 3}
    with pytest.raises(PlaceBenchError, match="predictions of gone are missing"):
        store.load_predictions("gone")


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file.json"
    write_atomically(target, json.dumps({"old": 1}))
    monkeypatch.setattr(
        "bench.core.storage.flush_to_disk", lambda _: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, json.dumps({"new": 1}))
    assert json.loads(target.read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


FIRST_VERSION = {
    "key": "a",
    "status": "done",
    "task": "t",
    "title": "an old result",
    "backbone": "b",
    "architecture": "",
    "backbone_settings": {},
    "label_fraction": 1.0,
    "hash:checkpoint": "",
    "evaluator_version": 1,
    "metric:dice": 0.5,
}


@pytest.mark.parametrize(
    ("field", "value"),
    [("metric:dice", 0.95), ("seed", 1), ("title", ""), ("metric:new", 1), ("version:record", 3)],
)
def test_a_record_that_was_edited_does_not_count_and_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, field: str, value: object
) -> None:
    store = ResultStore(tmp_path)
    store.append({"key": "a", "status": "done", "title": "x | y", "metric:dice": 0.5, "seed": 0})
    record = json.loads(store.path.read_text())
    store.path.write_text(json.dumps(record | {field: value}) + "\n")
    assert store.records() == {} == ResultStore(tmp_path).records()
    assert caplog.text.count("line 1") == 1 and "was changed after it was written" in caplog.text


@pytest.mark.parametrize("field", ["checksum", "metric:dice", "key", "status"])
def test_a_record_that_lost_a_field_does_not_count(tmp_path: Path, field: str) -> None:
    store = ResultStore(tmp_path)
    store.append({"key": "a", "status": "done", "metric:dice": 0.5})
    record = json.loads(store.path.read_text())
    del record[field]
    store.path.write_text(json.dumps(record) + "\n")
    assert store.records() == {} == store.failures()
    assert len(store.damaged()) == 1


def test_the_order_of_fields_and_white_space_decide_nothing(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.append({"key": "a", "status": "done", "metric:dice": 0.1 + 0.2, "n": 3, "text": "\u00e9"})
    record = json.loads(store.path.read_text())
    store.path.write_text(json.dumps(dict(reversed(record.items())), separators=(" , ", " : ")))
    assert store.records()["a"]["metric:dice"] == 0.1 + 0.2


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[1, 2]",
        b"null",
        b"7",
        b'{"key": ["a"], "status": "done"}',
        b'{"key": {"a": 1}, "status": "done"}',
        b'{"key": "b", "status": ["done"]}',
        b'{"key": "b", "status": "done"}',
        b'{"key": "b", "n": ' + b"1" * 5000 + b"}",
        b"\x00" * 64,
    ],
)
def test_a_line_that_is_no_record_loses_nothing_else(tmp_path: Path, line: bytes) -> None:
    store = ResultStore(tmp_path)
    store.append({"key": "a", "status": "done"})
    with store.path.open("ab") as file:
        file.write(line + b"\n")
    store.append({"key": "c", "status": "failed"})
    assert list(store.records()) == ["a"] and list(store.failures()) == ["c"]
    assert [damaged.number for damaged in store.damaged()] == [2]


def test_a_damaged_line_is_forgotten_once_the_cell_has_a_result_again(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.append({"key": "a", "status": "done", "metric:dice": 0.5})
    store.path.write_text(store.path.read_text().replace("0.5", "0.6"))
    assert len(store.damaged()) == 1
    store.append({"key": "a", "status": "done", "metric:dice": 0.5})
    assert store.damaged() == []


def test_a_record_of_the_first_version_counts_where_it_is_whole(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    lines = [FIRST_VERSION, FIRST_VERSION | {"key": "b", "metric:dice": "high"}]
    lines += [{k: v for k, v in FIRST_VERSION.items() if k != "task"} | {"key": "c"}]
    lines += [FIRST_VERSION | {"key": "d", "label_fraction": "1"}]
    store.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert list(store.records()) == ["a"]
    sentences = [damaged.sentence for damaged in store.damaged()]
    assert "line 2 (an old result) has no number in 'metric:dice'" in sentences[0]
    assert "lacks 'task'" in sentences[1] and "lacks 'label_fraction'" in sentences[2]


def test_a_folder_in_the_place_of_the_results_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").mkdir()
    with pytest.raises(StorageError, match=r"results.jsonl is a directory"):
        ResultStore(tmp_path).records()


TABLE = pd.DataFrame({"image_id": ["a", "b"], "patient_id": ["1", "2"], "p": [0.5, 0.25]})


def _archive(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _columns(**other: np.ndarray) -> dict[str, np.ndarray]:
    known = {f"table:{name}": TABLE[name].to_numpy() for name in TABLE}
    known = {name: value.astype(str) if value.dtype == object else value
             for name, value in known.items()}  # fmt: skip
    return {"extra": np.array("{}"), **known, **other}


def _without(name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in _columns().items() if key != name}


def _bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999,), }"
        archive.writestr("table:image_id.npy", header.ljust(127) + b"\n")
    return buffer.getvalue()


UNREADABLE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "no archive": lambda content: b"rubbish" * 20,
    "pickled": lambda content: _archive(**_columns(extra=np.array([{}], object))),
    "no image_id": lambda content: _archive(**_without("table:image_id")),
    "no patient_id": lambda content: _archive(**_without("table:patient_id")),
    "no extra": lambda content: _archive(**_without("extra")),
    "uneven columns": lambda content: _archive(**_columns(**{"table:p": np.zeros(3)})),
    "a matrix": lambda content: _archive(**_columns(**{"table:p": np.zeros((2, 2))})),
    "huge": lambda content: _bomb(),
}
CHANGED: dict[str, Callable[[bytes], bytes]] = {
    "another encoder": lambda content: _archive(**_columns(**{"table:p": np.array([0.4, 0.2])})),
    "NaN": lambda content: _archive(**_columns(**{"table:p": np.array([np.nan, 0.2])})),
    "shuffled": lambda content: _archive(**{name: value if name == "extra" else value[::-1]
                                            for name, value in _columns().items()}),
}  # fmt: skip


@pytest.mark.parametrize("damage", [*UNREADABLE, *CHANGED])
def test_damaged_predictions_are_named_and_their_cell_has_no_result(
    tmp_path: Path, damage: str
) -> None:
    store = ResultStore(tmp_path)
    store.finish({"key": "k", "status": "done"}, Predictions(TABLE))
    assert list(store.finished(["k", "other"])) == ["k"]
    path = store.predictions_path("k")
    path.write_bytes((UNREADABLE | CHANGED)[damage](path.read_bytes()))
    assert store.finished(["k"]) == {}
    expected = f"predictions {path} are not those of their record. Run the task again"
    with pytest.raises(PlaceBenchError, match=expected):
        store.load_predictions("k")


@pytest.mark.parametrize("damage", UNREADABLE)
def test_damaged_predictions_of_the_first_version_are_named(tmp_path: Path, damage: str) -> None:
    store = ResultStore(tmp_path)
    store.save_predictions("k", Predictions(TABLE))
    path = store.predictions_path("k")
    path.write_bytes(UNREADABLE[damage](path.read_bytes()))
    with pytest.raises(PlaceBenchError, match=f"predictions {path} do not read: .* Run the task"):
        store.load_predictions("k")


def test_every_flipped_byte_of_predictions_is_noticed(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.finish({"key": "k", "status": "done"}, Predictions(TABLE))
    path = store.predictions_path("k")
    content = path.read_bytes()
    for place in range(0, len(content), 40):
        flipped = content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
        path.write_bytes(flipped)
        assert store.finished(["k"]) == {}
    path.write_bytes(content)
    assert list(store.finished()) == ["k"]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_stands_in_the_place_of_predictions_is_named(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    store = ResultStore(tmp_path)
    store.finish({"key": "k", "status": "done"}, Predictions(TABLE))
    store.predictions_path("k").unlink()
    make(store.predictions_path("k"))
    with pytest.raises(PlaceBenchError, match=r"k.npz is a (directory|pipe)"):
        store.load_predictions("k")


def test_what_dead_processes_left_is_removed_what_a_live_one_holds_is_not(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for key in ("finished", "held", "unfinished"):
        (store.work_dir(key) / "deep").mkdir(parents=True)
    for key in ("finished", "held"):
        store.append({"key": key, "status": "done"})
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / ".k.npz.12ab34cd.tmp").touch()
    with store.claim("held"):
        context = multiprocessing.get_context("spawn")
        other = context.Process(target=_tidy, args=(tmp_path,))
        other.start()
        other.join(60)
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["held", "unfinished"]
    assert list((tmp_path / "predictions").iterdir()) == []


def _tidy(root: Path) -> None:
    ResultStore(root).tidy()
