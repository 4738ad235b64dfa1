"""How good a labeler is against Open-I's MeSH terms: `python -m
tasks.report_generation.labeler.measure [NLMCXR_reports.tgz]`.

The reports are read in place: from the archive named, or from an installed torchxrayvision (its
wheel holds them, CC BY-NC-ND).
"""

from __future__ import annotations

import importlib.util
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.core.errors import DataError
from bench.text.observations import OBSERVATIONS, POSITIVE, UNCERTAIN
from bench.text.rules import label_reports
from tasks.datasets._openi import OpenIReport, parse_report
from tasks.report_generation.labeler import Labeler

ARCHIVE = "NLMCXR_reports.tgz"
TERMS: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": ("mediastinum/prominent", "mediastinum/enlarged",
    "mediastinum/large"),
    "Cardiomegaly": ("cardiomegaly", "cardiac shadow/enlarged", "cardiac shadow/borderline",
    "cardiac shadow/prominent"),
    "Lung Opacity": (
        "opacity", "infiltrate", "airspace disease", "markings/lung", "density", "cicatrix/lung",
        "pulmonary fibrosis",
        "lung diseases, interstitial",
    ),
    "Lung Lesion": ("nodule", "mass", "cavitation"),
    "Edema": ("pulmonary edema", "pulmonary congestion", "heart failure"),
    "Consolidation": ("consolidation",),
    "Pneumonia": ("pneumonia",),
    "Atelectasis": ("pulmonary atelectasis",),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax", "hemopneumothorax"),
    "Pleural Effusion": ("pleural effusion", "costophrenic angle", "hydropneumothorax",
    "hemothorax", "hemopneumothorax"),
    "Pleural Other": ("thickening/pleura", "cicatrix/pleura", "calcinosis/pleura", "pleura/"),
    "Fracture": ("fractures, bone",),
    "Support Devices": (
        "catheters, indwelling", "implanted medical device", "surgical instruments",
        "tube, inserted", "medical device", "stents",
        "spinal fusion", "sutures",
    ),
    "No Finding": ("normal",),
}  # fmt: skip
"""Prefixes of the major MeSH terms that stand for an observation."""


def find_archive() -> Path:
    """Return the archive inside an installed torchxrayvision; raise DataError where there is
    none."""
    package = importlib.util.find_spec("torchxrayvision")
    path = Path(package.origin).parent / "data" / ARCHIVE if package and package.origin else None
    if path is None or not path.is_file():
        raise DataError(
            f"no {ARCHIVE}: torchxrayvision is not installed.",
            "Name the file, or pip install torchxrayvision==1.5.7.",
        )
    return path


def read_archive(path: Path) -> list[OpenIReport]:
    """Return the reports of an archive of XML files, sorted by name; nothing is unpacked."""
    with tarfile.open(path) as archive:
        members = sorted(
            (member for member in archive if member.name.endswith(".xml")),
            key=lambda member: member.name,
        )
        streams = ((member.name, archive.extractfile(member)) for member in members)
        return [
            parse_report(stream, f"{path}:{name}") for name, stream in streams if stream is not None
        ]


def mesh_labels(reports: Sequence[OpenIReport]) -> np.ndarray:
    """Return which observations the MeSH terms name, bool [n, 14]."""
    named = np.zeros((len(reports), len(OBSERVATIONS)), bool)
    for row, report in enumerate(reports):
        terms = [term.lower() for term in report.mesh]
        for column, name in enumerate(OBSERVATIONS):
            named[row, column] = any(term.startswith(TERMS[name]) for term in terms)
    return named


def measure(
    reports: Sequence[OpenIReport], labeler: Labeler = label_reports
) -> list[tuple[str, int, float, float, float]]:
    """Return (observation, reports with its MeSH term, precision, recall, F1); uncertain counts as
    named."""
    truth = mesh_labels(reports)
    labels = labeler([f"{report.findings} {report.impression}" for report in reports])
    named = np.isin(labels, (POSITIVE, UNCERTAIN))
    rows = [(name, *_scores(named[:, k], truth[:, k])) for k, name in enumerate(OBSERVATIONS)]
    return [*rows, ("all (micro)", *_scores(named.ravel(), truth.ravel()))]


def _scores(named: np.ndarray, truth: np.ndarray) -> tuple[int, float, float, float]:
    both = int((named & truth).sum())
    precision = both / max(1, int(named.sum()))
    recall = both / max(1, int(truth.sum()))
    return (
        int(truth.sum()),
        precision,
        recall,
        2 * precision * recall / max(1e-9, precision + recall),
    )


def held_out(reports: Sequence[OpenIReport]) -> Sequence[OpenIReport]:
    """Return the half of the reports (every second one by name) whose errors are not looked at when
    the rules are revised."""
    return reports[1::2]


def table(title: str, reports: Sequence[OpenIReport]) -> str:
    """Return the Markdown table of `measure`."""
    lines = [
        f"{len(reports)} reports, {title}",
        "",
        "| observation | MeSH | precision | recall | F1 |",
        "|---|---|---|---|---|",
    ]
    for name, count, *values in measure(reports):
        lines.append(f"| {name} | {count} | " + " | ".join(f"{v:.3f}" for v in values) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables of docs/labeler.md: the half held out, and all reports."""
    reports = read_archive(Path(sys.argv[1]) if len(sys.argv) > 1 else find_archive())
    print(table("held out", held_out(reports)), table("all", reports), sep="\n\n")


if __name__ == "__main__":
    main()
