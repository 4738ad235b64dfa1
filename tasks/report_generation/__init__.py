"""Report generation: a text decoder on an encoder's patch tokens, scored by captioning metrics and
by the findings it names."""

import importlib
import pkgutil

from bench.contracts import KINDS
from tasks.report_generation import decoders
from tasks.report_generation.kind import ReportGenerationKind
from tasks.report_generation.settings import ReportSettings

__all__ = ["ReportGenerationKind", "ReportSettings"]

KINDS.add("report_generation", ReportGenerationKind())
for module in pkgutil.iter_modules(decoders.__path__):
    importlib.import_module(f"{decoders.__name__}.{module.name}")
