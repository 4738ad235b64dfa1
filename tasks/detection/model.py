"""Build the mmdetection model of one cell from its settings."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import torch

from bench.contracts import Backbone
from bench.core.errors import SettingError
from bench.mm import prepare, quiet_logger
from tasks.detection.settings import DetectionSettings

_FAMILY = {"yolov3": "resnet", "faster_rcnn": "resnet", "vitdet": "vit"}
_INSTEAD = {"resnet": "fcos, yolov3 or faster_rcnn", "vit": "fcos or vitdet"}
YOLO_ANCHORS = (
    ((116, 90), (156, 198), (373, 326)),
    ((30, 61), (62, 45), (59, 119)),
    ((10, 13), (16, 30), (33, 23)),
)
"""Width and height at 416 px, coarse to fine (Redmon & Farhadi 2018; MGCA)."""
FCOS_REACH = 4
"""A level takes boxes that reach up to this many of its strides from the point: half of FCOS's, for
images a quarter as large."""
PROPOSALS = 300
"""Boxes that go into non-maximum suppression, per level or image."""


def head_name(backbone: Backbone, settings: DetectionSettings) -> str:
    """Return the head for this encoder; raise SettingError where the one asked for does not fit its
    family."""
    head = "fcos" if settings.head == "auto" else settings.head
    if _FAMILY.get(head, backbone.family) != backbone.family:
        raise SettingError(
            f"head '{head}' does not fit backbone '{backbone.name}' of family {backbone.family}.",
            f"Set head={_INSTEAD[backbone.family]}, or leave it at auto.",
        )
    return head


def check_image_size(backbone: Backbone, settings: DetectionSettings) -> None:
    """Raise SettingError where the images do not divide by the encoder's largest stride."""
    stride = max(backbone.pyramid_strides)
    if settings.image_size % stride:
        raise SettingError(
            f"image_size {settings.image_size} does not divide by {stride}, the stride of "
            f"'{backbone.name}'.",
            f"Set image_size={math.ceil(settings.image_size / stride) * stride}.",
        )


def build_detector(backbone: Backbone, classes: int, settings: DetectionSettings, seed: int) -> Any:
    """Return an mmdet detector for `classes` kinds of box around `backbone`.

    The first weights of neck and head depend on `seed` alone; the global generator is left as it
    was.
    """
    prepare("mmdet")
    from mmdet.registry import MODELS
    from mmengine.config import ConfigDict

    from bench.mm.backbone import register
    from tasks.detection import networks  # noqa: F401 - registers the neck and the YOLO head

    register("mmdet")
    check_image_size(backbone, settings)
    config = ConfigDict(detector_config(backbone, classes, settings))
    config["backbone"]["backbone"] = backbone  # past ConfigDict, which would look into it
    with (
        torch.random.fork_rng(devices=[]),
        MODELS.switch_scope_and_registry(config.pop("default_scope")) as models,
    ):
        torch.manual_seed(seed)
        detector = models.build(config)
        with quiet_logger():
            detector.init_weights()
        if (
            config["type"] == "FCOS"
        ):  # start at boxes of the size a level is for: a clamped output of 0 learns slowly
            torch.nn.init.constant_(detector.bbox_head.conv_reg.bias, FCOS_REACH / 2)
        return detector


def detector_config(
    backbone: Backbone, classes: int, settings: DetectionSettings
) -> dict[str, Any]:
    """Return the mmdetection config of one cell, without the encoder itself."""
    parts = _HEADS[head_name(backbone, settings)](backbone, classes, settings)
    adapter = {
        "type": "PyramidBackbone",
        "frozen": settings.frozen,
        "batchnorm": settings.batchnorm,
    }
    if levels := parts.pop("levels", None):
        adapter["levels"] = levels
    return {"default_scope": "mmdet", "backbone": adapter, **copy.deepcopy(parts)}


