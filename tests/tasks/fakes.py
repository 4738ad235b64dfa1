"""A tiny encoder with a text side and radiograph-like squares in memory: everything a task kind
asks for."""

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

    name, architecture, family, has_text = "fake", "grid", "resnet", True
    input = InputSpec(size=16, resize=20)
    pooled_dim = patch_dim = 16
    pyramid_channels, pyramid_strides = (16,), (4,)

    def __init__(self, seed=0, has_text=True):
        self.has_text, self.images_seen = has_text, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = nn.Sequential(
                nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 16), nn.BatchNorm1d(16)
            ).eval()

    def features(self, images):
        self.images_seen += len(images)
        pooled = self.module(images)
        return Features(pooled, pooled[:, None], (1, 1), (pooled[:, :, None, None],))

    def embed_images(self, images):
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

    def embed_texts(self, texts):
        counts = torch.tensor(
            [[float(text.lower().count(word)) for word in WORDS] for text in texts]
        )
        return nn.functional.normalize(counts + 1e-3, dim=1)

    def similarity(self, images, texts):
        return self.embed_images(images) @ self.embed_texts(texts).T


def subset(n=120, seed=0, size=20):
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


def task(**options):
    """Return a task over the labels of `subset`."""
    return TaskSpec(
        "fake_task",
        "classification",
        "fake",
        "Fake",
        "auroc",
        options={"labels": ("a", "b"), **options},
    )


def context(task_spec, settings, folder, **changes):
    """Return a context as the engine makes it."""
    facts = {
        "task": task_spec,
        "settings": settings,
        "work_dir": folder,
        "device": "cpu",
        "seed": 0,
        "profile": "demo",
    }
    return CellContext(**{**facts, "progress": Silent(), **changes})


class Said(Silent):
    """Progress that remembers what it said."""

    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


def base_names(statistics):
    """Return the names of metrics without those of single classes and subgroups."""
    return {name for name in statistics if ":" not in name and "=" not in name}
