"""From rendered findings to the labels of the datasets: what is on the image, not what a report
says of it."""

from __future__ import annotations

from tasks.demo.body.patient import Finding, Study
from tasks.demo.reports.report import UNSPOKEN
from tasks.labelling.observations import CHEXPERT

MEANS: dict[str, tuple[str, ...]] = {
    "pneumothorax": ("Pneumothorax",),
    "effusion": ("Pleural Effusion",),
    "consolidation": ("Consolidation", "Lung Opacity"),
    "atelectasis": ("Atelectasis", "Lung Opacity"),
    "edema": ("Edema", "Lung Opacity"),
    "cardiomegaly": ("Cardiomegaly", "Enlarged Cardiomediastinum"),
    "nodule": ("Lung Lesion",),
    "fracture": ("Fracture",),
}


def meanings(finding: Finding) -> tuple[str, ...]:
    """Return the CheXpert labels one finding stands for."""
    if finding.name == "device":
        return () if finding.kind in UNSPOKEN else ("Support Devices",)
    return (*MEANS[finding.name], *(("Pneumonia",) if finding.kind == "pneumonia" else ()))


def true_labels(study: Study) -> dict[str, int]:
    """Return all 14 CheXpert labels of a study, 0 or 1, as a reader of its image would set them."""
    present = {label for finding in study.findings for label in meanings(finding)}
    if not present - {"Support Devices"}:
        present.add("No Finding")
    return {label: int(label in present) for label in CHEXPERT}
