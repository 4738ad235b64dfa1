"""The store: last record counts, torn lines are left out, claims exclude, writes are atomic."""

import json
import multiprocessing
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.commands import verify_results_command
from bench.contracts import Predictions
from bench.errors import PlaceBenchError
from bench.results import ResultStore
from bench.storage import write_atomically


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


def _try_claim(root: Path, queue) -> None:
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
        "bench.storage.flush_to_disk", lambda _: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, json.dumps({"new": 1}))
    assert json.loads(target.read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe broken",
        b"[" * 100_000,
        b'{"key": ["a"], "status": "done"}',
        b'{"key": "b"}',
        b'["key", "status"]',
        b'{"key": "b", "status": "done", "task": "t", "seed": 0}',
    ],
)
def test_a_damaged_line_is_named_and_costs_itself_alone(
    line: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ResultStore(tmp_path)
    store.append({"key": "a", "status": "done"})
    with store.path.open("ab") as file:
        file.write(line + b"\n")
    assert list(store.records()) == ["a"]
    assert f"{store.path} line 2" in caplog.text


def test_a_store_that_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").mkdir()
    with pytest.raises(PlaceBenchError, match=r"results\.jsonl is a directory"):
        ResultStore(tmp_path).records()


def _damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[:-30])
    elif how == "a flipped bit":
        path.write_bytes(content[:60] + bytes([content[60] ^ 1]) + content[61:])
    elif how == "pickled":
        np.savez(path, **{"table:image_id": np.array([{}], dtype=object)})
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["cut", "a flipped bit", "pickled", "gone"])
def test_predictions_that_are_not_those_measured_are_named_and_made_again(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ResultStore(tmp_path)
    table = pd.DataFrame({"image_id": ["i"], "patient_id": ["p"], "value": [0.5]})
    named = store.save_predictions("k", Predictions(table))
    store.append({"key": "k", "status": "done", "hash:predictions": named})
    assert list(store.finished()) == ["k"]
    assert verify_results_command(tmp_path, cache=False) == 0
    path = store.predictions_path("k")
    _damage(path, how)
    assert store.finished() == {} and "k" in store.records()
    assert str(path) in store.fault(store.records()["k"])
    with pytest.raises(PlaceBenchError, match=re.escape(str(path))):
        store.load_predictions("k", named)
    assert verify_results_command(tmp_path, cache=False) == 2
    assert str(path) in capsys.readouterr().out
