"""Settings of a segmentation cell and the protocol presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from bench.contracts import Profile
from bench.core.errors import SettingError, UnknownNameError
from bench.core.registry import suggest
from bench.core.settings import (
    CheckedSettings,
    Count,
    Decay,
    Inside,
    Length,
    Range,
    Rate,
    Share,
    Side,
    Weight,
    Width,
    override,
)


@dataclass(frozen=True)
class SegmentationSettings(CheckedSettings):
    """How a segmentation head is trained and read out.

    `head` auto: U-Net on a ResNet, SETR-PUP on a ViT; upernet and linear (on patches) fit both. The
    channels of the first two: one width per doubling of the resolution, coarse to fine; what is
    then missing to full size is done bilinearly. UPerNet has an auxiliary FCN head of weight
    `auxiliary_weight`. `batchnorm` is the mode of the encoder's BatchNorm layers in training.
    `loss`: focal_dice is `focal_weight` focal - log dice, ce cross-entropy, ce_dice cross-entropy +
    (1 - dice).

    `augmentation` (where `augment`): scale_rotate (MGCA, GLoRIA) or flip (BenchX). `cache_features`
    encodes every image once and trains on the kept maps: only for a frozen encoder without
    augmentation; `cached_views` above 1 also keeps that many less one turned, scaled and mirrored
    views of every training image. `steps_per_epoch` None is one pass over the training images.
    `warmup` is a share of all steps, the first of rate 0 with `warmup_from_zero`. `threshold` and
    `min_area` (a fraction of the image: a smaller predicted region counts as none) are chosen on
    validation where None. `monitor` is what the best epoch is taken by, at the best operating
    point: dice = mean of `dice_per_image` and `dice_global` on validation, mdice = mean of the
    global Dice of background and foreground, loss = validation loss. `batch_mean` adds the metric
    `dice_batch_mean`, the mean of batch means of MGCA and GLoRIA.
    """

    head: Literal["auto", "unet", "setr_pup", "upernet", "linear"] = "auto"
    image_size: Side = 224
    unet_channels: Annotated[tuple[Width, ...], Length(1, 12)] = (256, 128, 64, 32, 16)
    setr_channels: Annotated[tuple[Width, ...], Length(1, 12)] = (512, 256, 128, 64)
    setr_projection: Literal["norm", "linear"] = "norm"
    upernet_channels: Width = 512
    auxiliary_weight: Weight = 0.4
    frozen: bool = True
    batchnorm: Literal["eval", "train"] = "eval"
    cache_features: bool = False
    cached_views: Count = 1
    augment: bool = True
    augmentation: Literal["scale_rotate", "flip"] = "scale_rotate"
    loss: Literal["focal_dice", "ce", "ce_dice"] = "focal_dice"
    focal_weight: Weight = 10.0
    batch_size: Count = 16
    epochs: Count = 50
    steps_per_epoch: Count | None = None
    optimizer: Literal["adamw", "adam"] = "adamw"
    lr: Rate = 5e-4
    weight_decay: Decay = 0.05
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: Share = 0.0
    warmup_from_zero: bool = False
    monitor: Literal["dice", "dice_per_image", "mdice", "loss"] = "dice"
    patience: Count | None = 10
    threshold: Inside | None = None
    min_area: Annotated[float, Range(0, 1, high_open=True)] | None = None
    batch_mean: bool = False
    amp: Literal["off", "bf16", "fp16"] = "off"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cache_features and (self.augment or not self.frozen or self.batchnorm == "train"):
            raise SettingError(
                "cache_features needs a frozen encoder (BatchNorm too) and no augmentation.",
                "Set cache_features=false, or augment=false, frozen=true and batchnorm=eval.",
            )


_DEMO: dict[str, Any] = {
    "image_size": 128,
    "unet_channels": (64, 32, 16, 8),
    "setr_channels": (64, 32, 16),
    "upernet_channels": 64,
    "augment": False,
    "cache_features": True,
    "cached_views": 6,
    "epochs": 14,
    "steps_per_epoch": 16,
    "lr": 3e-3,
    "patience": None,
}
_MGCA: dict[str, Any] = {
    "batchnorm": "train",
    "augment": True,
    "cache_features": False,
    "cached_views": 1,
    "batch_size": 8,
    "epochs": 50,
    "steps_per_epoch": None,
    "lr": 5e-4,
    "weight_decay": 0.05,
    "schedule": "constant",
    "monitor": "loss",
    "patience": 10,
    "threshold": 0.5,
    "min_area": 0.0,
    "batch_mean": True,
    "setr_projection": "linear",
}
_GLORIA: dict[str, Any] = {
    **_MGCA,
    "frozen": False,
    "image_size": 512,
    "optimizer": "adam",
    "weight_decay": 1e-6,
    "epochs": 100,
    "monitor": "dice_per_image",
    "patience": 20,
}
_BENCHX: dict[str, Any] = {
    "head": "upernet",
    "image_size": 512,
    "augment": True,
    "augmentation": "flip",
    "cache_features": False,
    "cached_views": 1,
    "loss": "ce",
    "batch_size": 8,
    "epochs": 10,
    "steps_per_epoch": 2000,
    "lr": 1e-3,
    "weight_decay": 0.05,
    "schedule": "linear",
    "warmup": 0.075,
    "warmup_from_zero": True,
    "monitor": "mdice",
    "patience": None,
    "threshold": 0.5,
    "min_area": 0.0,
    "amp": "bf16",
}
_SMALL: dict[str, Any] = {
    "image_size": 128,
    "steps_per_epoch": 16,
    "epochs": 5,
    "lr": 3e-3,
    "amp": "off",
}
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {"paper": {}, "demo": _DEMO},
    "mgca": {"paper": _MGCA, "demo": {**_DEMO, **_MGCA, "epochs": 5, "lr": 3e-3}},
    "gloria": {"paper": _GLORIA, "demo": {**_DEMO, **_GLORIA, **_SMALL}},
    "benchx": {"paper": _BENCHX, "demo": {**_DEMO, **_BENCHX, **_SMALL}},
}
"""Per protocol and profile, what differs from the class defaults.

`mgca`: MGCA 680fe4a, its segmentation script; `gloria`: GLoRIA 416466a, fine-tuned at 512 px;
`benchx`: BenchX b874fa6, UPerNet on a frozen encoder for 20,000 iterations at 512 px, warm-up of
1,500 (its two-class softmax is written as one sigmoid, its half precision as bfloat16).
"""


def resolve(protocol: str, profile: Profile, changes: Mapping[str, str]) -> SegmentationSettings:
    """Return the settings of `protocol` and `profile` with `changes`; raise UnknownNameError on
    another protocol."""
    if protocol not in PRESETS:
        raise UnknownNameError(
            f"unknown protocol '{protocol}' of segmentation.", suggest(protocol, PRESETS)
        )
    preset = dataclasses.replace(SegmentationSettings(), **PRESETS[protocol][profile])
    return override(preset, changes)
