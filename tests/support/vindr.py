"""A tiny VinDr-CXR in its layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tasks.datasets.vindr import BOXES, FINDINGS, LABELS, NO_FINDING, OTHERS
from tests.bench.data.dicoms import write_dicom

CLASSES = (*FINDINGS, *OTHERS, NO_FINDING)
HEIGHT, WIDTH = 30, 40


def labels(key: str, *present: str | Any) -> str:
    return ",".join([key, *(str(int(name in (present or (NO_FINDING,)))) for name in CLASSES)])


def write_vindr(root: Path) -> Path:
    """Twenty images in train, eight in test; train t00 has a nodule seen by all readers, and ILD by
    one; t01 a rib fracture."""
    (root / "annotations").mkdir(parents=True)
    boxes, rows = [], []
    for number in range(20):
        for reader in ("R8", "R9", "R10"):
            key = f"t{number:02d},{reader}"
            shift = {"R8": 0, "R9": 1, "R10": 2}[reader]
            if number == 0:
                boxes.append(f"{key},Nodule/Mass,{4 + shift},5,{14 + shift},15")
                boxes += [f"{key},ILD,20.5,10,30,20"] if reader == "R9" else []
                rows.append(labels(key, "Nodule/Mass", *(["ILD"] if reader == "R9" else [])))
            elif number == 1:
                boxes.append(f"{key},Rib fracture,1,1,5,5")
                rows.append(labels(key, "Rib fracture"))
            elif number % 2 and reader == "R8":
                boxes.append(f"{key},Cardiomegaly,5,5,25,20")
                rows.append(labels(key, "Cardiomegaly"))
            else:
                boxes.append(f"{key},{NO_FINDING},,,,")
                rows.append(labels(key))
    write(root, "train", "rad_id,", boxes, rows)
    tests = [(f"e{number:02d}", number % 2) for number in range(8)]
    boxes = [
        f"{key},Cardiomegaly,5,5,25,20" if ill else f"{key},{NO_FINDING},,,," for key, ill in tests
    ]
    write(
        root,
        "test",
        "",
        boxes,
        [labels(key, *(["Cardiomegaly"] if ill else [])) for key, ill in tests],
    )
    rng = np.random.default_rng(0)
    for split, letter, count in (("train", "t", 20), ("test", "e", 8)):
        for number in range(count):
            pixels = rng.integers(0, 4096, (HEIGHT, WIDTH)).astype(np.uint16)
            write_dicom(
                root / split / f"{letter}{number:02d}.dicom",
                pixels,
                bits=12,
                uid=f"1.{number}",
                PatientSex="F",
            )
    return root


def write(root: Path, split: str, reader: str, boxes: list[str], rows: list[str]) -> None:
    (root / BOXES.format(split)).write_text(
        "\n".join([f"image_id,{reader}class_name,x_min,y_min,x_max,y_max", *boxes]) + "\n"
    )
    (root / LABELS.format(split)).write_text(
        "\n".join([f"image_id,{reader}{','.join(CLASSES)}", *rows]) + "\n"
    )
