"""The demo with a burnt-in letter, in the layout of NIH ChestX-ray14: every test study three times,
the letter with the label, by chance, and against it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.datasets.demos import nih
from tasks.datasets.marker import BOX_COLUMNS, BOXES, LABEL, PARTS, Marker
from tasks.datasets.nih import LISTS, NO_FINDING
from tasks.demo.beam.render import LEAST_SIDE, Box, render
from tasks.demo.body.patient import RATES, Study, sample_study
from tasks.demo.writers import manifest
from tasks.demo.writers.files import write_png

DEMO = Marker.demo
MARKER_RATES = {**RATES, "effusion": 0.5}
LINKED = {"train": 0.95, "same": 0.95, "unlinked": 0.5, "reversed": 0.05}
"""The chance that an image of a part has the letter where it has the label, and has none where it
does not."""
LETTER = "P"
HEADER = f"{nih.HEADER}Marker,Part"
BOX_HEADER = ",".join((*BOX_COLUMNS, "", "", ""))


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    images = [image for study in written for image in study["images"]]
    manifest.write_table(out / nih.TABLE, HEADER, [image["row"] for image in images])
    boxes = [row for image in images for row in image["boxes"]]
    manifest.write_table(out / BOXES, BOX_HEADER, boxes)
    counts = {"images": len(images), "patients": len(written)}
    for name, split in LISTS.items():
        listed = [image["image"] for image in images if image["split"] == split]
        manifest.write_bytes(out / name, "".join(f"{image}\n" for image in listed).encode())
        counts[f"images of {name}"] = len(listed)
    for name in (*Marker.label_names, NO_FINDING):
        counts[name] = sum(name in image["labels"] for image in images)
    for part in PARTS:
        counts[f"images of part {part}"] = sum(image["part"] == part for image in images)
    counts["images with the letter"] = sum(image["marker"] for image in images)
    counts["boxes"] = len(boxes)
    return counts


def split_of(seed: int, number: int, studies: int) -> str:
    """Return the split of study `number`, which is the only one of its patient: one in four
    tests."""
    drawn = int(manifest.digest("marker split", seed, number)[:8], 16)
    return DEMO.split_of(number, studies, "train" if drawn % 4 else "test")


def study_of(seed: int, number: int) -> Study:
    """Return study `number`; every other one has an effusion."""
    return sample_study(DEMO.generator(seed, number), number, MARKER_RATES)


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one study's images, one for each part; return their rows of the tables."""
    study = study_of(job.seed, number)
    rendering = render(study, job.size)
    split = split_of(job.seed, number, job.studies)
    labels = sorted({name for finding in study.findings for name in nih.finding_labels(finding)})
    rng = DEMO.generator(job.seed, number, 1)
    folder = job.out / f"images_{1 + nih.FOLDERS * number // job.studies:03d}" / "images"
    images = []
    truth = []
    for order, part in enumerate(PARTS if split == "test" else ("train",)):
        image = nih.image_name(number + 1, order)
        is_linked = rng.random() < LINKED[part]
        has_letter = (LABEL in labels) == is_linked
        pixels = with_letter(rendering.image, rng) if has_letter else rendering.image
        write_png(folder / image, pixels)
        images.append(
            {
                "image": image,
                "labels": labels or [NO_FINDING],
                "split": split,
                "part": part,
                "marker": has_letter,
                "row": _row(image, order, labels, study, job.size, has_letter, part),
                "boxes": [_box_row(image, box) for box in rendering.boxes.get("effusion", [])],
            }
        )
        truth.append(manifest.truth(image, rendering, study.findings, study.view))
    return {"images": images, "truth": truth}


def _row(
    image: str, order: int, labels: list[str], study: Study, size: int, letter: bool, part: str
) -> str:
    patient = study.patient
    names = "|".join(labels or [NO_FINDING])
    facts = (order, patient.number + 1, patient.age, patient.sex, study.view, size, size)
    return ",".join([image, names, *map(str, facts), "0.168", "0.168", str(int(letter)), part])


def _box_row(image: str, box: Box) -> str:
    x, y, width, height = box
    sides = (x, y, max(width, LEAST_SIDE), max(height, LEAST_SIDE))
    return ",".join([image, LABEL, *(f"{side:.1f}" for side in sides), "", "", ""])


def with_letter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image with the letter in its lower left corner, a little elsewhere each time."""
    size = len(image)
    at = (int(rng.uniform(0.08, 0.12) * size), int(rng.uniform(0.88, 0.92) * size))
    stamped = image.copy()
    thickness = max(1, round(size / 100))
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(stamped, LETTER, at, font, 1.2 * size / 256, (245,), thickness, cv2.LINE_AA)
    return stamped


write = partial(manifest.write, "marker", _write_study, _tables, version=DEMO.version)
"""Write `studies` studies at `size` px into `out`, as `manifest.write` says."""
