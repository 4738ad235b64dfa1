"""The demo in the layout of MS-CXR, beside rendered images in that of MIMIC-CXR: sentences of the
reports, with the boxes of what they tell of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from bench.core.sentences import split_sentences
from bench.text.entity import entities
from tasks.datasets.demos import gaze
from tasks.datasets.ms_cxr import FILES, SPLITS, MsCxr
from tasks.demo.reports.labels import MEANS
from tasks.demo.writers import manifest

DEMO = MsCxr.demo
HOME = "ms_cxr"
CATEGORIES = (
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Atelectasis",
    "Edema",
    "Cardiomegaly",
    "Lung Opacity",
    "Pleural Effusion",
)


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables of MIMIC-CXR and the file of phrases; return its counts."""
    gaze.mimic_tables(out, written, seed)
    spoken = [study for study in written if study["phrases"]]
    images = []
    annotations: list[dict[str, Any]] = []
    for number, study in enumerate(spoken, 1):
        images.append({**study["image"], "id": number, "num_annotations": len(study["phrases"])})
        for category, text, box in study["phrases"]:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": CATEGORIES.index(category) + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "label_text": text,
                    "split": study["split"],
                }
            )
    categories = [
        {"id": number, "name": name, "supercategory": "disease"}
        for number, name in enumerate(CATEGORIES, 1)
    ]
    content = {"info": {}, "categories": categories, "images": images, "annotations": annotations}
    manifest.write_bytes(out / HOME / FILES[0], json.dumps(content).encode())
    phrases = {
        (study["image"]["file_name"], category, text)
        for study in spoken
        for category, text, _ in study["phrases"]
    }
    return {"images": len(spoken), "phrases with boxes": len(phrases)}


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one image with its report; return its rows of the tables and its phrases."""
    read = gaze.write_study(DEMO, "ms_cxr", job, number)
    patient = read.row["patient"]
    study = read.row["study_id"]
    height, width = read.rendering.image.shape
    name = f"{read.image_id}.jpg"
    image = {
        "file_name": name,
        "height": height,
        "width": width,
        "path": f"files/p{patient[:2]}/p{patient}/s{study}/{name}",
    }
    split = SPLITS[gaze.split_of(DEMO, number, job.studies)]
    record = manifest.truth(read.image_id, read.rendering, read.study.findings, read.study.view)
    return {
        **read.row,
        "image": image,
        "split": split,
        "phrases": list(_phrases(read)),
        "truth": [record],
    }


def _phrases(read: gaze.Read) -> Iterator[tuple[str, str, list[int]]]:
    """Yield category, words and box (x, y, width, height) of every sentence that tells of one
    finding, where it is."""
    for text in split_sentences(read.report.findings):
        names = gaze.findings_of(text, read.rendering)
        label = MEANS.get(names[0], ("",))[0] if len(names) == 1 else ""
        told = entities(text)
        if label not in CATEGORIES or not told or any(each.negated for each in told):
            continue
        for mask in gaze.parts_told(read.rendering, names[0], text):
            yield label, text.rstrip("."), [int(value) for value in cv2.boundingRect(mask)]


write = partial(manifest.write, "ms_cxr", _write_study, _tables, version=DEMO.version)
"""Write `studies` studies at `size` px into `out`, as `manifest.write` says."""
