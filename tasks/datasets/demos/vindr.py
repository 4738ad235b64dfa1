"""The demo in the layout of VinDr-CXR: 12-bit DICOM files of several widths, three readers in
train, a consensus in test."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tasks.datasets.vindr import (
    BOXES,
    CORNERS,
    FINDINGS,
    LABELS,
    NO_FINDING,
    OTHERS,
    SPLITS,
    Vindr,
)
from tasks.demo.beam.render import LEAST_SIDE, Rendering, render
from tasks.demo.body.patient import RATES, Finding, Study
from tasks.demo.reports.visits import study_of
from tasks.demo.writers import manifest
from tasks.demo.writers.dicom import dicom_bytes, uids

DEMO = Vindr.demo
CLASSES = (*FINDINGS, *OTHERS[:-1], NO_FINDING)
READERS = 17
MEANS = {
    "pneumothorax": "Pneumothorax",
    "effusion": "Pleural effusion",
    "atelectasis": "Atelectasis",
    "edema": "Edema",
    "cardiomegaly": "Cardiomegaly",
    "nodule": "Nodule/Mass",
    "fracture": "Rib fracture",
}
SEES = {"easy": 1.0, "medium": 0.9, "hard": 0.7}
"""How often a reader notices a finding, by how plain it is."""
BITS = 12
Mark = tuple[str, float, tuple[int, int, int, int]]
"""What can be marked on an image: its class, how often a reader sees it, and its box x, y, width,
height."""


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    counts: dict[str, int] = {}
    for split in SPLITS:
        members = [study for study in written if study["split"] == split]
        reader = ",rad_id" if split == "train" else ""
        boxes = [row for study in members for row in study["boxes"]]
        labels = [row for study in members for row in study["labels"]]
        manifest.write_table(
            out / BOXES.format(split), f"image_id{reader},class_name,{','.join(CORNERS)}", boxes
        )
        manifest.write_table(
            out / LABELS.format(split), f"image_id{reader},{','.join(CLASSES)}", labels
        )
        counts |= {f"images of {split}": len(members), f"readings of {split}": len(labels)}
    return counts


def finding_class(finding: Finding) -> str:
    """Return the VinDr-CXR class of one finding."""
    if finding.name == "consolidation":
        return "Consolidation" if finding.kind == "pneumonia" else "Lung Opacity"
    return MEANS[finding.name]


def image_name(seed: int, number: int) -> str:
    """Return the id of an image, 128 bits of a hash."""
    return manifest.digest("vindr", seed, number)[:32]


def split_of(first: int, studies: int) -> str:
    """Return the split of a patient, whose first study is number `first`: one in four tests."""
    return DEMO.split_of(first, studies, "test" if first % 4 == 1 else "train")


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one study's image; return its rows of the tables, one reading after another."""
    study = study_of(job.seed, number, DEMO.stream, RATES)
    rendering = render(study, job.size)
    rng = DEMO.generator(job.seed, number, 1)
    left, right = (int(rng.integers(0, job.size // 12 + 1)) for _ in range(2))
    name = image_name(job.seed, number)
    split = split_of(study.patient.number, job.studies)
    path = job.out / split / f"{name}.dicom"
    if not path.is_file():
        manifest.write_bytes(
            path, _dicom(rendering.image[:, left : job.size - right], study, (job.seed, number))
        )
    marks = _marks(study, rendering, left, job.size - right)
    readers = (
        [f",R{n}" for n in sorted(rng.choice(READERS, 3, replace=False) + 1)]
        if split == "train"
        else [""]
    )
    readings = [
        _reading(marks, rng, (job.size, job.size - left - right)) if reader else marks
        for reader in readers
    ]
    keys = [f"{name}{reader}" for reader in readers]
    return {
        "split": split,
        "boxes": [
            row for key, seen in zip(keys, readings, strict=True) for row in _box_rows(key, seen)
        ],
        "labels": [_label_row(key, seen) for key, seen in zip(keys, readings, strict=True)],
        "truth": [manifest.truth(name, rendering, study.findings, study.view)],
    }


def _marks(study: Study, rendering: Rendering, left: int, right: int) -> list[Mark]:
    """Return what can be marked on the image cut to the columns `left` to `right`."""
    marks: list[Mark] = []
    for name, boxes in rendering.boxes.items():
        findings = study.named(name)
        if name == "device" or not findings:
            continue
        for x, y, width, height in boxes:
            low = max(x, left)
            high = min(x + width, right)
            if min(high - low, height) >= LEAST_SIDE:
                marks.append(
                    (
                        finding_class(findings[0]),
                        SEES[findings[0].difficulty],
                        (low - left, y, high - low, height),
                    )
                )
    return marks


def _reading(marks: Sequence[Mark], rng: np.random.Generator, shape: tuple[int, int]) -> list[Mark]:
    """Return what one reader marks: not everything, each edge of a box a few percent off."""
    return [
        (kind, sees, _drawn(box, rng, shape)) for kind, sees, box in marks if rng.random() < sees
    ]


def _drawn(
    box: Sequence[int], rng: np.random.Generator, shape: tuple[int, int]
) -> tuple[int, int, int, int]:
    x, y, width, height = box
    shift = rng.normal(0, 0.05, 4) * (width, height, width, height)
    x1 = max(0, round(x + shift[0]))
    y1 = max(0, round(y + shift[1]))
    x2 = min(shape[1], round(x + width + shift[2]))
    y2 = min(shape[0], round(y + height + shift[3]))
    return x1, y1, x2 - x1, y2 - y1


def _box_rows(key: str, seen: Sequence[Mark]) -> list[str]:
    return [
        f"{key},{kind},{x},{y},{x + width},{y + height}" for kind, _, (x, y, width, height) in seen
    ] or [f"{key},{NO_FINDING},,,,"]


def _label_row(key: str, seen: Sequence[Mark]) -> str:
    kinds = {kind for kind, *_ in seen} or {NO_FINDING}
    return ",".join([key, *(str(int(kind in kinds)) for kind in CLASSES)])


def _dicom(image: np.ndarray, study: Study, key: tuple[int, int]) -> bytes:
    """Return a 12-bit DICOM file without a patient id; one in eight is MONOCHROME1."""
    inverted = DEMO.generator(*key, 2).random() < 1 / 8
    grey = image.astype(np.uint16) << (BITS - 8)
    top = np.uint16((1 << BITS) - 1)
    header = {
        "PatientSex": study.patient.sex,
        "PatientAge": f"{study.patient.age:03d}Y",
        "PhotometricInterpretation": "MONOCHROME1" if inverted else "MONOCHROME2",
        "WindowCenter": 1 << (BITS - 1),
        "WindowWidth": 1 << BITS,
    }
    return dicom_bytes(
        np.ascontiguousarray(top - grey if inverted else grey),
        uids("vindr", *key),
        header,
        bits=BITS,
    )


write = partial(manifest.write, "vindr", _write_study, _tables, version=DEMO.version)
"""Write `studies` studies of `size` px height into `out`, as `manifest.write` says."""
