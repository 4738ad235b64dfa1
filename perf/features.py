"""Frozen features: a second run of a probe from kept features against encoding the images again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.contracts import BACKBONES, BackboneRequest, CellContext, Subset, TaskSpec
from bench.core.progress import Silent
from bench.encoding.features import FeatureCache
from perf._timing import row, timed

SIDE = 144


class _Counting:
    """An image store that counts the images read from it."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.shape = images.shape
        self.read = 0

    def __getitem__(self, rows: Any) -> np.ndarray:
        self.read += len(rows)
        return self.images[rows]


def run() -> list[dict[str, Any]]:
    """Return a row per number of images; equal: the same features, and no image read the second
    time."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("PLACE_BENCH_CACHE")
        os.environ["PLACE_BENCH_CACHE"] = folder
        try:
            return [_row(n, Path(folder)) for n in (128, 256, 512, 1024)]
        finally:
            if before is None:
                del os.environ["PLACE_BENCH_CACHE"]
            else:
                os.environ["PLACE_BENCH_CACHE"] = before


def _row(n: int, folder: Path) -> dict[str, Any]:
    backbone = BACKBONES.get("random").build(BackboneRequest("demo"))
    task = TaskSpec("features", "classification", "none", "features", "auroc")
    context = CellContext(
        task, None, folder, "cpu", 0, "demo", Silent(), data_key=f"random pixels, {n}"
    )
    images = np.random.default_rng(n).integers(0, 255, (n, SIDE, SIDE), dtype=np.uint8)
    store = _Counting(images)
    index = pd.DataFrame({"image_id": [f"image {i}" for i in range(n)]})
    subset = Subset(index, np.arange(n), store)  # type: ignore[arg-type]
    first_s, features = timed(lambda: FeatureCache(backbone, context).pooled(subset))
    read = store.read
    second_s, again = timed(lambda: FeatureCache(backbone, context).pooled(subset))
    same = np.array_equal(features, again) and store.read == read
    name = f"features of {backbone.architecture}, second run"
    return row(name, f"{n} images", first_s, second_s, bool(same), "")
