"""The demo in the layout of EGD-CXR, beside rendered images in that of MIMIC-CXR."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from tasks.datasets.demos import gaze
from tasks.datasets.egd_cxr import BOXES, FIXATIONS, SHEET, TRANSCRIPT, EgdCxr
from tasks.demo.writers import manifest

DEMO = EgdCxr.demo
HOME = "egd_cxr"
SHEET_COLUMNS = (
    "dicom_id,path,study_id,patient_id,stay_id,gender,anchor_age,dx1,dx1_icd,"
    "cxr_exam_indication,Normal,CHF,pneumonia"
)
FIXATION_COLUMNS = (
    "SESSION_ID,MEDIA_ID,DICOM_ID,CNT,Time (in secs),TIMETICK(f=10000000),FPOGX,FPOGY,FPOGS,FPOGD,"
    "FPOGID,FPOGV,X_ORIGINAL,Y_ORIGINAL"
)
BOX_COLUMNS = "dicom_id,bbox_name,x1,x2,y1,y2"
INVALID_EVERY = 20
"""One fixation in so many is called invalid by the eye tracker."""


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    gaze.mimic_tables(out, written, seed)
    home = out / HOME
    manifest.write_table(home / SHEET, SHEET_COLUMNS, [study["sheet"] for study in written])
    fixations = [row for study in written for row in study["fixations"]]
    manifest.write_table(home / FIXATIONS, FIXATION_COLUMNS, fixations)
    boxes = [row for study in written for row in study["boxes"]]
    manifest.write_table(home / BOXES, BOX_COLUMNS, boxes)
    return {"images": len(written), "patients": len({study["patient"] for study in written})}


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one image with its transcript; return its rows of the tables."""
    read = gaze.write_study(DEMO, "egd_cxr", job, number)
    dictation = gaze.dictate(read, DEMO.generator(job.seed, number, 2))
    words = [
        {"phrase": word, "begin_time": begin, "end_time": end}
        for word, begin, end in dictation.words
    ]
    transcript = {"full_text": dictation.text, "time_stamped_text": words}
    path = job.out / HOME / TRANSCRIPT.format(read.image_id)
    manifest.write_bytes(path, json.dumps(transcript).encode())
    patient, study = read.row["patient"], read.row["study_id"]
    dicom = f"files/p{patient[:2]}/p{patient}/s{study}/{read.image_id}.dcm"
    return {
        **read.row,
        "sheet": _sheet(read, dicom, number),
        "fixations": _fixations(read, dictation, number),
        "boxes": [
            f"{read.image_id},{name},{x1},{x2},{y1},{y2}"
            for name, (x1, y1, x2, y2) in gaze.boxes_of_lungs(read.rendering).items()
        ],
        "truth": gaze.truth_of(read, dictation),
    }


def _sheet(read: gaze.Read, dicom: str, number: int) -> str:
    labels = read.report.labels
    kinds = [labels.get(name) == 1 for name in ("No Finding", "Edema", "Pneumonia")]
    indication = '"___ year old with cough, rule out pneumonia"'
    patient, study = read.row["patient"], read.row["study_id"]
    person = f"{read.study.patient.sex},{20 + number % 60}"
    facts = (read.image_id, dicom, study, patient, 30_000_000 + number, person, "", "", indication)
    return ",".join(map(str, (*facts, *map(int, kinds))))


def _fixations(read: gaze.Read, dictation: gaze.Dictation, number: int) -> list[str]:
    side = max(read.rendering.image.shape)
    rows = []
    for place, look in enumerate(dictation.looks):
        end = look.start + look.duration
        valid = int((number + place) % INVALID_EVERY != 0)
        facts = (
            f"S{number // 30}",
            number % 30,
            read.image_id,
            place,
            f"{end:.3f}",
            round(end * 10_000_000),
            f"{look.x / side:.5f}",
            f"{look.y / side:.5f}",
            f"{look.start:.3f}",
            f"{look.duration:.3f}",
            place + 1,
            valid,
            look.x,
            look.y,
        )
        rows.append(",".join(map(str, facts)))
    return rows


write = partial(manifest.write, "egd_cxr", _write_study, _tables, version=DEMO.version)
"""Write `studies` studies at `size` px into `out`, as `manifest.write` says."""
