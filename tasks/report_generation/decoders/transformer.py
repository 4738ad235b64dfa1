"""A transformer decoder that is trained from scratch on the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report_generation.decoders import decoder
from tasks.report_generation.settings import ReportSettings

if TYPE_CHECKING:
    from tasks.report_generation.decoder import TrainedReporter
    from tasks.report_generation.visual import VisualMemory
    from tasks.report_generation.vocabulary import Vocabulary


@decoder("transformer", title="a transformer trained from scratch")
def build(
    visual: VisualMemory, vocabulary: Vocabulary, settings: ReportSettings
) -> TrainedReporter:
    """Return a pre-norm transformer decoder on the visual tokens."""
    from tasks.report_generation.decoder import ReportDecoder, TrainedReporter

    words = ReportDecoder(len(vocabulary), settings)
    return TrainedReporter(visual, words, settings.label_smoothing)
