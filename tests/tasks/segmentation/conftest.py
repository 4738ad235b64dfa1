"""A tiny encoder and tiny images for the segmentation tests."""

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
from bench.data.annotations import MaskRows, Masks
from tasks.segmentation.settings import PRESETS

SIZE = 32
TASK = TaskSpec(
    name="toy_seg", kind="segmentation", dataset="toy", title="toy", main_metric="dice_per_image"
)
FAST = {
    "image_size": SIZE,
    "unet_channels": (8, 8),
    "setr_channels": (8, 8),
    "batch_size": 8,
    "epochs": 3,
    "steps_per_epoch": 4,
}


class TinyBackbone:
    """Three strided convolutions with BatchNorm; as `vit` its last map stands for the token
    grid."""

    name, architecture, has_text = "tiny", "tiny", False
    pooled_dim = patch_dim = 8
    input = InputSpec(size=SIZE, resize=SIZE)

    def __init__(self, family: str = "resnet", seed: int = 0) -> None:
        self.family = family
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            stages = [
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())
                for a, b in ((3, 8), (8, 8))
            ]
        self.module = nn.ModuleList(stages)
        self.pyramid_strides = (2, 4) if family == "resnet" else (4, 4)
        self.pyramid_channels = (8, 8)

    def features(self, images: torch.Tensor) -> Features:
        fine = self.module[0](images)
        coarse = self.module[1](fine)
        maps = (fine, coarse) if self.family == "resnet" else (coarse, coarse)
        return Features(
            coarse.mean((2, 3)), coarse.flatten(2).transpose(1, 2), tuple(coarse.shape[2:]), maps
        )


def blobs(n: int, classes: int = 1, seed: int = 0) -> Subset:
    """Dark discs on noise in about half of the images; with two classes a bright square too, which
    may overlap."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    images, masks = (
        rng.normal(130, 20, (n, SIZE, SIZE)),
        np.zeros((n, classes, SIZE, SIZE), np.uint8),
    )
    for i in np.flatnonzero(rng.random(n) < 0.6):
        y, x, radius = *rng.integers(8, 24, 2), rng.integers(4, 7)
        masks[i, 0] = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        images[i][masks[i, 0] == 1] -= 90
        if classes == 2:
            masks[i, 1, y : y + 8, x : x + 8] = 1
            images[i][masks[i, 1] == 1] += 60
    index = pd.DataFrame(
        {"image_id": [f"i{k}" for k in range(n)], "patient_id": [f"p{k // 2}" for k in range(n)]}
    )
    names = ("blob",) if classes == 1 else ("disc", "square")
    rows = np.arange(n)
    pixels = np.clip(images, 0, 255).astype(np.uint8)
    return Subset(index, rows, pixels, {Masks: MaskRows(masks, rows, names)})


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
    return SimpleNamespace(Backbone=TinyBackbone, blobs=blobs, task=TASK, size=SIZE)
