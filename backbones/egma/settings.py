"""Settings of EGMA. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from backbones.shared.pretraining.settings import MethodSettings
from bench.contracts import Annotation
from bench.core.settings import Layers, Range, Share, Weight
from bench.data.annotations import Regions, Reports


@dataclass(frozen=True)
class EGMASettings(MethodSettings):
    """The values of EGMA's paper and code (Ma et al. 2024); recipe, encoders and data are what
    every method gets."""

    gaze_fraction: Share = 1.0
    """Share of the training images whose gaze is used; 0: the method without gaze, on any dataset
    with reports. Which images these are depends on their ids and the seed, and a smaller share is
    part of a larger one."""
    alpha: Share = 0.8
    """Weight of the sentences' side in the gaze loss (EGF); the patches' side has the rest."""
    egf: Weight = 1.0
    """Weight of the loss that asks every sentence to be alike to the patches that were looked at
    (EGF); images without gaze have none."""
    egm: Weight = 1.0
    """Weight of the loss that re-weights patches and sentences by similarity and gaze (EGM), inside
    each image of two sentences or more."""
    gaze_rule: Annotated[int, Range(1, 5)] = 1
    """How EGM's weights come of similarity (min-max scaled) and gaze: 1 threshold, normalise, then
    the mean with gaze; 2 the mean, then threshold; 3 threshold, then the mean; 4 similarity times
    gaze, scaled and thresholded; 5 four parts similarity and one part gaze, both thresholded. Where
    there is no gaze the similarity is thresholded alone."""
    threshold: Share | None = None
    """Scaled similarity below which a weight is 0 in EGM; none: the value of the rule in the
    published code (1/7, 3/7, 2/7, 2/7, 2/7, and 2/7 without gaze)."""
    instance: Literal["corrected", "published"] = "corrected"
    """Whether the loss between images and reports asks in both directions, over real sentences; the
    published one asks for the report of an image twice, and padding takes part."""
    infonce: Weight = 1.0
    """Weight of the contrast of whole images with whole reports. The published encoder has no other
    image vector than the mean of its patches; the encoders here have one that patches alone would
    not train. 0: without, as published."""
    word_layers: Layers = 4
    """Last layers of the text encoder whose states are averaged to the states of the tokens."""

    def needs(self) -> tuple[Annotation[Any], ...]:
        """Return reports, and regions where any gaze is used."""
        return (Reports(), Regions()) if self.gaze_fraction else (Reports(),)

    def saw(self, declared: tuple[str, ...]) -> tuple[str, ...]:
        """Return what the declaration says, nothing where no gaze is used."""
        return declared if self.gaze_fraction else ()

    @property
    def region_fraction(self) -> float:
        """Share of the images that keep their gaze."""
        return self.gaze_fraction
