"""DTrace (arXiv 2401.13267), re-implemented: image and report are hidden in opposite shares, and
what was written is read again for its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from bench.core.errors import SettingError
from bench.core.settings import Layers, Length, Range, Weight
from tasks.report_generation.decoders import decoder
from tasks.report_generation.settings import ReportSettings

if TYPE_CHECKING:
    from tasks.report_generation.tracing import TracingReporter
    from tasks.report_generation.visual import VisualMemory
    from tasks.report_generation.vocabulary import Vocabulary

Ranges = Annotated[tuple[str, ...], Length(1, 1000)]
PUBLISHED = ("0.75-0.85", "0-1", "0-0.15")


@dataclass(frozen=True)
class DtraceSettings(ReportSettings):
    """What `decoder=dtrace` has beside the settings of the kind."""

    encoder_layers: Annotated[int, Range(0, 128)] = 6
    text_layers: Layers = 6
    """Layers that read the report in training."""
    image_mask: Ranges = PUBLISHED
    """Share of the image tokens that is hidden in training, drawn for a batch: a range for every
    epoch, such as 0.75-0.85,0-1,0-0.15; the last one goes on."""
    text_keep: Ranges = PUBLISHED
    """Share of the report's words that is read beside the image in training, as `image_mask`; 0 for
    none, else at least one word."""
    traceback: Literal["none", "argmax", "soft"] = "none"
    """Whether the written report is read again for its labels, every other batch: by its most
    probable words (argmax, as published: no gradient reaches the decoder), or by their expectation
    (soft)."""
    tfidf: Weight = 1.0
    """Weight of the loss in which a word counts by how rare it is (tf-idf); 0 leaves it out."""
    labels: Weight = 1.0
    """Weight of the losses of the labels of image and report, which the rules find in the training
    reports; 0 leaves them out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("image_mask", "text_keep"):
            for text in getattr(self, name):
                _range(name, text)
        if self.traceback != "none" and not self.labels:
            raise SettingError(
                f"traceback is {self.traceback} and labels is 0.",
                "The traceback reads labels by what these losses train; set labels, or "
                "traceback=none.",
            )

    def hidden(self, epoch: int, draw: float) -> float:
        """Return the share of image tokens hidden in an epoch (from 0), at `draw` within its
        range."""
        return _within("image_mask", self.image_mask, epoch, draw)

    def kept(self, epoch: int, draw: float) -> float:
        """Return the share of words kept in an epoch (from 0), at `draw` within its range."""
        return _within("text_keep", self.text_keep, epoch, draw)


def _within(name: str, ranges: tuple[str, ...], epoch: int, draw: float) -> float:
    low, high = _range(name, ranges[min(epoch, len(ranges) - 1)])
    return low + draw * (high - low)


def _range(name: str, text: str) -> tuple[float, float]:
    """Return the ends of a range `low-high` or of one number; raise SettingError for another."""
    try:
        ends = [float(word) for word in text.split("-")]
    except ValueError:
        ends = []
    if len(ends) not in (1, 2) or not 0 <= ends[0] <= ends[-1] <= 1:
        raise SettingError(
            f"setting '{name}' has the range '{text}'.",
            "Write low-high with 0 <= low <= high <= 1, such as 0.75-0.85, or one number.",
        )
    return ends[0], ends[-1]


@decoder("dtrace", DtraceSettings, title="that of DTrace, whose report is read again for labels")
def build(
    visual: VisualMemory, vocabulary: Vocabulary, settings: DtraceSettings
) -> TracingReporter:
    """Return the plain decoder with joint layers over image and report."""
    from tasks.report_generation.decoder import ReportDecoder
    from tasks.report_generation.tracing import TracingReporter

    words = ReportDecoder(len(vocabulary), settings)
    return TracingReporter(visual, words, vocabulary, settings)
