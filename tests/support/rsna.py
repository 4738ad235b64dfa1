"""A tiny RSNA in its layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.datasets.rsna import CLASSES_TABLE, DETAILS, FILES, TABLE
from tests.bench.data.dicoms import write_dicom

SIDE = 40


def write_rsna(root: Path) -> Path:
    """Twelve images: every third positive with one box, image 6 with two; rows of an image stand
    apart."""
    rng = np.random.default_rng(0)
    rows, details = [], []
    for number in range(12):
        name = f"id-{11 - number:02d}"
        fields = {
            "PatientID": name,
            "PatientSex": "MF"[number % 2],
            "PatientAge": f"{30 + number:03d}Y",
            "ViewPosition": "AP",
        }
        write_dicom(
            root / FILES / f"{name}.dcm",
            rng.integers(0, 255, (SIDE, SIDE), dtype=np.uint8),
            uid=f"1.2.{number}",
            **fields,
        )
        positive = number % 3 == 0
        rows.append(f"{name},4.0,5.0,10.0,20.0,1" if positive else f"{name},,,,,0")
        details += [f"{name},{DETAILS[0] if positive else DETAILS[1 + number % 2]}"] * (
            1 + (number == 6)
        )
    rows.append("id-05,20.0,6.5,8.0,8.0,1")
    (root / TABLE).write_text("\n".join(["patientId,x,y,width,height,Target", *rows]) + "\n")
    (root / CLASSES_TABLE).write_text("\n".join(["patientId,class", *details]) + "\n")
    return root
