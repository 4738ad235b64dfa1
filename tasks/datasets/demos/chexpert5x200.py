"""The demo of CheXpert 5x200 and 8x200: CheXpert's layout, reports as in CheXpert Plus, most images
with one finding alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.contracts import Progress
from tasks.datasets._chexpert import COLUMNS, PLUS
from tasks.datasets.demos import exclusive
from tasks.datasets.demos.chexpert import image_row
from tasks.demo.beam.render import render
from tasks.demo.members import Demo
from tasks.demo.writers import manifest
from tasks.demo.writers.files import write_jpeg

PLUS_COLUMNS = (
    "path_to_image",
    "frontal_lateral",
    "ap_pa",
    "deid_patient_id",
    "report",
    "section_findings",
    "section_impression",
)


def write(
    out: Path,
    dataset: str,
    demo: Demo,
    classes: Sequence[str],
    *,
    studies: int,
    size: int,
    seed: int,
    workers: int = 2,
    progress: Progress | None = None,
) -> None:
    """Write `studies` studies at `size` px into `out`, as `manifest.write` says."""
    study = partial(_write_study, demo, tuple(classes))
    manifest.write(
        dataset,
        study,
        _tables,
        out,
        studies=studies,
        size=size,
        seed=seed,
        workers=workers,
        progress=progress,
        version=demo.version,
    )


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    manifest.write_table(out / "train.csv", ",".join(COLUMNS), [image["row"] for image in written])
    table = io.StringIO()
    csv.writer(table).writerows([PLUS_COLUMNS, *(image["report"] for image in written)])
    manifest.write_bytes(out / PLUS, table.getvalue().encode())
    return {"rows of train.csv": len(written)}


def _write_study(
    demo: Demo, classes: Sequence[str], job: manifest.Job, number: int
) -> dict[str, Any]:
    """Write one frontal image; return its rows of the tables and its ground truth."""
    study, report = exclusive.drawn(demo, job.seed, number, classes)
    patient = f"patient{number + 1:05d}"
    image_id = f"train/{patient}/study1/view1_frontal"
    rendering = render(study, job.size)
    write_jpeg(job.out / f"{image_id}.jpg", rendering.image)
    path = f"{image_id}.jpg"
    return {
        "row": image_row(image_id, study, study.view, report.labels),
        "report": (
            path,
            "Frontal",
            study.view,
            patient,
            report.text,
            report.findings,
            report.impression,
        ),
        "truth": [manifest.truth(image_id, rendering, study.findings, study.view)],
    }
