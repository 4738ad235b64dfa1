"""Settings of a detection cell and the protocol presets."""

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
    Norm,
    Range,
    Rate,
    Share,
    Side,
    override,
)


@dataclass(frozen=True)
class DetectionSettings(CheckedSettings):
    """How a detector is trained and read out.

    `head`: fcos (anchor-free) on any encoder, yolov3 and faster_rcnn on a ResNet, vitdet (Faster
    R-CNN on a simple pyramid) on a ViT; auto is fcos, the same head for every encoder. `channels`
    is the width of the feature pyramid and the head, of YOLOv3 that of its finest scale;
    `finest_stride` and `head_convs` are FCOS's finest level and the convolutions before its
    outputs. `yolo_loss`: mgca, or mmdetection's own. `batchnorm` is the mode of the encoder's
    BatchNorm layers in training.

    `augment`: mirrored with probability 0.5, zoomed by +-10% and shifted by up to 5% of the side.
    `cache_features` encodes every image once and trains on the kept maps: only for a frozen encoder
    without `augment`; `cached_views` above 1 also keeps that many less one views, moved in that
    way. `positive_share` None takes every training image once per pass; a number draws that share
    of each pass from the images with a box (with replacement), the rest from the others.
    `steps_per_epoch` None is one pass over the training images. `warmup` is a share of all steps.
    `monitor` is what the best epoch is taken by, measured every `val_every` epochs. A detection is
    kept above `min_score` and after non-maximum suppression at `nms_iou`, at most 100 per image.
    `mgca_filter` adds the metric `map_mgca`.
    """

    head: Literal["auto", "fcos", "yolov3", "faster_rcnn", "vitdet"] = "auto"
    image_size: Side = 224
    finest_stride: Literal[4, 8] = 8
    channels: Annotated[int, Range(8, 8192, multiple_of=8)] = 256
    head_convs: Annotated[int, Range(1, 32)] = 4
    yolo_loss: Literal["mgca", "mmdet"] = "mgca"
    frozen: bool = True
    batchnorm: Literal["eval", "train"] = "eval"
    cache_features: bool = False
    cached_views: Count = 1
    augment: bool = True
    positive_share: Inside | None = None
    batch_size: Count = 16
    epochs: Count = 50
    steps_per_epoch: Count | None = None
    lr: Rate = 5e-4
    weight_decay: Decay = 0.05
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: Share = 0.02
    clip: Norm | None = 10.0
    monitor: Literal["map_rsna", "map", "ap40", "ap50", "froc", "map_mgca"] = "map_rsna"
    val_every: Count = 1
    patience: Count | None = 10
    min_score: Inside = 0.01
    nms_iou: Inside = 0.5
    mgca_filter: bool = False
    amp: Literal["off", "bf16", "fp16"] = "off"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cache_features and (self.augment or not self.frozen or self.batchnorm == "train"):
            raise SettingError(
                "cache_features needs a frozen encoder (BatchNorm too) and no augmentation.",
                "Set cache_features=false, or augment=false, frozen=true and batchnorm=eval.",
            )
        if self.monitor == "map_mgca" and not self.mgca_filter:
            raise SettingError(
                "monitor is map_mgca without mgca_filter.",
                "Set mgca_filter=true, or monitor=map_rsna.",
            )


_DEMO: dict[str, Any] = {
    "image_size": 128,
    "finest_stride": 4,
    "channels": 32,
    "head_convs": 2,
    "augment": False,
    "cache_features": True,
    "cached_views": 8,
    "positive_share": 0.6,
    "epochs": 20,
    "steps_per_epoch": 20,
    "lr": 4e-3,
    "patience": None,
    "val_every": 2,
}
_MGCA: dict[str, Any] = {
    "head": "yolov3",
    "channels": 128,
    "yolo_loss": "mgca",
    "batchnorm": "train",
    "augment": False,
    "cache_features": False,
    "cached_views": 1,
    "positive_share": None,
    "batch_size": 16,
    "epochs": 50,
    "steps_per_epoch": None,
    "lr": 5e-4,
    "weight_decay": 1e-6,
    "schedule": "constant",
    "warmup": 0.0,
    "clip": None,
    "monitor": "map_mgca",
    "patience": 10,
    "val_every": 1,
    "nms_iou": 0.5,
    "mgca_filter": True,
}
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {"paper": {}, "demo": _DEMO},
    "mgca": {"paper": _MGCA, "demo": {**_DEMO, **_MGCA, "channels": 32, "epochs": 8, "lr": 2e-3}},
}
"""Per protocol and profile, what differs from the class defaults. `mgca`: MGCA 680fe4a, its
detection script."""


def resolve(protocol: str, profile: Profile, changes: Mapping[str, str]) -> DetectionSettings:
    """Return the settings of `protocol` and `profile` with `changes`; raise UnknownNameError on
    another protocol."""
    if protocol not in PRESETS:
        raise UnknownNameError(
            f"unknown protocol '{protocol}' of detection.", suggest(protocol, PRESETS)
        )
    preset = dataclasses.replace(DetectionSettings(), **PRESETS[protocol][profile])
    return override(preset, changes)
