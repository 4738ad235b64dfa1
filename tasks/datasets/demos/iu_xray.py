"""The demo in the layout of R2Gen's IU X-Ray release: two views a study, one annotation file."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tasks.datasets.iu_xray import IuXray
from tasks.demo.beam.render import render
from tasks.demo.body.patient import Study, sample_study
from tasks.demo.reports.report import Report, write_report
from tasks.demo.writers import manifest
from tasks.demo.writers.files import write_png

DEMO = IuXray.demo
VIEWS = ("PA", "LL")


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    entries = {
        name: [study["entry"] for study in written if study["entry"]["split"] == name]
        for name in ("train", "val", "test")
    }
    manifest.write_bytes(out / "annotation.json", json.dumps(entries).encode())
    return {**{name: len(members) for name, members in entries.items()}, "studies": len(written)}


def study_of(seed: int, number: int) -> Study:
    """Return study `number`: an outpatient's only visit, upright, in two views."""
    return replace(sample_study(DEMO.generator(seed, number), number), view="PA", lateral=True)


def report_of(study: Study, seed: int, number: int) -> Report:
    """Return the study's report; every one has findings."""
    reports = (
        write_report(study, DEMO.generator(seed, number, 1, attempt))
        for attempt in itertools.count()
    )
    return next(report for report in reports if report.findings)


def split_of(number: int, studies: int) -> str:
    """Return the split of a study: 70 / 10 / 20 %, as the release has."""
    original = {3: "val", 6: "test", 9: "test"}.get(number % 10, "train")
    return DEMO.split_of(number, studies, original)


def study_name(seed: int, number: int) -> str:
    """Return the name of a study: its number, then four drawn digits."""
    drawn = int(manifest.digest("iu", seed, number)[:4], 16) % 10_000
    return f"CXR{number + 1}_IM-{drawn:04d}"


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    study = study_of(job.seed, number)
    name = study_name(job.seed, number)
    truth = [
        _write_image(job, study, f"{name}/{position}.png", view)
        for position, view in enumerate(VIEWS)
    ]
    files = [f"{name}/{position}.png" for position in range(len(VIEWS))]
    report = report_of(study, job.seed, number).findings
    entry: Mapping[str, Any] = {
        "id": name,
        "report": report,
        "image_path": files,
        "split": split_of(number, job.studies),
    }
    return {"entry": entry, "truth": truth}


def _write_image(job: manifest.Job, study: Study, file: str, view: str) -> dict[str, Any]:
    rendering = render(study, job.size, view)
    write_png(job.out / "images" / file, rendering.image)
    return manifest.truth(file, rendering, study.findings, view)


write = partial(manifest.write, "iu_xray", _write_study, _tables, version=DEMO.version)
"""Write `studies` studies at `size` px into `out`, as `manifest.write` says."""
