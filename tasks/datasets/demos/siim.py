"""The demo in the layout of SIIM-ACR stage 1: a DICOM tree and `train-rle.csv`, its quirks
included."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tasks.datasets._rle import encode_rle
from tasks.datasets.demos.lists import Member, write_lists
from tasks.datasets.siim import Siim
from tasks.demo.beam.render import render
from tasks.demo.body.patient import RATES, Study, sample_patient
from tasks.demo.reports import visits
from tasks.demo.writers import manifest
from tasks.demo.writers.dicom import dicom_bytes, uids
from tasks.demo.writers.ids import distinct

DEMO = Siim.demo
TABLE = "train-rle.csv"
HEADER = "ImageId, EncodedPixels"
SIIM_RATES = {
    **RATES,
    "pneumothorax": 0.24,
    "effusion": 0.15,
    "consolidation": 0.14,
    "edema": 0.07,
    "cardiomegaly": 0.14,
}
"""Pneumothorax in about 22% of the images, as in stage 1; the others as distractors."""


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    rows = [row for study in written for row in study["rows"]]
    order = np.random.default_rng(seed).permutation(len(rows))
    manifest.write_table(out / TABLE, HEADER, [rows[n] for n in order])
    write_lists(out, DEMO, written)
    masks = [len(study["rows"]) for study in written]
    return {
        "images": len(written),
        "positive images": sum(study["positive"] for study in written),
        "rows": len(rows),
        "images with several masks": sum(n > 1 for n in masks),
    }


def study_of(seed: int, number: int) -> Study:
    """Return study `number`: about one in twenty is a second visit of the patient before it."""
    return visits.study_of(seed, number, DEMO.stream, SIIM_RATES)


def patient_names(seed: int, studies: int) -> tuple[str, ...]:
    """Return the id of the patient of every study's first visit."""
    return distinct(_patient_name, (seed,), studies)


def _patient_name(seed: int, number: int, *attempt: int) -> str:
    """Return eight digits of a hash: of the patient's own seed for the first thousand, as demos of
    the usual size have had, of the number for the others, which takes no drawing of patients."""
    if number < 1000 and not attempt:
        rng = DEMO.generator(seed, number)
        return manifest.digest("siim", seed, sample_patient(rng, number).seed)[:8]
    return manifest.digest("siim", seed, f"patient {number}", *attempt)[:8]


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one DICOM file and return its rows of the table and its ground truth."""
    study = study_of(job.seed, number)
    rendering = render(study, job.size)
    names = uids("siim", job.seed, number)
    path = job.out / "dicom-images-train" / names[0] / names[1] / f"{names[2]}.dcm"
    first = study.patient.number
    patient = patient_names(job.seed, job.studies)[first]
    if not path.is_file():
        header = _header(job.seed, study, number, patient)
        pixels = (
            rendering.image
            if header["PhotometricInterpretation"] == "MONOCHROME2"
            else 255 - rendering.image
        )
        manifest.write_bytes(path, dicom_bytes(pixels, names, header))
    masks = rendering.parts.get("pneumothorax", [])
    codes = [encode_rle(piece) for mask in masks for piece in _pieces(mask)]
    return {
        "rows": [f"{names[2]}, {code}" for code in codes or ["-1"]],
        "positive": bool(codes),
        "member": Member(names[2], patient, first, int(bool(codes))),
        "truth": [manifest.truth(names[2], rendering, study.findings, study.view)],
    }


def _pieces(mask: np.ndarray) -> list[np.ndarray]:
    """Return the connected pieces of a mask, at least 12 pixels each (the largest always), as one
    mask per table row."""
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    least = min(12, areas.max(initial=0))
    large = [number for number in range(1, count) if areas[number - 1] >= least]
    return [(labels == number).astype(np.uint8) for number in large]


def _header(seed: int, study: Study, number: int, patient: str) -> Mapping[str, Any]:
    """Return the tags beside the pixels; one image in sixteen is MONOCHROME1."""
    inverted = np.random.default_rng((seed, number, 2)).random() < 1 / 16
    return {
        "PatientID": patient,
        "PatientName": patient,
        "PatientSex": study.patient.sex,
        "PatientAge": f"{study.patient.age:03d}Y",
        "ViewPosition": study.view,
        "SeriesDescription": f"view: {study.view}",
        "PhotometricInterpretation": "MONOCHROME1" if inverted else "MONOCHROME2",
    }


write = partial(manifest.write, "siim", _write_study, _tables, version=DEMO.version)
"""Write `studies` studies at `size` px into `out`, as `manifest.write` says."""
