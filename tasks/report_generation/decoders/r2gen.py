"""The decoder of R2Gen (Chen et al. 2020) with its relational memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from bench.core.settings import Range
from tasks.report_generation.decoders import decoder
from tasks.report_generation.settings import ReportSettings

if TYPE_CHECKING:
    from tasks.report_generation.decoder import TrainedReporter
    from tasks.report_generation.visual import VisualMemory
    from tasks.report_generation.vocabulary import Vocabulary


@dataclass(frozen=True)
class R2GenSettings(ReportSettings):
    """What `decoder=r2gen` has beside the settings of the kind."""

    bare_patches: ClassVar[bool] = True
    counts_begin: ClassVar[bool] = True

    memory_slots: Annotated[int, Range(1, 1024)] = 3
    """Slots of R2Gen's relational memory."""


@decoder("r2gen", R2GenSettings, title="that of R2Gen with its relational memory")
def build(visual: VisualMemory, vocabulary: Vocabulary, settings: R2GenSettings) -> TrainedReporter:
    """Return R2Gen's encoder layers, memory and decoder on the visual tokens."""
    from tasks.report_generation.decoder import ReportDecoder, TrainedReporter

    words = ReportDecoder(len(vocabulary), settings, settings.memory_slots)
    return TrainedReporter(visual, words, settings.label_smoothing)
