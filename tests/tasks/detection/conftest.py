"""A tiny encoder and tiny images with boxes for the detection tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from bench.contracts import CellContext, Features, InputSpec, Subset, TaskSpec
from bench.core.progress import Silent
from bench.data.annotations import Boxes, BoxRows
from tasks.detection.settings import PRESETS

SIZE = 64
TASK = TaskSpec(
    name="toy_det", kind="detection", dataset="toy", title="toy", main_metric="map_rsna"
)
FAST = {
    "image_size": SIZE,
    "channels": 16,
    "head_convs": 1,
    "batch_size": 8,
    "epochs": 2,
    "steps_per_epoch": 3,
    "val_every": 1,
}
FAST |= {"cached_views": 2}


class TinyBackbone:
    """Strided convolutions with BatchNorm at strides 4, 8, 16, 32; as `vit` the map of stride 16
    four times."""

    name, architecture, has_text = "tiny", "tiny", False
    pooled_dim = patch_dim = 16
    input = InputSpec(size=SIZE, resize=SIZE)

    def __init__(self, family: str = "resnet", seed: int = 0) -> None:
        self.family = family
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            widths = ((3, 16, 4), (16, 16, 2), (16, 16, 2), (16, 16, 2))
            stages = [
                nn.Sequential(nn.Conv2d(a, b, s + 1, s, s // 2), nn.BatchNorm2d(b), nn.ReLU())
                for a, b, s in widths
            ]
        self.module = nn.ModuleList(stages).eval()
        self.pyramid_strides = (4, 8, 16, 32) if family == "resnet" else (16,) * 4
        self.pyramid_channels = (16,) * 4

    def features(self, images: torch.Tensor) -> Features:
        maps = []
        for stage in self.module:
            images = stage(images)
            maps.append(images)
        maps = maps if self.family == "resnet" else [maps[2]] * 4
        last = maps[-1]
        height, width = last.shape[2:]
        return Features(
            last.mean((2, 3)), last.flatten(2).transpose(1, 2), (height, width), tuple(maps)
        )


def squares(n: int, classes: int = 1, seed: int = 0) -> Subset:
    """Bright rectangles on noise in about two thirds of the images; with two classes also dark
    ones."""
    rng = np.random.default_rng(seed)
    images, boxes = rng.normal(120, 10, (n, SIZE, SIZE)), []
    for i in range(n):
        own = np.zeros((0, 5), np.float32)
        for kind in rng.permutation(classes)[: rng.integers(0, 2) + (rng.random() < 0.4)]:
            x, y, w, h = *rng.integers(4, 34, 2), *rng.integers(14, 26, 2)
            own = np.concatenate([own, np.array([[x, y, x + w, y + h, kind]], np.float32)])
            images[i, y : y + h, x : x + w] += 100 if kind == 0 else -100
        boxes.append(own)
    index = pd.DataFrame(
        {
            "image_id": [f"i{seed}_{k}" for k in range(n)],
            "patient_id": [f"p{seed}_{k // 2}" for k in range(n)],
        }
    )
    names = ("box", "pit")[:classes]
    pixels = np.clip(images, 0, 255).astype(np.uint8)
    return Subset(index, np.arange(n), pixels, {Boxes: BoxRows(tuple(boxes), names)})


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., Any]:
    """Return a function from setting changes to a cell context with a folder of its own."""

    def make(
        protocol: str = "default",
        folder: str = "work",
        seed: int = 0,
        **changes: Any,
    ) -> CellContext:
        settings = replace(PRESETS[protocol]["demo"], **{**FAST, **changes})
        return CellContext(TASK, settings, tmp_path / folder, "cpu", seed, "demo", Silent())

    return make


@pytest.fixture
def toy() -> SimpleNamespace:
    """Return the tiny encoder class, the image maker and the task."""
    return SimpleNamespace(Backbone=TinyBackbone, squares=squares, task=TASK, size=SIZE)
