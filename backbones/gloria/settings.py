"""Settings of GLoRIA. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backbones.shared.pretraining.settings import MethodSettings
from bench.core.settings import Layers, Scale, Weight


@dataclass(frozen=True)
class Settings(MethodSettings):
    """Those of the published code; recipe, encoders and data are what every method gets.

    A region's attention is a softmax over the words, then over the regions of `attention_scale`
    times it (temp1); a word scores `word_scale` times its cosine with what it attends to (temp2),
    and a report `report_scale` times the log-sum-exp of its words (temp3). `tau1` is the
    temperature of the global loss (1 / 10). Words and sentence are sums over the last `word_layers`
    layers of the text encoder.

    `heads` "shared": the projection heads that every method has, which small encoders trained from
    scratch need; "linear": the published ones, a linear layer for images and regions to the width
    of the text encoder and none for the text.

    `quirks` repeats the published code: the text is cut as there (`published_sentences`), [CLS] is
    matched as a word in the loss (not in a score at inference), every [UNK] costs the loss the last
    word, and the sentence is the mean over all positions, [CLS], [SEP] and the empty ones among
    them.
    """

    tau1: Scale = 0.1
    attention_scale: Scale = 4.0
    word_scale: Scale = 5.0
    report_scale: Scale = 10.0
    word_layers: Layers = 4
    heads: Literal["shared", "linear"] = "shared"
    lambda_global: Weight = 1.0
    lambda_local: Weight = 1.0
    quirks: bool = False
