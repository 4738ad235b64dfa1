"""Settings of a segmentation cell and the protocol presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from bench.contracts import Profile
from bench.core.errors import SettingError
from bench.core.settings import (
    Count,
    Inside,
    Length,
    Range,
    Side,
    Weight,
    Width,
)
from bench.training.plan import TrainPlan
from bench.training.settings import HeadSettings


@dataclass(frozen=True)
class SegmentationSettings(HeadSettings):
    """How a segmentation head is trained and read out."""

    head: Literal["auto", "unet", "setr_pup", "upernet", "linear"] = "auto"
    """The decoder: auto is U-Net on a ResNet and SETR-PUP on a ViT, each of which fits that family
    alone; upernet (Xiao et al. 2018) and linear (a BatchNorm and one linear layer on the patches,
    as DINOv2 compares frozen encoders) fit both."""
    image_size: Side = 224
    """Side in pixels of the square that images and masks are brought to, for training and scoring;
    it must divide by the encoder's largest stride."""
    unet_channels: Annotated[tuple[Width, ...], Length(1, 12)] = (256, 128, 64, 32, 16)
    """Channels of the U-Net decoder after each doubling of the resolution, coarse to fine; where
    there are fewer than doublings up to full size, the rest is interpolated. Default: MGCA's and
    GLoRIA's decoder (segmentation_models_pytorch)."""
    setr_channels: Annotated[tuple[Width, ...], Length(1, 12)] = (512, 256, 128, 64)
    """Channels of SETR-PUP after each doubling, coarse to fine (default: MGCA's); a patch of fewer
    doublings uses the first of them."""
    setr_projection: Literal["norm", "linear"] = "norm"
    """What SETR-PUP does to the tokens before its convolutions: norm is mmsegmentation's LayerNorm,
    linear MGCA's linear layer in its place."""
    upernet_channels: Width = 512
    """Channels inside UPerNet; its auxiliary head has half as many."""
    auxiliary_weight: Weight = 0.4
    """Weight of the loss of UPerNet's auxiliary FCN head (mmsegmentation's 0.4); 0 leaves the head
    out."""
    frozen: bool = True
    """Whether the encoder stays as it was pre-trained; false trains a copy of it with the head."""
    batchnorm: Literal["eval", "train"] = "eval"
    """How the encoder's BatchNorm layers run while the head is trained: with their kept statistics,
    or (train, as MGCA and GLoRIA) with those of each batch, which also moves the kept ones."""
    cache_features: bool = False
    """Encode every image once and train the head on the kept feature maps; only for a frozen
    encoder without `augment`."""
    cached_views: Count = 1
    """With `cache_features`, how many views of each training image are kept: the image itself, and
    turned, scaled and half of them mirrored copies, of which every step draws one."""
    augment: bool = True
    """Whether training images and their masks are changed at random, as `augmentation` says."""
    augmentation: Literal["scale_rotate", "flip"] = "scale_rotate"
    """How `augment` changes them, each image with probability 0.5: scaled by up to 10% and turned
    by up to 10 degrees (MGCA, GLoRIA), or mirrored left to right (BenchX)."""
    loss: Literal["focal_dice", "ce", "ce_dice"] = "focal_dice"
    """What is minimised: `focal_weight` times the focal loss minus log Dice (MGCA, GLoRIA),
    cross-entropy per pixel (BenchX), or cross-entropy plus (1 - Dice)."""
    focal_weight: Weight = 10.0
    """Weight of the focal part (gamma 2) in the loss focal_dice; 10 in MGCA and GLoRIA."""
    steps_per_epoch: Count | None = None
    """Training steps of one epoch; none: one pass over the training images."""
    optimizer: Literal["adamw", "adam"] = "adamw"
    """The optimiser, AdamW or Adam."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate goes on after the warm-up: constant, or down to 0 at the last step in a
    straight line or along a half cosine."""
    warmup_from_zero: bool = False
    """Whether the first step of the warm-up has learning rate 0 (BenchX) rather than the first
    fraction of `lr`."""
    monitor: Literal["dice_global", "dice_per_image", "mdice", "loss"] = "dice_global"
    """The validation figure whose best epoch is kept. The Dice figures are taken at the best
    operating point; mdice is the mean of the global Dice of background and foreground."""
    threshold: Inside | None = None
    """Probability above which a pixel is marked; none: chosen per class on validation, from 0.025
    to 0.975, by `dice_global`."""
    min_area: Annotated[float, Range(0, 1, high_open=True)] | None = None
    """Share of the image that a predicted mask must cover to count: a smaller one is emptied; none:
    chosen per class on validation together with the threshold, from 0 to 0.02."""
    batch_mean: bool = False
    """Whether the metric `dice_batch_mean` is added: the mean over batches of their mean Dice, as
    MGCA and GLoRIA report it."""

    def plan(self, seed: int) -> TrainPlan:
        """Return what the trainer carries out."""
        return dataclasses.replace(
            super().plan(seed),
            steps_per_epoch=self.steps_per_epoch,
            optimizer=self.optimizer,
            schedule=self.schedule,
            warmup_from_zero=self.warmup_from_zero,
            monitor=self.monitor,
            mode="min" if self.monitor == "loss" else "max",
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cache_features and (self.augment or not self.frozen or self.batchnorm == "train"):
            raise SettingError(
                "cache_features needs a frozen encoder (BatchNorm too) and no augmentation.",
                "Set cache_features=false, or augment=false, frozen=true and batchnorm=eval.",
            )


def _demo(settings: SegmentationSettings) -> SegmentationSettings:
    """A small head on maps kept once, for a fixed number of steps."""
    return dataclasses.replace(
        settings,
        image_size=128,
        unet_channels=(32, 32, 16, 8),
        setr_channels=(64, 32, 16),
        upernet_channels=64,
        augment=False,
        cache_features=True,
        cached_views=4,
        epochs=8,
        steps_per_epoch=30,
        lr=6e-3,
        patience=None,
    )


def _mgca(settings: SegmentationSettings) -> SegmentationSettings:
    """MGCA 680fe4a, its segmentation script."""
    return dataclasses.replace(
        settings,
        batchnorm="train",
        augment=True,
        cache_features=False,
        cached_views=1,
        batch_size=8,
        epochs=50,
        steps_per_epoch=None,
        lr=5e-4,
        weight_decay=0.05,
        schedule="constant",
        monitor="loss",
        patience=10,
        threshold=0.5,
        min_area=0.0,
        batch_mean=True,
        setr_projection="linear",
    )


def _gloria(settings: SegmentationSettings) -> SegmentationSettings:
    """GLoRIA 416466a: the encoder is fine-tuned at 512 px."""
    return dataclasses.replace(
        _mgca(settings),
        frozen=False,
        image_size=512,
        optimizer="adam",
        weight_decay=1e-6,
        epochs=100,
        monitor="dice_per_image",
        patience=20,
    )


def _benchx(settings: SegmentationSettings) -> SegmentationSettings:
    """BenchX b874fa6: UPerNet on a frozen encoder for 20,000 iterations at 512 px, warm-up of
    1,500; its two-class softmax is written as one sigmoid, its half precision as bfloat16."""
    return dataclasses.replace(
        settings,
        head="upernet",
        image_size=512,
        augment=True,
        augmentation="flip",
        cache_features=False,
        cached_views=1,
        loss="ce",
        batch_size=8,
        epochs=10,
        steps_per_epoch=2000,
        lr=1e-3,
        weight_decay=0.05,
        schedule="linear",
        warmup=0.075,
        warmup_from_zero=True,
        monitor="mdice",
        patience=None,
        threshold=0.5,
        min_area=0.0,
        amp="bf16",
    )


def _small(settings: SegmentationSettings) -> SegmentationSettings:
    """A published procedure made short for the demo."""
    return dataclasses.replace(
        settings, image_size=128, steps_per_epoch=16, epochs=5, lr=3e-3, amp="off"
    )


_PAPER = SegmentationSettings()
PRESETS: Mapping[str, Mapping[Profile, SegmentationSettings]] = {
    "default": {"paper": _PAPER, "demo": _demo(_PAPER)},
    "mgca": {
        "paper": _mgca(_PAPER),
        "demo": dataclasses.replace(_mgca(_demo(_PAPER)), epochs=5, lr=3e-3),
    },
    "gloria": {"paper": _gloria(_PAPER), "demo": _small(_gloria(_demo(_PAPER)))},
    "benchx": {"paper": _benchx(_PAPER), "demo": _small(_benchx(_demo(_PAPER)))},
}
"""The settings of each protocol and profile."""
