"""The 14 CheXpert observations of a report: by rules, or by CheXbert where the user has its
weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from tasks.report_generation.settings import ReportSettings

if TYPE_CHECKING:
    import numpy as np

OBSERVATIONS = (
    "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia",
    "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices", "No Finding",
)  # fmt: skip
MAIN = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
"""The five competition observations of CheXpert."""
POSITIVE = 1
NEGATIVE = 0
UNCERTAIN = -1
UNMENTIONED = -2


class Labeler(Protocol):
    """Cleaned reports to observations."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return int8 [n, 14]: 1 positive, 0 negative, -1 uncertain, -2 not mentioned; No Finding
        is 1 or -2."""
        ...


def make_labeler(settings: ReportSettings, device: str = "cpu") -> Labeler:
    """Return the labeler of the settings."""
    if settings.labeler == "chexbert":
        from tasks.report_generation.labeler.chexbert import CheXbert

        return CheXbert.load(settings.chexbert, device)
    from tasks.report_generation.labeler.rules import label_reports

    return label_reports
