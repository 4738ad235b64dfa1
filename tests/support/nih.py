"""A tiny NIH ChestX-ray14 in its layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

TABLE = "Data_Entry_2017.csv"
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
FINDINGS = ("No Finding", "Cardiomegaly|Emphysema", "Hernia", "Pleural_Thickening")


def name(number: int) -> str:
    return f"{number // 2 + 1:08d}_{number % 2:03d}.png"


def write_nih(root: Path) -> Path:
    """Forty images of twenty patients in two folders; the last five patients are the official
    test."""
    rows = []
    for number in range(40):
        folder = root / f"images_{1 + number // 20:03d}" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        grey = np.full((16, 16), 10 + 5 * number, np.uint8)
        picture = Image.fromarray(grey)
        (picture.convert("RGBA") if number == 3 else picture).save(folder / name(number))
        age, sex = 412 if number == 5 else 40 + number, "MF"[number % 3 == 0]
        rows.append(
            f"{name(number)},{FINDINGS[number % 4]},{number % 2},{number // 2 + 1},{age},{sex},PA,2500,2048,0.1,0.1,"
        )
    (root / TABLE).write_text("\n".join([HEADER, *rows]) + "\n")
    (root / "train_val_list.txt").write_text("\n".join(name(number) for number in range(30)))
    (root / "test_list.txt").write_text("\n".join(name(number) for number in range(30, 40)) + "\n")
    return root
