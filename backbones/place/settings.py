"""Settings of PLACE: every choice of the re-implementation that the paper leaves open is a switch
here. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from backbones.shared.pretraining.settings import MethodSettings
from bench.core.errors import SettingError
from bench.core.settings import Inside, Layers, Range, Scale, Weight, Width, later


@dataclass(frozen=True)
class PLACESettings(MethodSettings):
    """PLACE (Wang et al. 2025) as it is re-implemented here from its abstract: the values are ours,
    not published ones."""

    queries: Annotated[int, Range(1, 4096)] = 16
    """Learned query tokens, each of which reads one observation from the patches of an image."""
    vpoe_layers: Layers = 2
    """Attention layers of the extractor of observations."""
    vpoe_width: Annotated[int, Range(4, 65_536, multiple_of=4)] = 768
    """Width of the extractor, and of the layer that predicts correlations (CCE); a multiple of
    `heads`."""
    heads: Annotated[int, Range(1, 1024)] = 8
    """Attention heads of the extractor and of that layer."""
    competing: bool = False
    """Whether queries compete for patches (slot attention, Locatello et al. 2020) or each reads on
    its own."""
    anchored: bool = later(True, before=False)
    """Whether each query has a place on the image, learned from a grid, around which it reads; else
    nothing tells the queries where to look, and they all read the whole image."""
    read_only: bool = later(True, before=False)
    """Whether an observation is what its query read in the last layer, without the query itself;
    else observations differ by their queries though all of them read the same."""
    t_por: Literal["sentence", "query"] = "sentence"
    """What the observations of an image are aligned with: each sentence of the report, which
    attends to them, or query by query with observations read from the report in the same way."""
    tau2: Scale = 0.1
    """Temperature of the attention of a sentence over the observations."""
    tau3: Scale = 0.1
    """Temperature of the contrast in PCMA, the alignment of observations."""
    duplicate_cosine: Annotated[float, Range(-1, 1)] | None = 0.95
    """Cosine of two sentences above which they say the same, so that neither's report is a negative
    of the other (t_por=sentence); none: only sentences with the same words do."""
    mask_duplicates: bool = True
    """Whether reports that say the same are left out of the negatives at all; false: every other
    report is a negative."""
    cce_target: Literal["feature", "pixel"] = "feature"
    """What CCE predicts the correlation of, between the patches of an image: their features or
    their grey values."""
    cce_loss: Literal["frobenius", "pearson"] = "frobenius"
    """How far a predicted correlation matrix is from the image's: the mean squared difference of
    its entries, or one minus their correlation."""
    cce_dim: Width = 64
    """Dimensions of the rows that CCE predicts, whose correlations are compared."""
    mask_ratio: Inside = 0.5
    """Share of the patches, drawn at random, that are hidden from the prediction of CCE."""
    lambda_ita: Weight = 1.0
    """Weight of the alignment of whole images and reports (ITA)."""
    lambda_pcma: Weight = 1.0
    """Weight of the alignment of observations (PCMA); at 0 the encoder has no observations and no
    local score."""
    lambda_cce: Weight = 1.0
    """Weight of the exploration of correlations (CCE)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vpoe_width % self.heads:
            raise SettingError(
                f"vpoe_width {self.vpoe_width}, heads {self.heads}.",
                "vpoe_width must be a multiple of heads.",
            )


Settings = PLACESettings
"""Its name of before, for plug-ins."""
