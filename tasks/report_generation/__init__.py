"""Report generation: a text decoder on an encoder's patch tokens, scored by captioning metrics and
by the findings it names."""

from bench.contracts import KINDS
from tasks.report_generation.kind import ReportGenerationKind
from tasks.report_generation.settings import ReportSettings

__all__ = ["ReportGenerationKind", "ReportSettings"]

KINDS.add("report_generation", ReportGenerationKind())
