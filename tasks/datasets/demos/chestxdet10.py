"""The demo in the layout of ChestX-Det10: PNG files of two parts, each with a list of its boxes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from tasks.datasets.chestxdet10 import SPLITS, ChestXDet10
from tasks.demo.beam.render import LEAST_SIDE, render
from tasks.demo.body.patient import RATES, Finding
from tasks.demo.reports.visits import study_of
from tasks.demo.writers import manifest
from tasks.demo.writers.files import write_png

DEMO = ChestXDet10.demo
MEANS = {
    "pneumothorax": "Pneumothorax",
    "effusion": "Effusion",
    "consolidation": "Consolidation",
    "atelectasis": "Atelectasis",
    "nodule": "Nodule",
    "fracture": "Fracture",
}


def finding_class(finding: Finding) -> str:
    """Return the class of one finding; "" for one that the dataset has no boxes of."""
    return "Mass" if finding.kind == "mass" else MEANS.get(finding.name, "")


def image_name(patient: int, visit: int) -> str:
    """Return the name of an image file."""
    return f"{patient:08d}_{visit:03d}.png"


def split_of(first: int, studies: int) -> str:
    """Return the split of a patient, whose first study is number `first`: one in four tests."""
    return DEMO.split_of(first, studies, "test" if first % 4 == 1 else "train")


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write both lists; return their counts."""
    counts = {}
    for split in SPLITS:
        entries = [study["entry"] for study in written if study["split"] == split]
        manifest.write_bytes(out / f"{split}.json", json.dumps(entries).encode())
        counts[f"images of {split}"] = len(entries)
    return counts


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one study's image; return its entry of the list."""
    study = study_of(job.seed, number, DEMO.stream, RATES)
    rendering = render(study, job.size)
    split = split_of(study.patient.number, job.studies)
    name = image_name(study.patient.number + 1, study.order)
    write_png(job.out / f"{split}_data" / name, rendering.image)
    findings = []
    boxes = []
    for kind, drawn in rendering.boxes.items():
        named = study.named(kind)
        label = finding_class(named[0]) if named else ""
        for x, y, width, height in drawn if label else ():
            if min(width, height) >= LEAST_SIDE:
                findings.append(label)
                boxes.append([x, y, x + width, y + height])
    return {
        "split": split,
        "entry": {"file_name": name, "syms": findings, "boxes": boxes},
        "truth": [manifest.truth(name, rendering, study.findings, study.view)],
    }


write = partial(manifest.write, "chestxdet10", _write_study, _tables, version=DEMO.version)
"""Write `studies` images at `size` px into `out`, as `manifest.write` says."""
