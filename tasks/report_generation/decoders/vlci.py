"""The front-door intervention of VLCI / CMCRL (Chen et al. 2023, arXiv 2303.09117), re-implemented:
what is seen and what is written goes through mediators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from bench.core.errors import SettingError
from bench.core.settings import Layers, Range
from tasks.report_generation.decoders import decoder
from tasks.report_generation.settings import ReportSettings

if TYPE_CHECKING:
    from tasks.report_generation.decoder import TrainedReporter
    from tasks.report_generation.visual import VisualMemory
    from tasks.report_generation.vocabulary import Vocabulary

WAY_OUT = "or use decoder=transformer, which has no mediators"


@dataclass(frozen=True)
class VlciSettings(ReportSettings):
    """What `decoder=vlci` has beside the settings of the kind."""

    encoder_layers: Annotated[int, Range(0, 128)] = 3
    vdm: bool = True
    """Whether what is seen goes through a mediator of the patches that the encoder layers look at
    and of the whole image; with vdm and ldm off, the decoder is `transformer` with these layers."""
    ldm: bool = True
    """Whether the words go through a mediator of the same patches and of the vocabulary."""
    top_k: Annotated[int, Range(1, 100_000)] = 6
    """Patches that are chosen for each head: those that the encoder layers look at most."""
    scale: bool = False
    """Whether the scores of a front door are divided by the square root of the width; the published
    ones are not."""
    norm: Literal["torch", "published"] = "torch"
    """Layer normalisation in the mediators: torch's, or the published one, which divides by the
    sample deviation plus a constant."""
    causal_layers: Layers = 1
    """Layers of attention to the chosen patches, each with a second path of reversed scores."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mediated and not self.encoder_layers:
            raise SettingError(
                "encoder_layers is 0 with decoder=vlci, which chooses patches by what these look "
                "at.",
                f"Use at least 1, {WAY_OUT}.",
            )

    @property
    def mediated(self) -> bool:
        """Return whether there is a mediator."""
        return self.vdm or self.ldm


@decoder("vlci", VlciSettings, title="that of VLCI, whose images and words go through mediators")
def build(visual: VisualMemory, vocabulary: Vocabulary, settings: VlciSettings) -> TrainedReporter:
    """Return the decoder with its mediators, or with both off the decoder `transformer`; raise
    SettingError where the image has too few patches."""
    from tasks.report_generation.decoder import ReportDecoder, TrainedReporter
    from tasks.report_generation.mediated import MediatedReporter

    words = ReportDecoder(len(vocabulary), settings)
    if not settings.mediated:
        return TrainedReporter(visual, words, settings.label_smoothing)
    _check(visual.shape.grid, settings)
    return MediatedReporter(visual, words, settings)


def _check(grid: tuple[int, int], settings: VlciSettings) -> None:
    patches = grid[0] * grid[1]
    if patches == 1:
        raise SettingError(
            "decoder=vlci chooses among patches, and this encoder has one.",
            f"Use an encoder with patch tokens, {WAY_OUT}.",
        )
    if settings.top_k > patches:
        raise SettingError(
            f"top_k is {settings.top_k}, and an image has {patches} patches.",
            f"Choose at most {patches}, {WAY_OUT}.",
        )
