"""Build the mmsegmentation model of one cell from its settings."""

from __future__ import annotations

import math
from typing import Any

import torch

from bench.contracts import Backbone
from bench.errors import SettingError
from bench.mm import prepare
from tasks.segmentation.settings import SegmentationSettings

_HEAD_OF_FAMILY = {"resnet": "unet", "vit": "setr_pup"}


def head_name(backbone: Backbone, settings: SegmentationSettings) -> str:
    """Return the head for this encoder; raise SettingError where the one asked for does not fit its family."""
    fitting = _HEAD_OF_FAMILY[backbone.family]
    if settings.head not in ("auto", fitting):
        raise SettingError(
            f"head '{settings.head}' does not fit backbone '{backbone.name}' of family {backbone.family}.",
            f"Set head={fitting}, or leave it at auto.",
        )
    return fitting


def check_image_size(backbone: Backbone, settings: SegmentationSettings) -> None:
    """Raise SettingError where the images do not divide by the encoder's largest stride."""
    stride = max(backbone.pyramid_strides)
    if settings.image_size % stride:
        raise SettingError(
            f"image_size {settings.image_size} does not divide by {stride}, the stride of '{backbone.name}'.",
            f"Set image_size={math.ceil(settings.image_size / stride) * stride}.",
        )


def build_segmentor(backbone: Backbone, classes: int, settings: SegmentationSettings, seed: int) -> Any:
    """Return an mmseg EncoderDecoder: the adapter around `backbone` and a head with `classes` sigmoid outputs.

    The head's first weights depend on `seed` alone; the global generator is left as it was.
    """
    prepare("mmseg")
    from mmseg.registry import MODELS

    from bench.mm.backbone import register
    from tasks.segmentation import heads  # noqa: F401 - registers the heads and the loss

    register("mmseg")
    check_image_size(backbone, settings)
    config = segmentor_config(backbone, classes, settings)
    with torch.random.fork_rng(devices=[]), MODELS.switch_scope_and_registry(config.pop("default_scope")) as models:
        torch.manual_seed(seed)
        return models.build(config)


def segmentor_config(backbone: Backbone, classes: int, settings: SegmentationSettings) -> dict[str, Any]:
    """Return the mmsegmentation config of one cell."""
    return {
        "default_scope": "mmseg",
        "type": "EncoderDecoder",
        "backbone": {
            "type": "PyramidBackbone",
            "backbone": backbone,
            "frozen": settings.frozen,
            "batchnorm": settings.batchnorm,
        },
        "decode_head": {
            **_HEAD_CONFIGS[head_name(backbone, settings)](backbone, settings),
            "num_classes": classes,
            "out_channels": classes,
            "threshold": 0.5,
            "dropout_ratio": 0.0,
            "init_cfg": None,
            "norm_cfg": {"type": "BN"},
            "loss_decode": {"type": "FocalDiceLoss", "focal_weight": settings.focal_weight},
        },
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }


def _unet(backbone: Backbone, settings: SegmentationSettings) -> dict[str, Any]:
    steps = round(math.log2(max(backbone.pyramid_strides)))
    if not 0 < len(settings.unet_channels) <= steps:
        raise SettingError(
            f"unet_channels has {len(settings.unet_channels)} widths; stride {max(backbone.pyramid_strides)} of "
            f"'{backbone.name}' has room for 1 to {steps}.",
            "Give one width per doubling, coarse to fine; what is missing to full size is done bilinearly.",
        )
    return {
        "type": "UNetHead",
        "widths": settings.unet_channels,
        "strides": backbone.pyramid_strides,
        "in_channels": list(backbone.pyramid_channels),
        "in_index": list(range(len(backbone.pyramid_channels))),
    }


def _setr_pup(backbone: Backbone, settings: SegmentationSettings) -> dict[str, Any]:
    """At most one doubling per power of two in the patch size: a finer patch uses the first widths alone."""
    steps = int(math.log2(backbone.pyramid_strides[-1]))
    return {
        "type": "SETRMaskHead",
        "widths": settings.setr_channels[:steps],
        "projection": settings.setr_projection,
        "in_channels": backbone.pyramid_channels[-1],
        "in_index": len(backbone.pyramid_channels) - 1,
    }


_HEAD_CONFIGS = {"unet": _unet, "setr_pup": _setr_pup}
