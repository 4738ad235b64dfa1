"""The demo in the layout of REFLACX, beside rendered images in that of MIMIC-CXR."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tasks.datasets.demos import gaze
from tasks.datasets.reflacx import MAIN, Reflacx
from tasks.demo.writers import manifest

DEMO = Reflacx.demo
HOME = "reflacx"
LABELS = {
    "Acute fracture": "fracture",
    "Atelectasis": "atelectasis",
    "Consolidation": "consolidation",
    "Enlarged cardiac silhouette": "cardiomegaly",
    "Lung nodule or mass": "nodule",
    "Pleural abnormality": "effusion",
    "Pneumothorax": "pneumothorax",
    "Pulmonary edema": "edema",
    "Support devices": "device",
}
DRAWN = {name: finding for name, finding in LABELS.items() if finding != "device"}
"""Labels that readers draw ellipses for."""
FIXATIONS = (
    "timestamp_start_fixation,timestamp_end_fixation,x_position,y_position,pupil_area_normalized,"
    "angular_resolution_x_pixels_per_degree,angular_resolution_y_pixels_per_degree"
)
DEGREE = 1 / gaze.DEGREES
"""One visual degree as a share of the image's side."""


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    gaze.mimic_tables(out, written, seed)
    header = (
        "id,split,eye_tracking_data_discarded,image,dicom_id,subject_id,image_size_x,image_size_y,"
        + ",".join(LABELS)
    )
    readings = [reading for study in written for reading in study["readings"]]
    for phase in (1, 2, 3):
        rows = [row for number, row in readings if number == phase]
        if rows or phase == 1:
            path = out / HOME / MAIN / f"metadata_phase_{phase}.csv"
            manifest.write_table(path, header, rows)
    return {"readings": len(readings), "images": len(written)}


def phase_of(number: int) -> int:
    """Return the phase in which an image was read: one in twenty in each of the first two."""
    return {0: 1, 1: 2}.get(number % 20, 3)


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one image with its readings: two readers in the first phases, one in the third; return
    its rows of the tables."""
    read = gaze.write_study(DEMO, "reflacx", job, number)
    phase = phase_of(number)
    readers = 2 if phase < 3 else 1
    discarded = number % 25 == 3
    readings = []
    truth: list[dict[str, Any]] = []
    for reader in range(readers + discarded):
        dictation = gaze.dictate(read, DEMO.generator(job.seed, number, 2, reader + 1))
        name = f"P{phase}00R{number:04d}{reader:02d}"
        lost = reader >= readers
        rng = DEMO.generator(job.seed, number, 3, reader + 1)
        _write_reading(job.out / HOME / MAIN / name, read, dictation, rng)
        readings.append((phase, _metadata(name, read, lost)))
        truth = truth or gaze.truth_of(read, dictation)
    return {**read.row, "readings": readings, "truth": truth}


def _metadata(name: str, read: gaze.Read, discarded: bool) -> str:
    height, width = read.rendering.image.shape
    patient, study = read.row["patient"], read.row["study_id"]
    image = f"physionet.org/files/mimic-cxr/2.0.0/files/p{patient[:2]}/p{patient}/s{study}/"
    facts = (
        *(name, read.split, discarded, f"{image}{read.image_id}.dcm", read.image_id, patient),
        *(width, height),
    )
    certainties = [4 if read.rendering.parts.get(finding) else 0 for finding in LABELS.values()]
    return ",".join(map(str, (*facts, *certainties)))


def _write_reading(
    folder: Path, read: gaze.Read, dictation: gaze.Dictation, rng: np.random.Generator
) -> None:
    """Write the files of one reading."""
    degree = max(read.rendering.image.shape) * DEGREE * float(rng.uniform(0.9, 1.1))
    fixations = [
        f"{look.start:.3f},{look.start + look.duration:.3f},{look.x},{look.y},1.0,"
        f"{degree:.3f},{degree:.3f}"
        for look in dictation.looks
    ]
    manifest.write_table(folder / "fixations.csv", FIXATIONS, fixations)
    words = []
    for word, begin, end in dictation.words:
        stop = word.endswith(".")
        text = word.rstrip(".") if stop else word
        words.append(f'"{text}",{begin:.3f},{end:.3f}')
        words += [f".,{end:.3f},{end:.3f}"] if stop else []
    header = "word,timestamp_start_word,timestamp_end_word"
    manifest.write_table(folder / "timestamps_transcription.csv", header, words)
    manifest.write_bytes(folder / "transcription.txt", f"{dictation.text}\n".encode())
    header = f"xmin,ymin,xmax,ymax,certainty,{','.join(DRAWN)}"
    manifest.write_table(folder / "anomaly_location_ellipses.csv", header, _ellipses(read))
    lungs = list(gaze.boxes_of_lungs(read.rendering).values())
    box = [
        f(values) for f, values in zip((min, min, max, max), zip(*lungs, strict=True), strict=True)
    ]
    header = "xmin,ymin,xmax,ymax"
    manifest.write_table(folder / "chest_bounding_box.csv", header, [",".join(map(str, box))])


def _ellipses(read: gaze.Read) -> list[str]:
    rows = []
    for name, finding in DRAWN.items():
        for x, y, width, height in read.rendering.boxes.get(finding, []):
            flags = [str(name == other) for other in DRAWN]
            rows.append(",".join(map(str, (x, y, x + width, y + height, 4, *flags))))
    return rows


write = partial(manifest.write, "reflacx", _write_study, _tables, version=DEMO.version)
"""Write `studies` studies at `size` px into `out`, as `manifest.write` says."""
