"""Images with one bright spot each, whose region is known: what the tests of grounding share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.contracts import REGION_SIDE, TASKS, CellContext, Subset
from bench.data.annotations import Regions
from bench.data.regions import RegionEntry, RegionRows
from tasks.grounding import GroundingSettings
from tests.tasks.fakes import context

SIDE = 112
SPOT = 16


def data(n: int = 24, seed: int = 0, padding: int = 0) -> Subset:
    """Squares with one bright spot, whose region is label a or b; the last image has none."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(40, 60, (n, SIDE, SIDE)).astype(np.uint8)
    maps = []
    entries: list[tuple[RegionEntry, ...]] = []
    for row in range(n - 1):
        x, y = rng.integers(padding // 8, (SIDE - SPOT - padding) // 8, 2) * 8
        pixels[row, y : y + SPOT, x : x + SPOT] = 240
        heat = np.zeros((SIDE, SIDE))
        heat[y : y + SPOT, x : x + SPOT] = 255
        cells = SIDE // REGION_SIDE
        maps.append(heat.reshape(REGION_SIDE, cells, REGION_SIDE, cells).mean((1, 3)))
        label = "ab"[row % 2]
        entries.append((RegionEntry(row, -1, label, "box", f"{label} in {row}"),))
    pixels[:, :padding] = pixels[:, SIDE - padding :] = 0
    regions = RegionRows(np.array(maps, np.uint8), (*entries, ()))
    index = pd.DataFrame(
        {
            "image_id": [f"i{seed}_{row}" for row in range(n)],
            "patient_id": [f"p{seed}_{row // 2}" for row in range(n)],
            "split": "test",
        }
    )
    return Subset(index, np.arange(n), pixels, {Regions: regions})


def cell(folder: Path, **changes: Any) -> CellContext:
    settings = GroundingSettings(**{"labels": ("a", "b"), "image_size": SIDE, **changes})
    return context(TASKS.get("vindr_ground"), settings, folder)
