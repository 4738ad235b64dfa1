"""The demo in the layout of NIH ChestX-ray14: PNG files in several folders, one table, and the
official lists."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.datasets.nih import LISTS, NO_FINDING, Nih
from tasks.demo.beam.render import render
from tasks.demo.body.patient import RATES, Finding, Study
from tasks.demo.reports.visits import study_of
from tasks.demo.writers import manifest
from tasks.demo.writers.files import write_png

DEMO = Nih.demo
EVERY = 3
"""One study in three is a second visit."""
TABLE = "Data_Entry_2017.csv"
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
FOLDERS = 3
MEANS = {
    "pneumothorax": "Pneumothorax",
    "effusion": "Effusion",
    "consolidation": "Consolidation",
    "atelectasis": "Atelectasis",
    "edema": "Edema",
    "cardiomegaly": "Cardiomegaly",
    "nodule": "Nodule",
}
KINDS = {
    "pneumonia": ("Consolidation", "Pneumonia"),
    "opacity": ("Infiltration",),
    "mass": ("Mass",),
}


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    manifest.write_table(out / TABLE, HEADER, [study["row"] for study in written])
    for name, split in LISTS.items():
        listed = [study["image"] for study in written if study["split"] == split]
        manifest.write_bytes(out / name, "".join(f"{image}\n" for image in listed).encode())
    return _counts(written)


def _counts(written: list[dict[str, Any]]) -> dict[str, int]:
    counts = {"images": len(written), "patients": len({study["patient"] for study in written})}
    counts |= {
        f"images of {name}": sum(study["split"] == split for study in written)
        for name, split in LISTS.items()
    }
    return counts | {
        name: sum(name in study["labels"] for study in written)
        for name in (*Nih.label_names, NO_FINDING)
    }


def finding_labels(finding: Finding) -> tuple[str, ...]:
    """Return the NIH labels of one finding; a fracture or a device has none."""
    if finding.name == "device" or finding.name not in MEANS:
        return ()
    return KINDS.get(finding.kind, (MEANS[finding.name],))


def image_name(patient: int, visit: int) -> str:
    """Return the name of an image file."""
    return f"{patient:08d}_{visit:03d}.png"


def split_of(seed: int, first: int, studies: int) -> str:
    """Return the split of a patient, whose first study is number `first`: one in four tests."""
    drawn = int(manifest.digest("nih split", seed, first + 1)[:8], 16)
    return DEMO.split_of(first, studies, "train" if drawn % 4 else "test")


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one study's image; return its row of the table."""
    study = study_of(job.seed, number, DEMO.stream, RATES, EVERY)
    patient = study.patient.number + 1
    image = image_name(patient, study.order)
    rendering = render(study, job.size)
    folder = job.out / f"images_{1 + FOLDERS * number // job.studies:03d}" / "images"
    write_png(folder / image, _stored(rendering.image, number))
    labels = sorted({label for finding in study.findings for label in finding_labels(finding)}) or [
        NO_FINDING
    ]
    return {
        "image": image,
        "patient": patient,
        "labels": labels,
        "split": split_of(job.seed, study.patient.number, job.studies),
        "row": _row(image, patient, labels, study, job.size),
        "truth": [manifest.truth(image, rendering, study.findings, study.view)],
    }


def _row(image: str, patient: int, labels: list[str], study: Study, size: int) -> str:
    facts = (
        study.order,
        patient,
        study.patient.age,
        study.patient.sex,
        study.view,
        size,
        size,
        0.168,
        0.168,
    )
    return ",".join([image, "|".join(labels), *map(str, facts), ""])


def _stored(image: np.ndarray, number: int) -> np.ndarray:
    """Return the image as it is stored: one in 40 as RGBA, as in the real files."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGRA) if number % 40 == 17 else image


write = partial(manifest.write, "nih", _write_study, _tables, version=DEMO.version)
"""Write `studies` studies at `size` px into `out`, as `manifest.write` says."""
