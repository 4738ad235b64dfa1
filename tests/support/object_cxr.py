"""A tiny Object-CXR in its layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

POLYGON = "2 10 10 40 12 38 20 12 30"
ANNOTATIONS = ("", "0 5 6 15 16;1 20 20 30 26", POLYGON, "")
HEIGHT, WIDTH = 40, 50


def write_object_cxr(root: Path) -> Path:
    """Twenty images in train, eight in dev, four in test; of every four, one has two objects and
    one a polygon."""
    for folder, count, column in (
        ("train", 20, "image_name"),
        ("dev", 8, "image_name"),
        ("test", 4, "image_path"),
    ):
        (root / folder).mkdir(parents=True)
        rows = []
        for number in range(count):
            Image.fromarray(np.full((HEIGHT, WIDTH), 5 * number, np.uint8)).save(
                root / folder / f"{number:05d}.jpg"
            )
            shown = (
                f"{number:05d}.jpg" if column == "image_name" else f"/data/test/{number:05d}.jpg"
            )
            rows.append(f"{shown},{ANNOTATIONS[number % 4]}")
        (root / f"{folder}.csv").write_text("\n".join([f"{column},annotation", *rows]) + "\n")
    return root
