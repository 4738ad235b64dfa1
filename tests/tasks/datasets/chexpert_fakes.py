"""A tiny CheXpert in its layout, and a large label table in memory."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from tasks.datasets._chexpert import COLUMNS, LABELS, PLUS

FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")


def write_chexpert(
    root: Path,
    train: int = 24,
    valid: int = 6,
    folder: str = "CheXpert-v1.0-small",
    reports: bool = True,
    classes: tuple[str, ...] = FIVE,
) -> None:
    """Write images, train.csv, valid.csv and CheXpert Plus; image i of train has class i % 6 of
    `classes` alone (where there is none: a mixture)."""
    rows: dict[str, list[tuple[object, ...]]] = {"train": [], "valid": []}
    told = []
    for number in range(train + valid):
        split = "train" if number < train else "valid"
        lateral = number % 8 == 7
        name = f"view1_{'lateral' if lateral else 'frontal'}.jpg"
        path = f"{split}/patient{number // 2:05d}/study{number % 2 + 1}/{name}"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 16), 7 * number % 251, np.uint8)).save(root / path)
        values = dict.fromkeys(LABELS, "")
        place = number % (len(classes) + 1)
        if place < len(classes):
            values |= {"Pneumonia": "0.0", classes[place]: "1.0"}
        else:
            values |= {"Edema": "-1.0", "Fracture": "1.0"}
        view = ("Lateral", "") if lateral else ("Frontal", "PA" if number % 3 else "AP")
        rows[split].append(
            (
                f"{folder}/{path}",
                "Female" if number % 2 else "Male",
                40 + number,
                *view,
                *values.values(),
            )
        )
        told.append((path, f"Findings of {number}\nnext line", f"1. Impression of {number}"))
    for split, lines in rows.items():
        _write(root / f"{split}.csv", COLUMNS, lines)
    if reports:
        _write(root / PLUS, ("path_to_image", "section_findings", "section_impression"), told)


def _write(path: Path, header: tuple[str, ...], lines: list[Any]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])


def big_table(rows: int = 30000, seed: int = 0) -> pd.DataFrame:
    """Return train rows (and 40 of valid.csv) as the index has them, labels drawn at random;
    laterals among them."""
    rng = np.random.default_rng(seed)
    n = rows + 40
    index = pd.DataFrame(
        {
            "image_id": [f"train/i{i}" for i in range(n)],
            "patient_id": [f"p{i // 3}" for i in range(n)],
        }
    )
    index["path"] = index["image_id"] + ".jpg"
    index["split"] = ["train"] * rows + ["test"] * 40
    index.loc[rows:, "patient_id"] = [f"v{i}" for i in range(40)]
    index["view"] = rng.choice(["PA", "AP", "LL"], n, p=[0.4, 0.45, 0.15])
    for name in LABELS:
        index[f"label:{name}"] = rng.choice([1.0, 0.0, -1.0, np.nan], n, p=[0.12, 0.1, 0.03, 0.75])
    return index
