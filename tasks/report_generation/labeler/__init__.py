"""The 14 CheXpert observations of a report: by rules, or by CheXbert where the user has its
weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from bench.text.observations import (
    MAIN,
    NEGATIVE,
    OBSERVATIONS,
    POSITIVE,
    UNCERTAIN,
    UNMENTIONED,
)
from tasks.report_generation.settings import ReportSettings

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "MAIN",
    "NEGATIVE",
    "OBSERVATIONS",
    "POSITIVE",
    "UNCERTAIN",
    "UNMENTIONED",
    "Labeler",
    "make_labeler",
]


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
    from bench.text.rules import label_reports

    return label_reports
