"""Settings, presets, figure and registration of the detection kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench.contracts import KINDS
from bench.core.errors import SettingError, UnknownNameError
from bench.data.annotations import Boxes
from tasks.detection import DetectionKind
from tasks.detection.metrics import best_confidence, image_scores
from tests.tasks.detection.cases import as_predictions, random_case


@pytest.fixture
def kind() -> DetectionKind:
    return DetectionKind()


def test_the_kind_is_registered() -> None:
    assert isinstance(KINDS.get("detection"), DetectionKind)


def test_declaration_imports_nothing_heavy() -> None:
    code = (
        "import sys, tasks.detection; print([m for m in ('torch', 'pandas', 'numpy', 'mmdet') if "
        "m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_presets_follow_the_protocols(kind: DetectionKind, toy: SimpleNamespace) -> None:
    default, mgca = (kind.settings(toy.task, name, "paper", {}) for name in ("default", "mgca"))
    assert (default.frozen, default.batchnorm, default.monitor, default.mgca_filter) == (
        True,
        "eval",
        "map_rsna",
        False,
    )
    assert (mgca.head, mgca.lr, mgca.weight_decay, mgca.batch_size, mgca.patience) == (
        "yolov3",
        5e-4,
        1e-6,
        16,
        10,
    )
    assert (mgca.batchnorm, mgca.monitor, mgca.image_size, mgca.augment, mgca.channels) == (
        "train",
        "map_mgca",
        224,
        False,
        128,
    )


def test_unknown_protocol_names_the_nearest(kind: DetectionKind, toy: SimpleNamespace) -> None:
    with pytest.raises(UnknownNameError, match="unknown protocol 'mcga'.*Did you mean mgca"):
        kind.settings(toy.task, "mcga", "demo", {})


@pytest.mark.parametrize(
    "changes",
    [
        {"min_score": "1.5"},
        {"epochs": "0"},
        {"augment": "true"},
        {"channels": "20"},
        {"monitor": "map_mgca"},
        {"lrr": "1"},
    ],
)
def test_impossible_settings_are_refused(
    kind: DetectionKind, toy: SimpleNamespace, changes: dict[str, str]
) -> None:
    with pytest.raises((SettingError, UnknownNameError)):
        kind.settings(toy.task, "default", "demo", changes)


def test_figure_has_a_row_per_method(
    kind: DetectionKind, toy: SimpleNamespace, tmp_path: Path
) -> None:
    from matplotlib.image import imread

    test = toy.squares(12)
    _, found = random_case(0, images=12, classes=1)
    predictions = as_predictions(test.get(Boxes).lists, found, ("box",), {"confidence": 0.3})
    heights = []
    for methods in ({"one": predictions}, {"one": predictions, "a_b <x> %": predictions}):
        path = kind.figure(toy.task, test, methods, tmp_path / "deep" / f"{len(methods)}.png")
        assert path is not None
        heights.append(imread(path).shape[0])
    assert heights[1] > heights[0] > 300


def test_figure_of_a_method_that_finds_nothing(
    kind: DetectionKind, toy: SimpleNamespace, tmp_path: Path
) -> None:
    test = toy.squares(6)
    predictions = as_predictions(
        test.get(Boxes).lists, [np.zeros((0, 6), np.float32)] * 6, ("box",), {"confidence": 1.0}
    )
    path = kind.figure(toy.task, test, {"nothing": predictions}, tmp_path / "x.png")
    assert path is not None and path.stat().st_size > 0


# --------------------------------------------------------------------------------------- confidence
BOX = [10, 10, 30, 30, 0]


def test_image_score_is_that_of_the_rsna_challenge() -> None:
    truth = [
        np.array([BOX], np.float32),
        np.array([BOX], np.float32),
        np.zeros((0, 5), np.float32),
        np.zeros((0, 5), np.float32),
    ]
    low = [10, 10, 30, 20, 0]  # IoU 0.5: hits at 0.40, 0.45 and 0.50 of eight thresholds
    found = [[[*low, 0.9]], [[*BOX, 0.2]], [[*BOX, 0.8]], [[*BOX, 0.1]]]
    predictions = as_predictions(
        truth, [np.array(f, np.float32) for f in found], ("a",), {"confidence": 0.5}
    )
    scores = image_scores(predictions)
    assert scores[:3].tolist() == pytest.approx([3 / 8, 0.0, 0.0]) and np.isnan(scores[3])


def test_best_confidence_is_where_f1_is_highest() -> None:
    truth = [np.array([BOX], np.float32)] * 2
    found = [
        np.array([[*BOX, 0.9]], np.float32),
        np.array([[*BOX, 0.6], [40, 40, 60, 60, 0, 0.3]], np.float32),
    ]
    assert best_confidence(as_predictions(truth, found, ("a",))) == pytest.approx(0.6)
    assert best_confidence(as_predictions(truth, [np.zeros((0, 6), np.float32)] * 2, ("a",))) == 1.0
