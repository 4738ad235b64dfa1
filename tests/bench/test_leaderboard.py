"""Tables: only comparable results side by side, best bold, ties marked, demo kept apart and labelled."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench import contracts, leaderboard
from bench.contracts import Predictions, TaskSpec
from bench.errors import PlaceBenchError
from bench.results import ResultStore


class _FakeKind:
    evaluator_version = 1

    def statistics(self, predictions: Predictions, task: TaskSpec) -> dict[str, Any]:
        values = predictions.table["value"].to_numpy()
        return {"score": lambda weights: weights @ values / weights.sum(axis=1)}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ResultStore]:
    contracts.TASKS.names()
    monkeypatch.setitem(contracts.TASKS._items, "fake_task", TaskSpec("fake_task", "fake", "none", "A fake task", "score"))
    monkeypatch.setitem(contracts.KINDS._items, "fake", _FakeKind())
    yield ResultStore(tmp_path)


def add(store: ResultStore, backbone: str, mean: float, *, fraction: float = 1.0, seed: int = 0, **facts: Any) -> None:
    """Append a result whose 200 per-image values are the same noise around `mean` for every backbone."""
    key = f"{backbone}-{fraction}-{seed}-{len(facts)}-{sorted(facts.items())}".replace("/", "_")
    noise = np.random.default_rng(5).normal(scale=0.1, size=200)
    values = noise - noise.mean() + mean
    table = pd.DataFrame({"image_id": np.arange(200).astype(str), "patient_id": np.arange(200).astype(str), "value": values})
    store.save_predictions(key, Predictions(table))
    record = {
        "key": key,
        "status": "done",
        "title": f"{backbone} {facts}",
        "task": "fake_task",
        "backbone": backbone,
        "architecture": "net",
        "backbone_settings": {},
        "label_fraction": fraction,
        "seed": seed,
        "protocol": "default",
        "profile": "demo",
        "data_kind": "demo",
        "hash:data": "d",
        "hash:test": "t",
        "hash:checkpoint": "",
        "settings_id": "s",
        "evaluator_version": 1,
    }
    store.append(record | facts)


def test_best_is_bold_and_only_paired_ties_are_marked(store: ResultStore) -> None:
    add(store, "good", 0.8)
    add(store, "near", 0.799)  # always 0.001 worse on the same images: certain, not a tie
    (table,), _ = leaderboard.build(store, "fake_task")
    text = leaderboard.to_markdown(table)
    assert "| good (net) | **0.800 [" in text
    assert "=" not in text.split("| near (net) |")[1].split("\n")[0]
    assert table.rows == ["good (net)", "near (net)"]


def test_mean_over_seeds_and_missing_cells(store: ResultStore) -> None:
    add(store, "a", 0.4, seed=0)
    add(store, "a", 0.6, seed=1)
    add(store, "b", 0.7, fraction=0.1)
    (table,), _ = leaderboard.build(store, "fake_task")
    low, full = table.columns
    assert np.isclose(full.estimates["a (net)"].value, 0.5)
    assert "n/a" in leaderboard.to_markdown(table) and low.fraction == 0.1 and full.seeds == {"a (net)": 2}


@pytest.mark.parametrize("fact", ["data_kind", "protocol", "profile", "hash:data", "hash:test", "settings_id"])
def test_what_is_not_comparable_never_shares_a_table(store: ResultStore, fact: str) -> None:
    add(store, "a", 0.5)
    add(store, "b", 0.6, **{fact: "other"})
    tables, _ = leaderboard.build(store, "fake_task")
    assert [table.rows for table in tables] == [["a (net)"], ["b (net)"]] or [t.rows for t in tables] == [
        ["b (net)"],
        ["a (net)"],
    ]


def test_another_evaluator_version_is_left_out_and_said(store: ResultStore) -> None:
    add(store, "a", 0.5)
    add(store, "old", 0.9, evaluator_version=0)
    (table,), left_out = leaderboard.build(store, "fake_task")
    assert table.rows == ["a (net)"] and "evaluator version 0, now 1" in left_out[0]


def test_two_checkpoints_of_one_name_are_two_rows(store: ResultStore) -> None:
    add(store, "a", 0.5, **{"hash:checkpoint": "aaaaaa11"})
    add(store, "a", 0.6, **{"hash:checkpoint": "bbbbbb22"})
    (table,), _ = leaderboard.build(store, "fake_task")
    assert table.rows == ["a (net) [bbbbbb]", "a (net) [aaaaaa]"]


def test_demo_and_real_go_to_different_files(store: ResultStore, tmp_path: Path) -> None:
    add(store, "a", 0.5)
    leaderboard.write(store, "fake_task", tmp_path)
    assert "says nothing clinical" in (tmp_path / "fake_task.md").read_text()
    add(store, "a", 0.5, data_kind="real")
    leaderboard.write(store, "fake_task", tmp_path)
    assert "says nothing clinical" not in (tmp_path / "fake_task.md").read_text()
    assert "says nothing clinical" in (tmp_path / "fake_task.demo.md").read_text()
    assert set(pd.read_csv(tmp_path / "fake_task.csv")["data_kind"]) == {"real"}


def test_unknown_metric_names_the_known_ones(store: ResultStore) -> None:
    add(store, "a", 0.5)
    with pytest.raises(PlaceBenchError, match="no metric 'dice'. Known: score"):
        leaderboard.build(store, "fake_task", "dice")
