"""Settings of a segmentation cell and the protocol presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.contracts import Profile
from bench.errors import SettingError, UnknownNameError
from bench.registry import suggest
from bench.settings import override


@dataclass(frozen=True)
class SegmentationSettings:
    """How a segmentation head is trained and read out.

    `head` auto: U-Net on a ResNet, SETR-PUP on a ViT. Their channels: one width per doubling of the resolution, coarse to fine;
    what is then missing to full size is done bilinearly. `batchnorm` is the mode of the encoder's BatchNorm layers in training.
    `steps_per_epoch` None is one pass over the training images. `threshold` and `min_area` (a fraction of the image: a smaller
    predicted region counts as none) are chosen on validation where None. `monitor` is what the best epoch is taken by:
    dice = mean of `dice_per_image` and `dice_global` on validation at the best operating point, loss = validation loss.
    `batch_mean` adds the metric `dice_batch_mean`, the mean of batch means of MGCA and GLoRIA.
    `cache_features` encodes every image once and trains on the kept maps: only for a frozen encoder without augmentation;
    `cached_views` above 1 also keeps that many less one turned, scaled and mirrored views of every training image.
    """

    head: Literal["auto", "unet", "setr_pup"] = "auto"
    image_size: int = 224
    unet_channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    setr_channels: tuple[int, ...] = (512, 256, 128, 64)
    setr_projection: Literal["norm", "linear"] = "norm"
    frozen: bool = True
    batchnorm: Literal["eval", "train"] = "eval"
    cache_features: bool = False
    cached_views: int = 1
    augment: bool = True
    loss: Literal["focal_dice"] = "focal_dice"
    focal_weight: float = 10.0
    batch_size: int = 16
    epochs: int = 50
    steps_per_epoch: int | None = None
    lr: float = 5e-4
    weight_decay: float = 0.05
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    monitor: Literal["dice", "loss"] = "dice"
    patience: int | None = 10
    threshold: float | None = None
    min_area: float | None = None
    batch_mean: bool = False
    amp: Literal["off", "bf16", "fp16"] = "off"

    def __post_init__(self) -> None:
        for name in ("image_size", "batch_size", "epochs", "cached_views"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}.", "It must be at least 1.")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise SettingError(f"threshold is {self.threshold:g}.", "It must be within 0..1, or none to choose it on validation.")
        if self.cache_features and (self.augment or not self.frozen or self.batchnorm == "train"):
            raise SettingError(
                "cache_features needs a frozen encoder (BatchNorm too) and no augmentation.",
                "Set cache_features=false, or augment=false, frozen=true and batchnorm=eval.",
            )


_DEMO: dict[str, Any] = {
    "image_size": 128,
    "unet_channels": (64, 32, 16, 8),
    "setr_channels": (64, 32, 16),
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
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {"paper": {}, "demo": _DEMO},
    "mgca": {"paper": _MGCA, "demo": {**_DEMO, **_MGCA, "epochs": 5, "lr": 3e-3}},
}
"""Per protocol and profile, what differs from the class defaults. `mgca`: MGCA 680fe4a, its segmentation script."""


def resolve(protocol: str, profile: Profile, changes: Mapping[str, str]) -> SegmentationSettings:
    """Return the settings of `protocol` and `profile` with `changes`; raise UnknownNameError on another protocol."""
    if protocol not in PRESETS:
        raise UnknownNameError(f"unknown protocol '{protocol}' of segmentation.", suggest(protocol, PRESETS))
    preset = dataclasses.replace(SegmentationSettings(), **PRESETS[protocol][profile])
    return override(preset, changes)
