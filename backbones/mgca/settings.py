"""Settings of MGCA. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from backbones.settings import MethodSettings


@dataclass(frozen=True)
class Settings(MethodSettings):
    """Those of the published code; recipe, encoders and data are what every method gets.

    Tokens are contrasted with `tau2` (CTA); `prototypes` unit vectors are assigned by
    `sinkhorn_iterations` of Sinkhorn with `epsilon` and predicted with `tau3` (CPA), and stay fixed
    for the first `frozen_epochs`. The report is the state of [CLS] (in the demo profile the mean of
    all), whose attention in the last layer weighs the words.

    `quirks` repeats the published code: the text is cut as there (`published_sentences`) and
    trained on from three words on, every token has position 0 and no token type (the text encoder
    knows no word order), word weights are shifted by one token, so that [SEP] is a word of weight
    0, a report that fills all tokens loses its last word and [SEP], padded positions are negatives,
    and attended words are not normalised for a ViT.
    """

    text_pooling: Literal["mean", "cls"] = "cls"
    tau2: float = 0.1
    tau3: float = 0.2
    epsilon: float = 0.05
    prototypes: int = 500
    sinkhorn_iterations: int = 3
    frozen_epochs: int = 1
    lambda_ita: float = 1.0
    lambda_cta: float = 1.0
    lambda_cpa: float = 1.0
    quirks: bool = False

    # An untrained [CLS] is nearly the same for all reports: pooled from it, a small encoder of the
    # demo starts ill-conditioned.
    demo: ClassVar[Mapping[str, Any]] = {"text_pooling": "mean"}
