"""The kind end to end on a tiny encoder: every head, every mode, what the result states, and its
statistics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sk

from bench.contracts import TASKS, Predictions, Subset, TaskSpec
from bench.core.errors import DataError
from bench.metrics.bootstrap import cluster_weights, point
from tasks.classification import ClassificationKind
from tasks.classification.augment import augment
from tests.support.progress import Said
from tests.tasks.fakes import Encoder, base_names, context, subset, task

KIND = ClassificationKind()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


def run(
    folder: Path,
    spec: TaskSpec,
    protocol: str = "default",
    encoder: Encoder | None = None,
    train: Subset | None = None,
    test: Subset | None = None,
    progress: Said | None = None,
    **changes: str | Any,
) -> Predictions:
    settings = KIND.settings(spec, protocol, "demo", changes)
    cell = context(spec, settings, folder, **({"progress": progress} if progress else {}))
    fitted = KIND.fit(encoder or Encoder(), train or subset(160, 1), subset(80, 2), cell)
    return KIND.predict(fitted, test or subset(100, 3), cell)


@pytest.mark.parametrize("head", ["logistic", "ridge", "knn", "linear", "finetune"])
@pytest.mark.parametrize("mode", ["multilabel", "binary", "multiclass"])
def test_every_head_learns(tmp_path: Path, head: str, mode: str) -> None:
    labels = {"multilabel": ("a", "b"), "binary": ("a",), "multiclass": ("a", "c")}[mode]
    data = [subset(n, seed) for n, seed in ((160, 1), (100, 3))]
    if mode == "multiclass":
        for part in data:
            part.index["label:c"] = 1 - part.index["label:a"]
    changes = {"lr": "0.02", "epochs": "4", "warmup": "0"} if head in ("linear", "finetune") else {}
    found = _run_with_val(tmp_path, task(labels=labels, mode=mode), data, head=head, **changes)
    statistics = KIND.statistics(found, task())
    assert point(statistics["auroc"], 100) > 0.85
    assert found.extra["head"] == head and found.extra["mode"] == mode
    low = statistics["auroc"](cluster_weights(found.table["patient_id"], 50))
    assert low.shape == (50,) and (low <= 1).all()


def _run_with_val(
    folder: Path, spec: TaskSpec, data: list[Subset], **changes: str | Any
) -> Predictions:
    settings = KIND.settings(spec, "default", "demo", changes)
    val = subset(80, 2)
    val.index["label:c"] = (
        1 - val.index["label:a"] if spec.options["mode"] == "multiclass" else val.index["label:c"]
    )
    cell = context(spec, settings, folder)
    return KIND.predict(KIND.fit(Encoder(), data[0], val, cell), data[1], cell)


@pytest.mark.parametrize("head", ["linear", "finetune"])
def test_one_image_more_than_whole_batches_trains(tmp_path: Path, head: str) -> None:
    found = run(tmp_path, task(), train=subset(17, 1), head=head, batch_size="8", epochs="1")
    assert np.isfinite(found.table[["score:a", "score:b"]]).all(axis=None)


def test_statistics_equal_scikit_learn(tmp_path: Path) -> None:
    found = run(tmp_path, task())
    table, statistics = (
        found.table,
        {name: point(f, 100) for name, f in KIND.statistics(found, task()).items()},
    )
    label, score = (
        table[["label:a", "label:b"]].to_numpy(),
        table[["score:a", "score:b"]].to_numpy(),
    )
    pred, prob = table[["pred:a", "pred:b"]].to_numpy(), table[["prob:a", "prob:b"]].to_numpy()
    assert statistics["auroc"] == pytest.approx(sk.roc_auc_score(label, score))
    assert statistics["auroc_micro"] == pytest.approx(
        sk.roc_auc_score(label, score, average="micro")
    )
    assert statistics["auprc_micro"] == pytest.approx(
        sk.average_precision_score(label, score, average="micro")
    )
    assert statistics["auprc"] == pytest.approx(sk.average_precision_score(label, score))
    assert statistics["f1"] == pytest.approx(sk.f1_score(label, pred, average="macro"))
    assert statistics["f1_micro"] == pytest.approx(sk.f1_score(label, pred, average="micro"))
    assert statistics["precision_micro"] == pytest.approx(
        sk.precision_score(label, pred, average="micro")
    )
    assert statistics["recall_micro"] == pytest.approx(
        sk.recall_score(label, pred, average="micro")
    )
    assert statistics["auroc:b"] == pytest.approx(sk.roc_auc_score(label[:, 1], score[:, 1]))
    assert statistics["brier:a"] == pytest.approx(((prob[:, 0] - label[:, 0]) ** 2).mean())
    women = (table["group:sex"] == "F").to_numpy()
    assert statistics["auroc@sex=F"] == pytest.approx(sk.roc_auc_score(label[women], score[women]))
    counted: Any = KIND.statistics(found, task())["auroc@sex=F"]
    assert counted.n == women.sum() == found.extra["n@sex=F"]
    assert statistics["undefined_classes"] == 0


def test_multiclass_statistics_equal_scikit_learn(tmp_path: Path) -> None:
    data = [subset(n, seed) for n, seed in ((160, 1), (100, 3))]
    for part in data:
        part.index["label:c"] = 1 - part.index["label:a"]
    found = _run_with_val(tmp_path, task(labels=("a", "c"), mode="multiclass"), data)
    statistics = {name: point(f, 100) for name, f in KIND.statistics(found, task()).items()}
    true, pred = (found.table[[f"{k}:a", f"{k}:c"]].to_numpy().argmax(1) for k in ("label", "pred"))
    assert statistics["accuracy"] == pytest.approx((true == pred).mean())
    assert statistics["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(true, pred))
    assert statistics["f1"] == pytest.approx(sk.f1_score(true, pred, average="macro"))
    assert statistics["mcc"] == pytest.approx(sk.matthews_corrcoef(true, pred))
    np.testing.assert_allclose(found.table["prob:a"] + found.table["prob:c"], 1)


def test_the_most_frequent_class_for_every_image_wins_accuracy_and_not_balanced_accuracy() -> None:
    labels = np.repeat([0, 1, 2], [20, 5, 5])
    table = pd.DataFrame({"image_id": range(30), "patient_id": [str(n) for n in range(30)]})
    for number, name in enumerate("abc"):
        table[f"label:{name}"] = (labels == number).astype(float)
        table[f"score:{name}"] = table[f"prob:{name}"] = [0.6, 0.2, 0.2][number]
        table[f"pred:{name}"] = float(number == 0)
    predictions = Predictions(table, {}, {"mode": "multiclass"})
    statistics = {name: point(f, 30) for name, f in KIND.statistics(predictions, task()).items()}
    assert statistics["accuracy"] == pytest.approx(20 / 30)
    assert statistics["balanced_accuracy"] == pytest.approx(1 / 3)
    assert statistics["auroc"] == 0.5
    covidx = TASKS.get("covidx_cls")
    assert KIND.metric_of(covidx, "default") == "balanced_accuracy"
    assert {KIND.metric_of(covidx, name) for name in ("mgca", "gloria", "benchx")} == {"accuracy"}


def test_a_class_with_one_value_is_undefined_and_said(tmp_path: Path) -> None:
    test, said = subset(60, 3), Said()
    test.index["label:b"] = 0.0
    found = run(tmp_path, task(), test=test, progress=said)
    statistics = {name: point(f, 60) for name, f in KIND.statistics(found, task()).items()}
    assert np.isnan(statistics["auroc:b"]) and statistics["auroc"] == statistics["auroc:a"]
    assert statistics["undefined_classes"] == 1 and found.extra["undefined_on_test"] == "b"
    assert any("AUROC undefined: b" in line for line in said.lines)


def test_ignored_labels_are_not_scored(tmp_path: Path) -> None:
    test = subset(60, 3)
    test.index.loc[:9, "label:a"] = -1
    found = run(tmp_path, task(uncertain="ignore"), test=test)
    assert found.table["label:a"].isna().sum() == 10
    counted: Any = KIND.statistics(found, task())["auroc:a"]
    assert counted.n == 50
    score, label = (found.table[f"{k}:a"].to_numpy()[10:] for k in ("score", "label"))
    assert point(KIND.statistics(found, task())["auroc:a"], 60) == pytest.approx(
        sk.roc_auc_score(label, score)
    )


def test_one_class_in_training(tmp_path: Path) -> None:
    train, said = subset(80, 1), Said()
    train.index["label:b"] = 0.0
    with pytest.raises(DataError, match="training images .* one label value only for b"):
        run(tmp_path, task(labels=("b",)), train=train)
    found = run(tmp_path, task(), train=train, progress=said)
    assert (
        found.extra["untrained_classes"] == "b"
        and "one label value only in training: b" in said.lines[0]
    )
    assert point(KIND.statistics(found, task())["auroc:b"], 100) == 0.5


def test_fine_tuning_leaves_the_encoder_alone(tmp_path: Path) -> None:
    encoder = Encoder()
    before = {name: value.clone() for name, value in encoder.module.state_dict().items()}
    for protocol in ("benchx", "gloria", "mgca"):
        run(tmp_path / protocol, task(), protocol, encoder, epochs="1", batch_size="40")
    assert all(
        torch.equal(before[name], value) for name, value in encoder.module.state_dict().items()
    )
    assert not encoder.module.training and all(p.requires_grad for p in encoder.module.parameters())


def test_thresholds(tmp_path: Path) -> None:
    half = run(tmp_path, task(), threshold="half")
    np.testing.assert_array_equal(half.table["pred:a"], half.table["prob:a"] > 0.5)
    tuned = {name: run(tmp_path, task(), threshold=name) for name in ("half", "validation", "test")}
    f1 = {
        name: point(KIND.statistics(found, task())["f1_micro"], 100)
        for name, found in tuned.items()
    }
    assert f1["test"] >= f1["half"]
    assert 0 < tuned["validation"].extra["threshold:a"] < 1


def test_same_numbers_twice_and_with_few_shots(tmp_path: Path) -> None:
    tables = [run(tmp_path, task(), shots="5").table for _ in range(2)]
    assert tables[0].equals(tables[1])
    assert run(tmp_path, task(), shots="5").extra["train_images"] <= 15


def test_subset_is_stratified_on_the_exclusive_class() -> None:
    index = subset(400).index
    index["label:c"] = ((index["label:a"] + index["label:b"]) == 0).astype(float)
    index["label:b"] = index["label:b"] * (1 - index["label:a"])
    spec = task(labels=("a", "b", "c"), mode="multiclass")
    part, larger = (KIND.subset(index, share, spec, "default", 0) for share in (0.05, 0.5))
    assert part is not None and larger is not None
    shares = [part[f"label:{name}"].mean() - index[f"label:{name}"].mean() for name in "abc"]
    assert np.abs(shares).max() < 0.05 and "label:" not in part
    assert set(part["image_id"]) < set(larger["image_id"])


@pytest.mark.parametrize("name", ["crop", "jitter", "resized_crop"])
def test_augmentations_are_seeded_and_stay_in_range(name: str) -> None:
    images = torch.rand(6, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    one, same, other = (
        augment(images, 16, name, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one.shape == (6, 1, 16, 16) and torch.equal(one, same) and not torch.equal(one, other)
    assert one.min() >= -1e-6 and one.max() <= 1 + 1e-6


def test_views_are_a_setting(tmp_path: Path) -> None:
    found = run(tmp_path, task(views=("PA",)))
    assert set(found.table["image_id"]) == set(
        subset(100, 3).index.query("view == 'PA'")["image_id"]
    )
    assert replace(KIND.settings(task(views=("PA",)), "default", "demo", {})).views == ("PA",)


@pytest.mark.parametrize("mode", ["multilabel", "binary", "multiclass"])
def test_the_metrics_named_beforehand_are_those_that_are_given(tmp_path: Path, mode: str) -> None:
    labels = {"multilabel": ("a", "b"), "binary": ("a",), "multiclass": ("a", "c")}[mode]
    data = [subset(n, seed) for n, seed in ((60, 1), (60, 3))]
    for part in data:
        part.index["label:c"] = 1 - part.index["label:a"]
    spec = task(labels=labels, mode=mode)
    found = _run_with_val(tmp_path, spec, data, head="knn", neighbours="5")
    named = KIND.metric_names(spec, KIND.settings(spec, "default", "demo", {}))
    assert base_names(KIND.statistics(found, spec)) == set(named)
