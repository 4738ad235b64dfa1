"""The demo in the layout of Object-CXR: JPEG files in train, dev and test; annotations as
rectangles, ellipses and polygons."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.datasets._shapes import ELLIPSE, POLYGON, RECTANGLE
from tasks.datasets.object_cxr import ObjectCxr
from tasks.demo.beam.render import render
from tasks.demo.body.foreign import add_objects
from tasks.demo.body.patient import RATES, sample_study
from tasks.demo.writers import manifest
from tasks.demo.writers.files import write_jpeg

DEMO = ObjectCxr.demo
COLUMNS = {"train": "image_name", "dev": "image_name", "test": "image_path"}
Point = tuple[int, int]


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    counts: dict[str, int] = {}
    for folder, column in COLUMNS.items():
        rows = [study["row"] for study in written if study["folder"] == folder]
        manifest.write_table(out / f"{folder}.csv", f"{column},annotation", rows)
        counts[f"images of {folder}"] = len(rows)
    counts["images with objects"] = sum(bool(study["objects"]) for study in written)
    return counts


def folder_of(number: int, studies: int) -> str:
    """Return the part of the download an image is in: one in ten dev, one in five test."""
    original = {3: "dev", 6: "test", 9: "test"}.get(number % 10, "train")
    return DEMO.split_of(number, studies, original)


def image_name(seed: int, number: int) -> str:
    """Return the name of an image file: five drawn digits, then its number."""
    key = int(manifest.digest("object_cxr", seed, number)[:8], 16) % 100_000
    return f"{key:05d}{number:04d}.jpg"


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one image, on average every second one with foreign objects; support devices stay
    without annotation."""
    study = sample_study(DEMO.generator(job.seed, number), number, RATES)
    rendering = render(study, job.size)
    rng = DEMO.generator(job.seed, number, 1)
    image, masks = (
        add_objects(rendering.image, rendering.lungs, rng)
        if rng.random() < 0.5
        else (rendering.image, [])
    )
    folder = folder_of(number, job.studies)
    name = image_name(job.seed, number)
    write_jpeg(job.out / folder / name, image)
    objects = [_annotation(mask, rng) for mask in masks]
    named = f"{folder}/{name}" if folder == "test" else name
    boxes = {"foreign object": [cv2.boundingRect(mask) for mask in masks]}
    return {
        "folder": folder,
        "row": f"{named},{';'.join(objects)}",
        "objects": objects,
        "truth": [
            {
                **manifest.truth(name, rendering, study.findings, study.view),
                "boxes": {**rendering.boxes, **boxes},
            }
        ],
    }


def _annotation(mask: np.ndarray, rng: np.random.Generator) -> str:
    """Return one object as a reader outlines it: what is round as an ellipse or a rectangle, what
    is not as a polygon."""
    x, y, width, height = cv2.boundingRect(mask)
    round_enough = mask.sum() > 0.55 * width * height and max(width, height) < 2 * min(
        width, height
    )
    if round_enough:
        return _text(
            ELLIPSE if rng.random() < 0.7 else RECTANGLE, [(x, y), (x + width, y + height)]
        )
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = cv2.approxPolyDP(max(contours, key=len), 0.8, True).reshape(-1, 2)
    if len(outline) < 3 or np.ptp(outline, axis=0).min() < 1:
        return _text(RECTANGLE, [(x, y), (x + width, y + height)])
    return _text(POLYGON, [(int(px), int(py)) for px, py in outline])


def _text(kind: str, points: Sequence[Point]) -> str:
    return " ".join([kind, *(str(value) for point in points for value in point)])


write = partial(manifest.write, "object_cxr", _write_study, _tables, version=DEMO.version)
"""Write `studies` images at `size` px into `out`, as `manifest.write` says."""
