"""Settings of GLoRIA. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backbones.shared.pretraining.settings import MethodSettings
from bench.core.settings import Layers, Scale, Weight


@dataclass(frozen=True)
class GLoRIASettings(MethodSettings):
    """The values of GLoRIA's code (Huang et al. 2021); recipe, encoders and data are what every
    method gets."""

    tau1: Scale = 0.1
    attention_scale: Scale = 4.0
    """Factor on the cosines of words and regions before each word's attention over the regions (the
    code's temp1)."""
    word_scale: Scale = 5.0
    """Factor on a word's cosine with what it attends to, before the words of a report are summed up
    as a log-sum-exp (temp2)."""
    report_scale: Scale = 10.0
    """Factor on the score of a report in an image, before the contrast with other pairs (temp3)."""
    word_layers: Layers = 4
    """Last layers of the text encoder whose states are summed to the states of the words."""
    heads: Literal["shared", "linear"] = "shared"
    """Projection heads: shared are those that every method has, which small encoders trained from
    scratch need; linear the published ones, one layer for images and one for regions to the width
    of the text encoder, and none for the text."""
    lambda_global: Weight = 1.0
    """Weight of the loss between whole images and reports."""
    lambda_local: Weight = 1.0
    """Weight of the loss between words and regions."""
    quirks: bool = False
    """Whether the defects of the published code are repeated: it cuts the text otherwise, matches
    [CLS] as a word in the loss, loses the last word for every [UNK], and takes the mean over all
    positions for the sentence. docs/methods.md lists them."""


Settings = GLoRIASettings
"""Its name of before, for plug-ins."""
