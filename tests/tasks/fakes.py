"""A tiny encoder with a text side and radiograph-like squares in memory: everything a task kind
asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn

from bench.contracts import CellContext, Features, InputSpec, Subset, TaskSpec
from bench.core.progress import Silent

WORDS = ("left", "right", "large", "normal")


class Encoder:
    """Mean brightness of a 4 x 4 grid through a linear layer; texts are counts of four words in the
    same space."""

    name = "fake"
    architecture = "grid"
    family: Literal["resnet", "vit"] = "resnet"
    has_text = True
    module: nn.Module
    input = InputSpec(size=16, resize=20)
    pooled_dim = patch_dim = 16
    pyramid_channels: tuple[int, ...] = (16,)
    pyramid_strides: tuple[int, ...] = (4,)

    def __init__(self, seed: int = 0, has_text: bool = True) -> None:
        self.has_text = has_text
        self.images_seen = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = nn.Sequential(
                nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 16), nn.BatchNorm1d(16)
            ).eval()

    def features(self, images: torch.Tensor) -> Features:
        self.images_seen += len(images)
        pooled = self.module(images)
        return Features(pooled, pooled[:, None], (1, 1), (pooled[:, :, None, None],))

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        grid = images.mean(1).view(-1, 2, 8, 16).mean(2).view(-1, 2, 2, 8).mean(-1)
        sides = torch.stack(
            [
                grid[:, :, 0].mean(1),
                grid[:, :, 1].mean(1),
                images.mean((1, 2, 3)),
                -images.mean((1, 2, 3)),
            ],
            1,
        )
        return nn.functional.normalize(sides + 1e-3, dim=1)

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        counts = torch.tensor(
            [[float(text.lower().count(word)) for word in WORDS] for text in texts]
        )
        return nn.functional.normalize(counts + 1e-3, dim=1)

    def similarity(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        return self.embed_images(images) @ self.embed_texts(texts).T


def subset(n: int = 120, seed: int = 0, size: int = 20) -> Subset:
    """Return squares whose left half is bright for label a, right half for label b; `c` excludes
    both; sex, age, view, report."""
    rng = np.random.default_rng(seed)
    a, b = rng.random(n) < 0.4, rng.random(n) < 0.4
    pixels = rng.integers(60, 120, (n, size, size))
    pixels[a, :, : size // 2] += 60
    pixels[b, :, size // 2 :] += 60
    index = pd.DataFrame(
        {
            "image_id": [f"i{seed}_{i}" for i in range(n)],
            "patient_id": [f"p{seed}_{i // 2}" for i in range(n)],
        }
    )
    index["split"] = "test"
    index["label:a"], index["label:b"], index["label:c"] = (
        a.astype(float),
        b.astype(float),
        (~(a | b)).astype(float),
    )
    index["sex"], index["age"] = (
        np.where(rng.random(n) < 0.5, "F", "M"),
        rng.integers(20, 90, n).astype(float),
    )
    index["view"] = np.where(rng.random(n) < 0.8, "PA", "LL")
    index["report"] = [
        "Left large." * x + " Right large." * y + " Normal." * (not (x or y))
        for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]
    return Subset(index, np.arange(n), pixels.astype(np.uint8))


def task(**options: Any) -> TaskSpec:
    """Return a task over the labels of `subset`."""
    return TaskSpec(
        "fake_task",
        "classification",
        "fake",
        "Fake",
        "auroc",
        options={"labels": ("a", "b"), **options},
    )


def context(task_spec: TaskSpec, settings: Any, folder: Path, **changes: Any) -> CellContext:
    """Return a context as the engine makes it."""
    facts: dict[str, Any] = {
        "task": task_spec,
        "settings": settings,
        "work_dir": folder,
        "device": "cpu",
        "seed": 0,
        "profile": "demo",
    }
    return CellContext(**{**facts, "progress": Silent(), **changes})


def base_names(statistics: Iterable[str]) -> set[str]:
    """Return the names of metrics without those of single classes and subgroups."""
    return {name for name in statistics if ":" not in name and "=" not in name}