# -------------------------------------------------------------------------------------------- necks
def _pyramid(
    backbone: Backbone, settings: DetectionSettings, finest: int, extra: int = 0
) -> tuple[dict[str, Any], list[int]]:
    """Return a neck and its strides: an FPN on a ResNet, ViTDet's simple pyramid on a ViT; from
    stride `finest` to 32."""
    if backbone.family == "vit":
        patch = backbone.pyramid_strides[-1]
        strides = [
            stride
            for stride in (patch // 4, patch // 2, patch, patch * 2)
            if stride >= min(finest, patch)
        ]
        neck: dict[str, Any] = {
            "type": "SimplePyramid",
            "in_channels": backbone.pyramid_channels[-1],
            "extra_levels": extra,
            "scales": [patch / stride for stride in strides],
        }
    else:
        start = next(
            level for level, stride in enumerate(backbone.pyramid_strides) if stride >= finest
        )
        strides = list(backbone.pyramid_strides[start:])
        neck = {
            "type": "FPN",
            "in_channels": list(backbone.pyramid_channels),
            "start_level": start,
            "num_outs": len(strides) + extra,
        }
    neck["out_channels"] = settings.channels
    return neck, strides + [strides[-1] * 2 ** (k + 1) for k in range(extra)]


def _nms(settings: DetectionSettings) -> dict[str, Any]:
    from tasks.detection.matching import MAX_DETECTIONS

    suppression = {"type": "nms", "iou_threshold": settings.nms_iou}
    return {"score_thr": settings.min_score, "nms": suppression, "max_per_img": MAX_DETECTIONS}


def _mgca_nms(settings: DetectionSettings) -> dict[str, Any]:
    """Return MGCA's suppression: sides count both end pixels, and an IoU equal to the threshold
    goes.

    The operator drops what is above its threshold, so it gets the next lower float32.
    """
    test = _nms(settings)
    below = float(np.nextafter(np.float32(settings.nms_iou), np.float32(0)))
    test["nms"] |= {"iou_threshold": below, "offset": 1}
    return test


# -------------------------------------------------------------------------------------------- heads
def _fcos(backbone: Backbone, classes: int, settings: DetectionSettings) -> dict[str, Any]:
    neck, strides = _pyramid(backbone, settings, finest=settings.finest_stride)
    reach = [-1, *(FCOS_REACH * stride for stride in strides[:-1]), 1e8]
    head = {
        "type": "FCOSHead",
        "num_classes": classes,
        "in_channels": settings.channels,
        "feat_channels": settings.channels,
        "stacked_convs": settings.head_convs,
        "strides": strides,
        "regress_ranges": list(itertools.pairwise(reach)),
        "center_sampling": True,
        "norm_on_bbox": True,
        "centerness_on_reg": True,
        "norm_cfg": {"type": "GN", "num_groups": min(32, settings.channels // 4)},
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 1.0},
    }
    test = {"nms_pre": PROPOSALS, "min_bbox_size": 0, **_nms(settings)}
    return {"type": "FCOS", "neck": neck, "bbox_head": head, "train_cfg": {}, "test_cfg": test}


def _yolov3(backbone: Backbone, classes: int, settings: DetectionSettings) -> dict[str, Any]:
    levels = list(range(len(backbone.pyramid_channels)))[-3:]
    widths = [settings.channels * factor for factor in (4, 2, 1)]
    strides = [backbone.pyramid_strides[level] for level in reversed(levels)]
    neck = {"type": "YOLOV3Neck", "num_scales": 3, "out_channels": widths}
    neck |= {"in_channels": [backbone.pyramid_channels[level] for level in reversed(levels)]}
    scale = settings.image_size / 416
    sizes = [[(w * scale, h * scale) for w, h in anchors] for anchors in YOLO_ANCHORS]
    head = {
        "type": "MaskedYOLOHead",
        "loss_kind": settings.yolo_loss,
        "num_classes": classes,
        "in_channels": widths,
        "out_channels": [width * 2 for width in widths],
        "featmap_strides": strides,
        "anchor_generator": {
            "type": "YOLOAnchorGenerator",
            "base_sizes": sizes,
            "strides": strides,
        },
        **{
            f"loss_{name}": {**_BCE, "loss_weight": weight}
            for name, weight in (("cls", 1.0), ("conf", 1.0), ("xy", 2.0))
        },
        "loss_wh": {"type": "MSELoss", "loss_weight": 2.0, "reduction": "sum"},
    }
    assigner = {"type": "GridAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.5, "min_pos_iou": 0}
    test = {
        "nms_pre": PROPOSALS,
        "min_bbox_size": 0,
        "conf_thr": settings.min_score,
        **(_mgca_nms(settings) if settings.yolo_loss == "mgca" else _nms(settings)),
    }
    train = {"assigner": assigner}
    return {
        "type": "YOLOV3",
        "levels": levels,
        "neck": neck,
        "bbox_head": head,
        "train_cfg": train,
        "test_cfg": test,
    }


_BCE = {"type": "CrossEntropyLoss", "use_sigmoid": True, "reduction": "sum"}
_CROSS_ENTROPY = {"type": "CrossEntropyLoss", "loss_weight": 1.0}
_L1 = {"type": "L1Loss", "loss_weight": 1.0}


def _faster_rcnn(backbone: Backbone, classes: int, settings: DetectionSettings) -> dict[str, Any]:
    neck, strides = _pyramid(backbone, settings, finest=4, extra=1)
    box_head = {
        "type": "Shared2FCBBoxHead",
        "fc_out_channels": settings.channels * 4,
    }
    return _two_stage(neck, strides, box_head, classes, settings)


def _vitdet(backbone: Backbone, classes: int, settings: DetectionSettings) -> dict[str, Any]:
    neck, strides = _pyramid(backbone, settings, finest=4, extra=1)
    box_head = {
        "type": "Shared4Conv1FCBBoxHead",
        "conv_out_channels": settings.channels,
        "norm_cfg": {"type": "GN", "num_groups": 1},
        "fc_out_channels": settings.channels * 4,
    }
    config = _two_stage(neck, strides, box_head, classes, settings)
    config["rpn_head"]["num_convs"] = 2
    return config


def _two_stage(
    neck: dict[str, Any],
    strides: list[int],
    box_head: dict[str, Any],
    classes: int,
    settings: DetectionSettings,
) -> dict[str, Any]:
    width = settings.channels
    anchors = {
        "type": "AnchorGenerator",
        "scales": [4],
        "ratios": [0.5, 1.0, 2.0],
        "strides": strides,
    }
    coder = {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4}
    rpn_head = {
        "type": "RPNHead",
        "in_channels": width,
        "feat_channels": width,
        "anchor_generator": anchors,
        "bbox_coder": {**coder, "target_stds": [1.0] * 4},
        "loss_cls": {**_CROSS_ENTROPY, "use_sigmoid": True},
        "loss_bbox": _L1,
    }
    pooling = {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 2}
    extractor = {
        "type": "SingleRoIExtractor",
        "roi_layer": pooling,
        "out_channels": width,
        "finest_scale": 28,
    }
    roi_head = {
        "type": "StandardRoIHead",
        "bbox_roi_extractor": {**extractor, "featmap_strides": strides[:-1]},
        "bbox_head": {
            **box_head,
            "in_channels": width,
            "roi_feat_size": 7,
            "num_classes": classes,
            "bbox_coder": {**coder, "target_stds": [0.1, 0.1, 0.2, 0.2]},
            "loss_cls": _CROSS_ENTROPY,
            "loss_bbox": _L1,
        },
    }
    stages = {"neck": neck, "rpn_head": rpn_head, "roi_head": roi_head}
    return {
        "type": "FasterRCNN",
        **stages,
        "train_cfg": _two_stage_training(),
        "test_cfg": _two_stage_test(settings),
    }


def _proposal() -> dict[str, Any]:
    suppression = {"type": "nms", "iou_threshold": 0.7}
    return {
        "nms_pre": PROPOSALS,
        "max_per_img": PROPOSALS // 2,
        "nms": suppression,
        "min_bbox_size": 0,
    }


def _two_stage_test(settings: DetectionSettings) -> dict[str, Any]:
    return {"rpn": _proposal(), "rcnn": _nms(settings)}


def _two_stage_training() -> dict[str, Any]:
    def assigner(
        positive: float, negative: float, lowest: float, low_quality: bool
    ) -> dict[str, Any]:
        """Return mmdetection's rule of which anchors or proposals count as a true box, by IoU."""
        limits = {
            "pos_iou_thr": positive,
            "neg_iou_thr": negative,
            "min_pos_iou": lowest,
            "ignore_iof_thr": -1,
        }
        return {"type": "MaxIoUAssigner", **limits, "match_low_quality": low_quality}

    def sampler(count: int, share: float, with_truth: bool) -> dict[str, Any]:
        """Return mmdetection's rule of how many of them enter the loss."""
        options = {
            "num": count,
            "pos_fraction": share,
            "neg_pos_ub": -1,
            "add_gt_as_proposals": with_truth,
        }
        return {"type": "RandomSampler", **options}

    common = {"pos_weight": -1, "debug": False}
    rpn = {
        "assigner": assigner(0.7, 0.3, 0.3, True),
        "sampler": sampler(128, 0.5, False),
        "allowed_border": -1,
        **common,
    }
    rcnn = {
        "assigner": assigner(0.5, 0.5, 0.5, False),
        "sampler": sampler(64, 0.25, True),
        **common,
    }
    return {"rpn": rpn, "rpn_proposal": _proposal(), "rcnn": rcnn}


_HEADS = {"fcos": _fcos, "yolov3": _yolov3, "faster_rcnn": _faster_rcnn, "vitdet": _vitdet}
