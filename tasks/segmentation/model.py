"""Build the mmsegmentation model of one cell from its settings."""

from __future__ import annotations

import math
from typing import Any

import torch

from bench.contracts import Backbone
from bench.core.errors import SettingError
from bench.mm import prepare
from tasks.segmentation.settings import SegmentationSettings

_HEAD_OF_FAMILY = {"resnet": "unet", "vit": "setr_pup"}
_BOTH = ("upernet", "linear")


def head_name(backbone: Backbone, settings: SegmentationSettings) -> str:
    """Return the head for this encoder; raise SettingError where the one asked for does not fit its
    family."""
    fitting = _HEAD_OF_FAMILY[backbone.family]
    if settings.head not in ("auto", fitting, *_BOTH):
        raise SettingError(
            f"head '{settings.head}' does not fit backbone '{backbone.name}' of family "
            f"{backbone.family}.",
            f"Set head={fitting}, {' or '.join(_BOTH)}, or leave it at auto.",
        )
    return fitting if settings.head == "auto" else settings.head


def check_image_size(backbone: Backbone, settings: SegmentationSettings) -> None:
    """Raise SettingError where the images do not divide by the encoder's largest stride."""
    stride = max(backbone.pyramid_strides)
    if settings.image_size % stride:
        raise SettingError(
            f"image_size {settings.image_size} does not divide by {stride}, the stride of "
            f"'{backbone.name}'.",
            f"Set image_size={math.ceil(settings.image_size / stride) * stride}.",
        )


def build_segmentor(
    backbone: Backbone, classes: int, settings: SegmentationSettings, seed: int
) -> Any:
    """Return an mmseg EncoderDecoder: the adapter around `backbone` and a head with `classes`
    sigmoid outputs.

    The head's first weights depend on `seed` alone; the global generator is left as it was.
    """
    prepare("mmseg")
    from mmseg.registry import MODELS

    from bench.mm.backbone import register
    from tasks.segmentation import heads  # noqa: F401 - registers the heads and the loss

    register("mmseg")
    check_image_size(backbone, settings)
    config = segmentor_config(backbone, classes, settings)
    with (
        torch.random.fork_rng(devices=[]),
        MODELS.switch_scope_and_registry(config.pop("default_scope")) as models,
    ):
        torch.manual_seed(seed)
        return models.build(config)


def segmentor_config(
    backbone: Backbone, classes: int, settings: SegmentationSettings
) -> dict[str, Any]:
    """Return the mmsegmentation config of one cell."""
    parts = _HEAD_CONFIGS[head_name(backbone, settings)](backbone, settings)
    adapter = {
        "type": "PyramidBackbone",
        "backbone": backbone,
        "frozen": settings.frozen,
        "batchnorm": settings.batchnorm,
        "levels": parts.pop("levels", None),
    }
    common: dict[str, Any] = {
        "num_classes": classes,
        "out_channels": classes,
        "threshold": 0.5,
        "dropout_ratio": 0.0,
        "init_cfg": None,
        "norm_cfg": {"type": "BN"},
    }
    for head, weight in (("decode_head", 1.0), ("auxiliary_head", settings.auxiliary_weight)):
        if head in parts:
            loss = {
                "type": "MaskLoss",
                "kind": settings.loss,
                "focal_weight": settings.focal_weight,
                "loss_weight": weight,
            }
            parts[head] |= {**common, "loss_decode": loss}
    fixed = {"train_cfg": {}, "test_cfg": {"mode": "whole"}}
    return {
        "default_scope": "mmseg",
        "type": "EncoderDecoder",
        "backbone": adapter,
        **parts,
        **fixed,
    }


def _unet(backbone: Backbone, settings: SegmentationSettings) -> dict[str, Any]:
    steps = round(math.log2(max(backbone.pyramid_strides)))
    if not 0 < len(settings.unet_channels) <= steps:
        raise SettingError(
            f"unet_channels has {len(settings.unet_channels)} widths; stride "
            f"{max(backbone.pyramid_strides)} of "
            f"'{backbone.name}' has room for 1 to {steps}.",
            "Give one width per doubling, coarse to fine; what is missing to full size is "
            "done bilinearly.",
        )
    head = {
        "type": "UNetHead",
        "widths": settings.unet_channels,
        "strides": backbone.pyramid_strides,
        "in_channels": list(backbone.pyramid_channels),
        "in_index": list(range(len(backbone.pyramid_channels))),
    }
    return {"decode_head": head}


def _setr_pup(backbone: Backbone, settings: SegmentationSettings) -> dict[str, Any]:
    """At most one doubling per power of two in the patch size: a finer patch uses the first widths
    alone."""
    steps = int(math.log2(backbone.pyramid_strides[-1]))
    head = {
        "type": "SETRMaskHead",
        "widths": settings.setr_channels[:steps],
        "projection": settings.setr_projection,
        "in_channels": backbone.pyramid_channels[-1],
        "in_index": len(backbone.pyramid_channels) - 1,
    }
    return {"decode_head": head}


def _upernet(backbone: Backbone, settings: SegmentationSettings) -> dict[str, Any]:
    """UPerNet on a ResNet's stages, or on a ViT's four blocks brought to strides 1/4, 1/2, 1 and 2
    times the patch (BenchX)."""
    count = len(backbone.pyramid_channels)
    levels = (
        [round(stage * (count - 1) / 3) for stage in range(4)]
        if backbone.family == "vit"
        else list(range(count))
    )
    channels = [backbone.pyramid_channels[level] for level in levels]
    head = {
        "type": "UPerMaskHead",
        "in_channels": channels,
        "in_index": list(range(len(channels))),
        "pool_scales": (1, 2, 3, 6),
        "channels": settings.upernet_channels,
    }
    parts: dict[str, Any] = {"decode_head": head, "levels": levels}
    if settings.auxiliary_weight:
        stage = len(channels) - 2
        options = {
            "in_channels": channels[stage],
            "in_index": stage,
            "channels": settings.upernet_channels // 2,
        }
        parts["auxiliary_head"] = {
            "type": "FCNMaskHead",
            **options,
            "num_convs": 1,
            "concat_input": False,
        }
    if backbone.family == "vit":
        parts["neck"] = {
            "type": "Feature2Pyramid",
            "embed_dim": channels[-1],
            "rescales": [4, 2, 1, 0.5],
            "norm_cfg": {"type": "BN"},
        }
    return parts


def _linear(backbone: Backbone, settings: SegmentationSettings) -> dict[str, Any]:
    """On the tokens of the last block of a ViT, or the map of stride 16 of a ResNet: the maps its
    patch features come from."""
    levels = [level for level, stride in enumerate(backbone.pyramid_strides) if stride <= 16] or [0]
    level = len(backbone.pyramid_channels) - 1 if backbone.family == "vit" else levels[-1]
    return {
        "decode_head": {
            "type": "LinearMaskHead",
            "in_channels": backbone.pyramid_channels[level],
            "in_index": level,
        }
    }


_HEAD_CONFIGS = {"unet": _unet, "setr_pup": _setr_pup, "upernet": _upernet, "linear": _linear}
