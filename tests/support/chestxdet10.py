"""A tiny ChestX-Det10 in its layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tasks.datasets.chestxdet10 import FINDINGS


def write_chestxdet10(root: Path) -> None:
    """Write twelve training and eight test images of 20 x 24 px: every other one has a box, every
    third two more of another finding."""
    rng = np.random.default_rng(0)
    for split, first, count in (("train", 0, 12), ("test", 12, 8)):
        entries: list[dict[str, Any]] = []
        for number in range(first, first + count):
            name = f"{number + 1:08d}_000.png" if number % 4 else f"{36000 + number}.png"
            path = root / f"{split}_data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(9, 255, (20, 24), dtype=np.uint8)).save(path)
            boxes = [[2, 3, 10, 12]] * (number % 2) + [[1, 1, 5, 6], [12, 8, 20, 18]] * (
                number % 3 == 0
            )
            findings = [FINDINGS[number % 10]] * (number % 2) + ["Nodule"] * 2 * (number % 3 == 0)
            entries.append({"file_name": name, "syms": findings, "boxes": boxes})
        (root / f"{split}.json").write_text(json.dumps(entries))
