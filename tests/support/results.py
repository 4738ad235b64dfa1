"""A store with results of a made-up kind."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench import contracts
from bench.cells.results import ResultStore
from bench.contracts import Basis, Predictions, TaskSpec
from bench.core.hashing import digest


class _FakeKind:
    name = "fake"
    evaluator_version = 1
    metrics = ("score", "mean_rank", "nothing", "never_measured")
    lower_is_better = ("*_rank",)

    trained = True

    def metric_of(self, task: TaskSpec, protocol: str) -> str:
        return task.main_metric

    def basis(self, predictions: Predictions, metric: str) -> Basis:
        return Basis()

    def statistics(self, predictions: Predictions, task: TaskSpec) -> dict[str, Any]:
        values = predictions.table["value"].to_numpy()
        mean = lambda weights: weights @ values / weights.sum(axis=1)  # noqa: E731
        return {
            "score": mean,
            "mean_rank": mean,
            "nothing": lambda weights: np.full(len(weights), np.nan),
        }


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ResultStore]:
    contracts.TASKS.names()
    monkeypatch.setitem(
        contracts.TASKS._items,
        "fake_task",
        TaskSpec("fake_task", "fake", "none", "A fake task", "score"),
    )
    monkeypatch.setitem(contracts.KINDS._items, "fake", _FakeKind())
    yield ResultStore(tmp_path)


def add(
    store: ResultStore,
    backbone: str,
    mean: float,
    named: Mapping[str, Any] | None = None,
    *,
    fraction: float = 1.0,
    seed: int = 0,
    **others: Any,
) -> None:
    """Append a result whose 200 per-image values are the same noise around `mean` for every
    backbone; fields whose names are no words of Python stand in `named`."""
    facts = {**(named or {}), **others}
    name = f"{backbone}-{fraction}-{seed}".replace("/", "_")
    key = f"{name}-{digest(sorted(facts.items()))}"
    noise = np.random.default_rng(5).normal(scale=0.1, size=200)
    values = noise - noise.mean() + mean
    table = pd.DataFrame(
        {
            "image_id": np.arange(200).astype(str),
            "patient_id": np.arange(200).astype(str),
            "value": values,
        }
    )
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
    store.finish(record | facts, Predictions(table))
