"""Settings of MGCA. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from backbones.shared.pretraining.settings import MethodSettings
from bench.core.settings import Range, Scale, Weight


@dataclass(frozen=True)
class MGCASettings(MethodSettings):
    """The values of MGCA's code (Wang et al. 2022); recipe, encoders and data are what every method
    gets."""

    text_pooling: Literal["mean", "cls"] = "cls"
    tau2: Scale = 0.1
    """Temperature of the alignment of tokens (CTA): of the attention between words and patches, and
    of the contrast of each with what it attends to."""
    tau3: Scale = 0.2
    """Temperature with which the prototype of one view is predicted from the other (CPA)."""
    epsilon: Scale = 0.05
    """Entropy of Sinkhorn's assignment of a batch to the prototypes: smaller is harder (Caron et
    al. 2020)."""
    prototypes: Annotated[int, Range(2, 1_000_000)] = 500
    """Prototypes, unit vectors in the common space, that images and reports are assigned to."""
    sinkhorn_iterations: Annotated[int, Range(1, 1000)] = 3
    """Rounds of Sinkhorn's balancing, which makes all prototypes used alike."""
    frozen_epochs: Annotated[int, Range(0, 1_000_000)] = 1
    """First epochs in which the prototypes stay as they are."""
    lambda_ita: Weight = 1.0
    """Weight of the alignment of whole images and reports (ITA)."""
    lambda_cta: Weight = 1.0
    """Weight of the alignment of tokens inside a pair (CTA)."""
    lambda_cpa: Weight = 1.0
    """Weight of the alignment by prototypes (CPA)."""
    quirks: bool = False
    """Whether the defects of the published code are repeated: it cuts the text otherwise, its text
    encoder knows no word order, word weights are shifted by a token, and padded positions are
    negatives. docs/methods.md lists them."""


Settings = MGCASettings
"""Its name of before, for plug-ins."""
