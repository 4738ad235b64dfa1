"""Settings of a detection cell and the protocol presets."""

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
    Norm,
    Range,
    Share,
    Side,
)
from bench.training.plan import TrainPlan
from bench.training.settings import HeadSettings


@dataclass(frozen=True)
class DetectionSettings(HeadSettings):
    """How a detector is trained and read out."""

    head: Literal["auto", "fcos", "yolov3", "faster_rcnn", "vitdet"] = "auto"
    """The detector: auto is fcos (anchor-free, Tian et al. 2019), the same for every encoder;
    yolov3 and faster_rcnn need a ResNet, vitdet (Faster R-CNN on a simple pyramid) a ViT."""
    image_size: Side = 224
    """Side in pixels of the square that images and boxes are brought to, for training and scoring;
    it must divide by the encoder's largest stride."""
    finest_stride: Literal[4, 8] = 8
    """Stride in pixels of FCOS's finest level: 4 sees smaller lesions and takes longer."""
    channels: Annotated[int, Range(8, 8192, multiple_of=8)] = 256
    """Channels of the feature pyramid and of the head; in YOLOv3 those of its finest scale, of
    which the coarser ones have two and four times as many."""
    head_convs: Annotated[int, Range(1, 32)] = 4
    """Convolutions before the outputs of FCOS."""
    yolo_loss: Literal["mgca", "mmdet"] = "mgca"
    """Assignment, loss and score of YOLOv3: those of MGCA's code, whose score is the objectness
    alone, or mmdetection's own."""
    frozen: bool = True
    """Whether the encoder stays as it was pre-trained; false trains a copy of it with the head."""
    batchnorm: Literal["eval", "train"] = "eval"
    """How the encoder's BatchNorm layers run while the head is trained: with their kept statistics,
    or (train, as MGCA) with those of each batch, which also moves the kept ones."""
    cache_features: bool = False
    """Encode every image once and train the head on the kept feature maps; only for a frozen
    encoder without `augment`."""
    cached_views: Count = 1
    """With `cache_features`, how many views of each training image are kept: the image itself, and
    copies changed as `augment` would, of which every step draws one."""
    augment: bool = True
    """Whether training images and their boxes are changed at random: mirrored with probability 0.5,
    zoomed by up to 10% and shifted by up to 5% of the side."""
    positive_share: Inside | None = None
    """Share of an epoch's images that is drawn, with replacement, from those with a box, the rest
    from those without; none: every training image once."""
    steps_per_epoch: Count | None = None
    """Training steps of one epoch; none: one pass over the training images."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate goes on after the warm-up: constant, or down to 0 at the last step in a
    straight line or along a half cosine."""
    warmup: Share = 0.02
    clip: Norm | None = 10.0
    """Norm at which the gradient of all weights together is cut; none: it is not."""
    monitor: Literal["map_rsna", "map", "ap40", "ap50", "froc", "map_mgca"] = "map_rsna"
    """The validation metric whose best epoch is kept; map_mgca needs `mgca_filter`."""
    val_every: Count = 1
    """Epochs from one validation to the next."""
    min_score: Inside = 0.01
    """Score above which a box is kept at all."""
    nms_iou: Inside = 0.5
    """Overlap (IoU) above which the weaker of two boxes of a class is dropped by non-maximum
    suppression; at most 100 boxes an image are then kept."""
    mgca_filter: bool = False
    """Whether the metric `map_mgca` is added: MGCA's mAP, which counts only boxes of score 0.5 and
    more, on images that have both a true and a found box."""

    def plan(self, seed: int) -> TrainPlan:
        """Return what the trainer carries out."""
        return dataclasses.replace(
            super().plan(seed),
            steps_per_epoch=self.steps_per_epoch,
            schedule=self.schedule,
            clip=self.clip,
            monitor=self.monitor,
            val_every=self.val_every,
        )

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


def _demo(settings: DetectionSettings) -> DetectionSettings:
    """A small detector on maps kept once, for a fixed number of steps."""
    return dataclasses.replace(
        settings,
        image_size=128,
        finest_stride=4,
        channels=32,
        head_convs=2,
        augment=False,
        cache_features=True,
        cached_views=8,
        positive_share=0.6,
        epochs=20,
        steps_per_epoch=20,
        lr=4e-3,
        patience=None,
        val_every=2,
    )


def _mgca(settings: DetectionSettings) -> DetectionSettings:
    """MGCA 680fe4a, its detection script."""
    return dataclasses.replace(
        settings,
        head="yolov3",
        channels=128,
        yolo_loss="mgca",
        batchnorm="train",
        augment=False,
        cache_features=False,
        cached_views=1,
        positive_share=None,
        batch_size=16,
        epochs=50,
        steps_per_epoch=None,
        lr=5e-4,
        weight_decay=1e-6,
        schedule="constant",
        warmup=0.0,
        clip=None,
        monitor="map_mgca",
        patience=10,
        val_every=1,
        nms_iou=0.5,
        mgca_filter=True,
    )


_PAPER = DetectionSettings()
PRESETS: Mapping[str, Mapping[Profile, DetectionSettings]] = {
    "default": {"paper": _PAPER, "demo": _demo(_PAPER)},
    "mgca": {
        "paper": _mgca(_PAPER),
        "demo": dataclasses.replace(_mgca(_demo(_PAPER)), channels=32, epochs=8, lr=2e-3),
    },
}
"""The settings of each protocol and profile."""
