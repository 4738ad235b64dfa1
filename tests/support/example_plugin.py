"""Somebody's own images, for the example plug-in."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "stranger.py"


@pytest.fixture
def example_data(tmp_path: Path) -> Path:
    """24 grey images of 12 patients, each with a bright square lesion, and the list of them."""
    root = tmp_path / "data" / "stranger"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(24):
        image, mask = rng.integers(0, 90, (96, 80), dtype=np.uint8), np.zeros((96, 80), np.uint8)
        top, left = rng.integers(5, 50, 2)
        mask[top : top + 25, left : left + 25] = 255
        cv2.imwrite(
            str(root / "images" / f"{number}.png"),
            np.where(mask, image + 150, image).astype(np.uint8),
        )
        cv2.imwrite(str(root / "masks" / f"{number}.png"), mask)
        rows.append({"image": f"{number}.png", "patient": f"p{number // 2}"})
    with (root / "list.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "patient"])
        writer.writeheader()
        writer.writerows(rows)
    return root.parent
