"""Settings of MedTrim. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from backbones.shared.pretraining.settings import MethodSettings
from bench.core.errors import SettingError
from bench.core.settings import Range, Weight

Cosine = Annotated[float, Range(0, 2)]
Similarity = Annotated[float, Range(0, 1)]


@dataclass(frozen=True)
class MedTrimSettings(MethodSettings):
    """The values of MedTrim's code (icon-lab/MedTrim 28d08ff); recipe, encoders and data are what
    every method gets."""

    weights: tuple[Weight, Weight, Weight] = (0.85, 0.1, 0.05)
    """How much findings, their adjectives and their sides count in how alike two studies are."""
    margin: Cosine = 0.3
    """By how much closer the positive has to be than the negative, as one minus the cosine."""
    upper: Similarity = 0.6
    """Only a study that is less alike than this can be a negative."""
    lower: Similarity = 0.25
    """The negative is the least alike study from here on; where there is none, the most alike one
    below."""
    own_pair: bool = False
    """Whether an image is drawn to its own report, and a report to its own image, in place of those
    of the positive; false, as published: no term does so."""
    infonce: Weight = 0.0
    """Weight of the contrast of whole images with whole reports (InfoNCE) beside the triplets."""
    pool: Annotated[int, Range(2, 1_000_000)] | None = 512
    """Studies among which triplets are mined; batches are then filled with them. None, or no more
    than a batch: among those of the batch."""
    entities: Literal["ours", "published"] = "ours"
    """Who reads the reports: bench.text, or the recogniser of the published code with its defects,
    which sees no negation. docs/text.md says more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weights[0]:
            raise SettingError(
                f"weights={','.join(map(str, self.weights))}: findings count nothing, so that "
                "studies without one are alike to nobody.",
                "Give the first of them a value above 0.",
            )
        if self.lower >= self.upper:
            raise SettingError(
                f"lower={self.lower} is not below upper={self.upper}: no negative is between them.",
                "Set lower below upper.",
            )
