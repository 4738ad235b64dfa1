"""Studies with exactly one finding, and reports that say so: the demo of CheXpert 5x200 and its
relatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.core.errors import DataError
from tasks.datasets._chexpert import LABELS
from tasks.demo.body.patient import RATES, Study, sample_study
from tasks.demo.members import Demo
from tasks.demo.reports.report import Report, write_report

FINDING = {
    "Atelectasis": "atelectasis",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Edema": "edema",
    "Fracture": "fracture",
    "No Finding": "",
    "Pleural Effusion": "effusion",
    "Pneumonia": "consolidation",
    "Pneumothorax": "pneumothorax",
}
TRIES = 400


def drawn(demo: Demo, seed: int, number: int, classes: Sequence[str]) -> tuple[Study, Report]:
    """Return study `number` of a demo with its report."""
    study = study_of(demo, seed, number, classes)
    return study, report_of(demo, seed, number, study, classes)


def class_of(demo: Demo, seed: int, number: int, classes: Sequence[str]) -> str:
    """Return the class of a study; "" (any findings) for one in each block of classes + 1. The
    order within a block is drawn."""
    block, position = divmod(number, len(classes) + 1)
    return str(demo.generator(seed, block, 1).permutation([*classes, ""])[position])


def study_of(demo: Demo, seed: int, number: int, classes: Sequence[str]) -> Study:
    """Return study `number`, each of a patient of its own."""
    rng = demo.generator(seed, number, 2)
    name = class_of(demo, seed, number, classes)
    if not name:
        return sample_study(rng, number)
    study = sample_study(rng, number, {other: float(other == FINDING[name]) for other in RATES})
    findings = tuple(finding for finding in study.findings if finding.name != "device")
    if name in ("Pneumonia", "Consolidation"):
        findings = tuple(
            replace(finding, kind="pneumonia" if name == "Pneumonia" else "opacity")
            for finding in findings[:1]
        )
    return replace(study, findings=findings)


def report_of(demo: Demo, seed: int, number: int, study: Study, classes: Sequence[str]) -> Report:
    """Return a report whose labels are the study's class alone; raise DataError where none of many
    attempts is."""
    name = class_of(demo, seed, number, classes)
    for attempt in range(TRIES):
        report = write_report(study, demo.generator(seed, number, 3, attempt))
        if not name or _says_only(report, name):
            return report
    raise DataError(
        f"no report of demo study {number} (seed {seed}) says {name} alone in {TRIES} attempts.",
        "Use another seed.",
    )


def _says_only(report: Report, name: str) -> bool:
    others = [report.labels.get(label, 0) for label in LABELS if label not in (name, "No Finding")]
    return report.labels.get(name) == 1 and not any(others)
