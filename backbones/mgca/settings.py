"""Settings of MGCA. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from backbones.shared.pretraining.settings import MethodSettings
from bench.core.settings import Range, Scale, Weight


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
    tau2: Scale = 0.1
    tau3: Scale = 0.2
    epsilon: Scale = 0.05
    prototypes: Annotated[int, Range(2, 1_000_000)] = 500
    sinkhorn_iterations: Annotated[int, Range(1, 1000)] = 3
    frozen_epochs: Annotated[int, Range(0, 1_000_000)] = 1
    lambda_ita: Weight = 1.0
    lambda_cta: Weight = 1.0
    lambda_cpa: Weight = 1.0
    quirks: bool = False
