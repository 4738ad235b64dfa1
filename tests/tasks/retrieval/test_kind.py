"""The retrieval kind end to end on a tiny encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.contracts import Predictions, Subset, TaskSpec
from bench.core.errors import DataError, NotApplicableError, SettingError
from bench.metrics.bootstrap import cluster_weights, point
from tasks.retrieval import RetrievalKind
from tasks.retrieval.fit import pair
from tests.tasks.fakes import Encoder, base_names, context, subset, task

KIND = RetrievalKind()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


def run(
    folder: Path,
    encoder: Encoder | None = None,
    test: Subset | None = None,
    protocol: str = "default",
    spec: TaskSpec | None = None,
    **changes: Any,
) -> tuple[Predictions, dict[str, float]]:
    spec = spec or task(labels=("a", "b"))
    cell = context(spec, KIND.settings(spec, protocol, "demo", changes), folder, data_key="d")
    data = test or subset(60, 3)
    found = KIND.predict(KIND.fit(encoder or Encoder(), data, data, cell), data, cell)
    return found, {
        name: point(f, len(found.table)) for name, f in KIND.statistics(found, spec).items()
    }


def test_reports_are_found_by_their_images(tmp_path: Path) -> None:
    found, statistics = run(tmp_path)
    assert found.extra["reports"] == 4 and found.extra["images"] == 60
    assert (
        statistics["i2t_p@1"] > 0.6 and statistics["i2t_r@1"] > 0.6 and statistics["t2i_p@5"] > 0.4
    )
    assert statistics["i2t_mean_rank"] < 2
    values = KIND.statistics(found, task())["i2t_p@1"](
        cluster_weights(found.table["patient_id"], 20)
    )
    assert values.shape == (20,) and values.std() > 0


def test_a_random_order_finds_what_guessing_finds(tmp_path: Path) -> None:
    """Expected of n reports in random order: mean rank (n + 1) / 2, and among the first k the share
    of reports that are relevant."""
    data = subset(300, 3)
    data.index["report"] = [f"{text} {i}" for i, text in enumerate(data.index["report"])]
    spec = task(labels=("a", "b"))
    cell = context(spec, KIND.settings(spec, "default", "demo", {}), tmp_path, data_key="d")
    random_order = KIND.baseline("random_order")(data, data, cell)
    found = KIND.predict(random_order, data, cell)
    values = {name: point(f, 300) for name, f in KIND.statistics(found, spec).items()}
    assert found.extra["reports"] == 300
    assert values["i2t_mean_rank"] == pytest.approx(150.5, abs=4 * 300 / 12**0.5 / 300**0.5)
    labels = data.index[["label:a", "label:b"]].to_numpy()
    relevant = (labels[:, None] == labels[None]).all(axis=2).mean()
    assert values["i2t_p@10"] == pytest.approx(relevant, abs=4 * 0.5 / 3000**0.5)


def test_both_similarities_agree_where_the_method_is_global(tmp_path: Path) -> None:
    own, cosine = run(tmp_path)[1], run(tmp_path, similarity="global")[1]
    assert own["i2t_r@1"] == pytest.approx(cosine["i2t_r@1"], abs=0.05)


def test_identical_reports_are_one(tmp_path: Path) -> None:
    index = subset(20).index
    index["report"] = ["Normal."] * 10 + ["normal. "] * 5 + [f"left {i}" for i in range(5)]
    settings = KIND.settings(task(), "default", "demo", {})
    pairs = pair(index, settings)
    assert len(pairs.texts) == 6 and (pairs.text_of[:15] == 0).all()
    assert (
        len(pair(index, KIND.settings(task(), "default", "demo", {"identical_as_one": "no"})).texts)
        == 20
    )


def test_images_without_report_are_counted(tmp_path: Path) -> None:
    data = subset(30, 3)
    data.index.loc[:4, "report"] = " "
    found, _ = run(tmp_path, test=data)
    assert found.extra["images_without_report"] == 5 and len(found.table) == 25
    data.index["report"] = ""
    with pytest.raises(DataError, match="0 of 30 images have a report"):
        run(tmp_path, test=data)


def test_without_labels_only_the_own_report_counts(tmp_path: Path) -> None:
    spec = task(labels=())
    _, statistics = run(tmp_path, spec=spec)
    assert "i2t_r@1" in statistics and "i2t_p@1" not in statistics


def test_groups_of_a_batch_make_it_easier(tmp_path: Path) -> None:
    _, whole = run(tmp_path, identical_as_one="no")
    found, batch = run(tmp_path, protocol="benchx")
    assert found.extra["reports"] == 60
    assert batch["i2t_r@5"] > whole["i2t_r@5"]
    assert set(np.unique(found.table["i2t_p@10"])) <= {x / 10 for x in range(9)}


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="retrieval needs a text encoder"):
        run(tmp_path, Encoder(has_text=False))
    with pytest.raises(SettingError, match="'batch' is 1.*at least 2"):
        KIND.settings(task(), "default", "demo", {"batch": "1"})
    with pytest.raises(DataError, match="no column 'findings'"):
        run(tmp_path, text="findings")


@pytest.mark.parametrize("labels", [("a", "b"), ()])
def test_the_metrics_named_beforehand_are_those_that_are_given(
    tmp_path: Path, labels: tuple[str, ...]
) -> None:
    spec = task(labels=labels)
    named = KIND.metric_names(spec, KIND.settings(spec, "default", "demo", {"ks": "1,7"}))
    assert base_names(run(tmp_path, spec=spec, ks="1,7")[1]) == set(named)
