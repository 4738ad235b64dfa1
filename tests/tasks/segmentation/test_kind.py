"""Settings, presets, splits and the figure of the segmentation kind."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench.contracts import DATASETS, KINDS, Predictions
from bench.core.errors import SettingError, UnknownNameError
from bench.data.annotations import MaskRows, Masks
from bench.data.reference import split_for, subset_for
from bench.report.pictures import best_median_worst
from tasks.segmentation import SegmentationKind
from tasks.segmentation.metrics import count_pixels


@pytest.fixture
def kind() -> SegmentationKind:
    return SegmentationKind()


class _Reference:
    """A dataset whose published split puts image b in train and test."""

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame:
        if protocol != "mgca":
            return None
        again = index[index["image_id"] == "b"].assign(split="test")
        return pd.concat([index.assign(split=["train", "train", "val", "test"]), again])

    def reference_subset(
        self, train: pd.DataFrame, protocol: str, fraction: float, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        return train.iloc[:1] if protocol == "mgca" and fraction < 1 else None


INDEX = pd.DataFrame(
    {
        "image_id": list("abcd"),
        "patient_id": list("pqrs"),
        "path": list("wxyz"),
        "split": "",
        "label:x": [1, 0, 1, 0],
    }
)


def test_the_kind_is_registered() -> None:
    assert isinstance(KINDS.get("segmentation"), SegmentationKind)


def test_declaration_imports_nothing_heavy() -> None:
    code = (
        "import sys, tasks.segmentation; print([m for m in ('torch', 'pandas', 'numpy', 'mmseg') "
        "if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_presets_follow_the_protocols(kind: SegmentationKind, toy: SimpleNamespace) -> None:
    default, mgca = (kind.settings(toy.task, name, "paper", {}) for name in ("default", "mgca"))
    assert (default.frozen, default.batchnorm, default.threshold, default.monitor) == (
        True,
        "eval",
        None,
        "dice_global",
    )
    assert (mgca.lr, mgca.weight_decay, mgca.batch_size, mgca.patience, mgca.image_size) == (
        5e-4,
        0.05,
        8,
        10,
        224,
    )
    assert (mgca.frozen, mgca.batchnorm, mgca.threshold, mgca.monitor) == (
        True,
        "train",
        0.5,
        "loss",
    )
    assert (
        kind.settings(toy.task, "default", "demo", {"lr": "0.1", "threshold": "0.4"}).threshold
        == 0.4
    )


def test_gloria_fine_tunes_and_benchx_trains_upernet_by_iterations(
    kind: SegmentationKind, toy: SimpleNamespace
) -> None:
    gloria, benchx = (kind.settings(toy.task, name, "paper", {}) for name in ("gloria", "benchx"))
    assert (gloria.frozen, gloria.optimizer, gloria.weight_decay, gloria.image_size) == (
        False,
        "adam",
        1e-6,
        512,
    )
    assert (benchx.head, benchx.loss, benchx.monitor, benchx.augmentation) == (
        "upernet",
        "ce",
        "mdice",
        "flip",
    )
    assert benchx.steps_per_epoch is not None
    assert benchx.epochs * benchx.steps_per_epoch == 20_000 and benchx.warmup * 20_000 == 1500
    assert benchx.warmup_from_zero and not gloria.warmup_from_zero
    for protocol in kind.protocols():
        assert kind.settings(toy.task, protocol, "demo", {}).image_size <= 224


def test_unknown_protocol_names_the_nearest(kind: SegmentationKind, toy: SimpleNamespace) -> None:
    with pytest.raises(UnknownNameError, match="unknown protocol 'mcga'.*Did you mean mgca"):
        kind.settings(toy.task, "mcga", "demo", {})


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": "1.5"},
        {"epochs": "0"},
        {"cache_features": "true", "augment": "true"},
        {"lrr": "1"},
    ],
)
def test_impossible_settings_are_refused(
    kind: SegmentationKind, toy: SimpleNamespace, changes: dict[str, str]
) -> None:
    with pytest.raises((SettingError, UnknownNameError)):
        kind.settings(toy.task, "default", "demo", changes)


def test_reference_split_warns_with_counts(
    kind: SegmentationKind,
    toy: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(DATASETS, "get", lambda name: _Reference())
    with caplog.at_level(logging.WARNING):
        split = split_for(kind, INDEX, toy.task, "mgca", 0)
    assert len(split) == 5
    assert (
        "1 patients stand in more than one split" in caplog.text and "protocol mgca" in caplog.text
    )
    assert len(subset_for(kind, split, 0.1, toy.task, "mgca", 0)) == 1
    assert set(subset_for(kind, INDEX, 1.0, toy.task, "mgca", 0)["image_id"]) == set("abcd")


def test_default_split_has_no_leak_and_no_reference(
    kind: SegmentationKind,
    toy: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(DATASETS, "get", lambda name: _Reference())
    split = split_for(kind, INDEX, toy.task, "default", 0)
    assert len(split) == 4 and not caplog.text
    assert set(split["split"]) == {"train", "val", "test"}


def test_a_dataset_without_the_reference_split_is_refused(
    kind: SegmentationKind, toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Reference, "reference_split", lambda *_: None)
    monkeypatch.setattr(DATASETS, "get", lambda name: _Reference())
    with pytest.raises(SettingError, match="'toy' has no 'mgca' split"):
        split_for(kind, INDEX, toy.task, "mgca", 0)


# ------------------------------------------------------------------------------------------- figure
def test_figure_has_a_row_per_method(
    kind: SegmentationKind, toy: SimpleNamespace, tmp_path: Path
) -> None:
    from matplotlib.image import imread

    test = toy.blobs(8, seed=3)
    masks = test.masks(slice(None))
    counts = count_pixels(masks, masks)[:, 0]
    table = test.index.assign(
        **{f"{part}:blob": counts[:, k] for k, part in enumerate(("tp", "pred", "target"))}
    )
    predictions = Predictions(
        table.assign(pixels=toy.size**2), {"masks": np.packbits(masks, axis=-1)}
    )
    heights = []
    for methods in ({"one": predictions}, {"one": predictions, "a_b <x> %": predictions}):
        path = kind.figure(toy.task, test, methods, tmp_path / "deep" / f"{len(methods)}.png")
        assert path is not None
        heights.append(imread(path).shape[0])
    assert heights[1] > heights[0] > 300


def test_each_of_several_classes_has_its_colour_and_its_name(
    kind: SegmentationKind, toy: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []
    monkeypatch.setattr(
        "tasks.segmentation.figures.save", lambda figure, out: figures.append(figure)
    )
    test = toy.blobs(4, seed=3)
    blob = np.zeros_like(test.masks(slice(None)))
    blob[:, :, 5:20, 5:20] = 1
    truth = np.concatenate([np.ones_like(blob), blob], axis=1)
    test = replace(test, annotations={Masks: MaskRows(truth, np.arange(4), ("square", "blob"))})
    predicted = np.concatenate([np.ones_like(blob), np.roll(blob, 5, axis=3)], axis=1)
    counts = count_pixels(predicted, truth)
    table = test.index.assign(pixels=toy.size**2)
    for c, name in enumerate(("lung", "opacity")):
        for k, part in enumerate(("tp", "pred", "target")):
            table[f"{part}:{name}"] = counts[:, c, k]
    method = Predictions(table, {"masks": np.packbits(predicted, axis=-1)})
    kind.figure(toy.task, test, {"one": method}, tmp_path / "x.png")
    (figure,) = figures
    top, bottom = figure.subfigs
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:2] == ["lung", "opacity"]
    lung, opacity = (patch.get_facecolor()[:3] for patch in legend.get_patches())
    assert lung != opacity
    best = top.axes[0]
    tints = [image.get_array() for image in best.images[1:]]
    for tint, colour in zip(tints, (lung, opacity), strict=True):
        np.testing.assert_allclose(tint.reshape(-1, 4).max(axis=0)[:3], colour)
    assert best.get_title().startswith("best: lung 1.00, opacity 0.")
    words = [axis.get_title() + axis.get_xlabel() for axis in bottom.axes]
    assert [("lung" in text, "opacity" in text) for text in words] == [(True, False), (False, True)]
    assert not any("lesion" in text for text in words)


def test_examples_are_best_median_and_worst_of_those_with_a_lesion() -> None:
    scores, lesion = (
        np.array([0.9, 0.1, 0.5, 1.0, np.nan]),
        np.array([True, True, True, False, True]),
    )
    assert best_median_worst(scores, lesion) == {"best": 0, "median": 1, "worst": 4}
    assert best_median_worst(scores, np.zeros(5, bool)) == {}
