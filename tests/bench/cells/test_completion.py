"""A finished result that lacks metrics is measured from its predictions, or named with the way
on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.cells.completion import complete_results
from bench.cells.results import ResultStore
from bench.contracts import Basis, Predictions
from tests.support.progress import Said

REASON = "bleu is missing: the counter was not found. Install it."


class CountingKind:
    """A kind whose second metric needs a program; `ready` says whether that is there."""

    def __init__(self, ready: bool) -> None:
        self.ready = ready

    def complete(self, predictions: Predictions, settings: Any) -> Predictions | None:
        if not self.ready:
            return None
        arrays = {**predictions.arrays, "bleu": np.full(len(predictions.table), 0.5)}
        return Predictions(predictions.table, arrays, {"epochs": 3})

    def basis(self, predictions: Predictions, metric: str) -> Basis:
        return Basis()

    def statistics(self, predictions: Predictions, task: Any) -> dict[str, Any]:
        names = ("f1", "bleu")
        values = {name: predictions.arrays[name] for name in names if name in predictions.arrays}
        return {
            name: lambda weights, values=value: weights @ values / weights.sum(axis=1)
            for name, value in values.items()
        }


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """A folder with one whole result (`a`) and two that lack a metric."""
    store = ResultStore(tmp_path)
    table = pd.DataFrame({"image_id": ["1", "2", "3"], "patient_id": ["x", "x", "y"]})
    for key in "abc":
        lacking = {"missing:bleu": REASON} if key != "a" else {}
        predictions = Predictions(table, {"f1": np.array([1.0, 0.0, 1.0])}, lacking)
        store.save_predictions(key, predictions)
        facts = {f"fit:{name}": value for name, value in lacking.items()}
        store.append({"key": key, "status": "done", "title": key, "metric:f1": 2 / 3, **facts})
    return store


def jobs(ready: bool) -> list[Any]:
    plan = SimpleNamespace(kind=CountingKind(ready), task=None, settings=None)
    return [SimpleNamespace(cell=SimpleNamespace(key=key), plan=plan) for key in "abcd"]


def test_what_can_be_measured_now_is(store: ResultStore) -> None:
    heard = Said()
    assert complete_results(jobs(ready=True), store, heard) == 2
    records = store.records()
    for key in "bc":
        assert records[key]["metric:bleu"] == 0.5
        assert records[key]["metric:f1"] == pytest.approx(2 / 3)
        assert records[key]["title"] == key and records[key]["fit:epochs"] == 3
        assert not any(name.startswith("fit:missing") for name in records[key])
        assert "bleu" in store.load_predictions(key).arrays
    assert "metric:bleu" not in records["a"]
    assert heard.lines == ["2 result(s) lacked metrics, which were measured now."]
    assert complete_results(jobs(ready=True), store, Said()) == 0


def test_what_cannot_be_measured_is_named_with_its_reason_and_force(store: ResultStore) -> None:
    heard, before = Said(), store.path.read_bytes()
    assert complete_results(jobs(ready=False), store, heard) == 0
    assert heard.lines == [
        "2 result(s) were made before without all metrics: bleu is missing: the counter was not "
        "found. Install it. Once that is solved, run again with --force."
    ]
    assert store.path.read_bytes() == before


def test_a_result_whose_predictions_are_gone_is_named_too(store: ResultStore) -> None:
    for key in "bc":
        store.predictions_path(key).unlink()
    heard = Said()
    assert complete_results(jobs(ready=True), store, heard) == 0
    assert "--force" in heard.lines[0]
