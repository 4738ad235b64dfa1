"""The demo in the layout of RSNA stage 2: DICOM files in one folder, one table row per box, and
what stands beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tasks.datasets.demos.lists import Member, write_lists
from tasks.datasets.rsna import CLASSES_TABLE, COLUMNS, DETAILS, FILES, MAPPING, TABLE, Rsna
from tasks.demo.beam.render import LEAST_SIDE, Box, render
from tasks.demo.body.patient import PATHOLOGY, RATES, Finding, Study
from tasks.demo.reports.visits import study_of
from tasks.demo.writers import manifest
from tasks.demo.writers.dicom import dicom_bytes, uids
from tasks.demo.writers.files import JPEG_QUALITY

DEMO = Rsna.demo
RSNA_RATES = {
    **RATES,
    "consolidation": 0.35,
    "pneumothorax": 0.05,
    "effusion": 0.2,
    "edema": 0.1,
    "nodule": 0.08,
}
"""Opacities in about a third of the images (22% in stage 2), so that a small demo's test set has
enough of them; the others make the images that are neither positive nor normal."""
LEAST_AMOUNT = 0.35
LEAST_CONTRAST = 0.6
"""Opacities start at this size and plainness: from smaller and fainter ones no detector learnt
anything at 128 px."""


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    order = np.random.default_rng(seed).permutation(len(written))
    shuffled = [written[number] for number in order]
    rows = [row for study in shuffled for row in study["rows"]]
    manifest.write_table(out / TABLE, ",".join(COLUMNS), rows)
    details = [f"{study['image']},{study['class']}" for study in shuffled for _ in study["rows"]]
    manifest.write_table(out / CLASSES_TABLE, "patientId,class", details)
    mapping = [{"subset_img_id": study["image"], "img_id": study["nih"]} for study in shuffled]
    manifest.write_bytes(out / MAPPING, (json.dumps(mapping, indent=1) + "\n").encode())
    write_lists(out, DEMO, written)
    return _counts(written)


def _counts(written: list[dict[str, Any]]) -> dict[str, int]:
    classes = [study["class"] for study in written]
    positive = classes.count(DETAILS[0])
    rows = sum(len(study["rows"]) for study in written)
    counts = {
        "rows": rows,
        "images": len(written),
        "positive images": positive,
        "boxes": rows - len(written) + positive,
    }
    return counts | {f"images of class '{name}'": classes.count(name) for name in DETAILS}


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one study's image; return its rows of the tables."""
    study = _plain(study_of(job.seed, number, DEMO.stream, RSNA_RATES))
    rendering = render(study, job.size)
    name = image_name(job.seed, number)
    path = job.out / FILES / f"{name}.dcm"
    if not path.is_file():
        names = uids("rsna", job.seed, number)
        header = _header(study, name)
        content = dicom_bytes(rendering.image, names, header, jpeg=JPEG_QUALITY)
        manifest.write_bytes(path, content)
    opacities = rendering.boxes.get("consolidation", [])
    boxes = [box for box in opacities if min(box[2:]) >= LEAST_SIDE]
    first = study.patient.number
    patient = f"{first + 1:08d}"
    return {
        "image": name,
        "nih": f"{patient}_{study.order:03d}.png",
        "member": Member(name, patient, first, int(bool(boxes))),
        "rows": [_row(name, box) for box in boxes] or [f"{name},,,,,0"],
        "class": _class(study, bool(boxes)),
        "truth": [manifest.truth(name, rendering, study.findings, study.view)],
    }


def _plain(study: Study) -> Study:
    """Return the study with its opacities large and plain enough, in the order they were of size
    and plainness."""
    return replace(study, findings=tuple(map(_plainer, study.findings)))


def _plainer(finding: Finding) -> Finding:
    if finding.name != "consolidation":
        return finding
    amount = _from(LEAST_AMOUNT, finding.amount)
    contrast = _from(LEAST_CONTRAST, finding.contrast)
    return replace(finding, amount=amount, contrast=contrast)


def _from(least: float, share: float) -> float:
    return least + (1 - least) * share


def image_name(seed: int, number: int) -> str:
    """Return the id of an image, 128 bits of a hash."""
    digest = manifest.digest("rsna", seed, number)
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def _row(name: str, box: Box) -> str:
    return ",".join([name, *(f"{value:.1f}" for value in box), "1"])


def _class(study: Study, positive: bool) -> str:
    if positive:
        return DETAILS[0]
    return DETAILS[1] if any(study.has(name) for name in PATHOLOGY) else DETAILS[2]


def _header(study: Study, name: str) -> dict[str, str]:
    return {
        "PatientID": name,
        "PatientName": name,
        "PatientSex": study.patient.sex,
        "PatientAge": str(study.patient.age),
        "ViewPosition": study.view,
        "SeriesDescription": f"view: {study.view}",
        "PhotometricInterpretation": "MONOCHROME2",
    }


write = partial(manifest.write, "rsna", _write_study, _tables, version=DEMO.version)
"""Write `studies` studies at `size` px into `out`, as `manifest.write` says."""
