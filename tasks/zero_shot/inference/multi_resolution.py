"""Random crops at several resolutions beside the whole image, each weighted by how much it looks
like any class (after arXiv 2503.10731; see docs/zero_shot.md for what differs)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from bench.contracts import Body
from bench.core.errors import SettingError
from bench.core.settings import Length, Range, Scale, Share
from tasks.zero_shot.inference import INFERENCES, Inference
from tasks.zero_shot.settings import ZeroShotSettings

SMALLEST = 8
"""Pixels of the smallest crop that shows anything."""


@dataclass(frozen=True)
class MultiResolutionSettings(ZeroShotSettings):
    """What `inference=multi_resolution` has beside the settings of the kind."""

    similarity: Literal["method", "global", "local"] = "global"
    """Crops are compared by the encoder's global embeddings alone: global."""
    scales: Annotated[tuple[Annotated[float, Range(0, 1, low_open=True)], ...], Length(1, 16)] = (
        0.25,
        0.5,
        0.75,
    )
    """Sizes to which the image is brought before crops are cut, as shares of its side; a crop shows
    the same share of the image at each, the smaller the more blurred."""
    crops: Annotated[int, Range(1, 100)] = 5
    """Random square crops at each of the scales."""
    crop_min: Annotated[float, Range(0, 1, low_open=True)] = 0.5
    """Smallest side of a crop, as a share of the image's side."""
    crop_max: Annotated[float, Range(0, 1, low_open=True)] = 0.9
    """Largest side of a crop, as a share of the image's side."""
    mix: Share | Literal["validation"] = 0.5
    """Weight of the crops against the whole image: 0 is the whole image alone; validation: the one
    of 0, 0.1 to 1 with the highest mean AUROC on the validation images."""
    patch_temperature: Scale = 1.0
    """What similarities of crops to classes are divided by before the softmax that weighs the
    crops: the smaller, the more the best crop counts; at 1 the weights are nearly equal."""
    prompt_weights: Literal["mean", "name"] = "mean"
    """How the prompts of a class are weighted: all the same, or (name) by the softmax of e² times
    their cosine with "A photo of a CLASS."; name needs aggregate=mean."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.similarity != "global":
            raise SettingError(
                f"similarity is {self.similarity}, and inference={self.inference} compares crops "
                "by their global embeddings.",
                "Leave similarity out, or use inference=whole.",
            )
        if self.crop_min > self.crop_max:
            raise SettingError(
                f"crop_min is {self.crop_min:g} and crop_max {self.crop_max:g}.",
                "The smaller of the two is crop_min.",
            )
        smallest = int(self.crop_min * round(min(self.scales) * self.image_size))
        if smallest < SMALLEST:
            raise SettingError(
                f"the smallest crop has a side of {smallest} px: crop_min {self.crop_min:g} of an "
                f"image of {self.image_size} px at scale {min(self.scales):g}.",
                f"At least {SMALLEST} px are needed: raise crop_min, scales or image_size.",
            )
        if self.prompt_weights == "name" and self.aggregate != "mean":
            raise SettingError(
                f"prompt_weights is name and aggregate is {self.aggregate}.",
                "Set aggregate=mean, or prompt_weights=mean.",
            )


INFERENCES.add(
    "multi_resolution",
    Inference(
        "crops at several resolutions, mixed with the whole image",
        Body("tasks.zero_shot.crops:scores"),
        MultiResolutionSettings,
        Body("tasks.zero_shot.crops:choose"),
    ),
)
