"""Write a config with which mmsegmentation or mmdetection goes on from one of our encoders."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from bench.contracts import BACKBONES, Backbone, BackboneRequest
from bench.errors import DataError, SettingError

Framework = Literal["mmseg", "mmdet"]
IMPORTS = {"imports": ["bench.mm.registered"], "allow_failed_imports": False}
WIDTH = 256


def export_config(
    framework: Framework,
    name: str,
    request: BackboneRequest,
    out: Path,
    *,
    classes: Sequence[str] = ("finding",),
    data_root: str = "data",
    frozen: bool = False,
    image_size: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write `<name>_<framework>.py` into `out`, and the checkpoint of `request` beside it as
    `encoder.<suffix>`.

    The config trains UPerNet (mmseg) or Faster R-CNN (mmdet) on images of `image_size` (default:
    the encoder's) with the encoder's mean and deviation, through `type="PlaceBenchBackbone"`. Data:
    under `data_root`, `images/` and `masks/` (PNG of class numbers, 0 background) with lists
    `train.txt` and `val.txt`, or `images/` with COCO files `train.json`, `val.json`.

    Returns the config's path. Raise SettingError on another framework, DataError where the config
    is there already.
    """
    if framework not in _MODELS:
        raise SettingError(
            f"unknown framework '{framework}'.", f"Choose one of {', '.join(_MODELS)}."
        )
    path = out / f"{name.replace(':', '_').replace('/', '_')}_{framework}.py"
    if path.exists() and not overwrite:
        raise DataError(f"file {path} is there already.", "Choose another folder, or delete it.")
    backbone = BACKBONES.get(name).build(request)
    size = image_size or backbone.input.size
    out.mkdir(parents=True, exist_ok=True)
    encoder = _encoder(name, request, out, frozen, len(backbone.pyramid_channels))
    config = {
        "default_scope": framework,
        "custom_imports": IMPORTS,
        **_MODELS[framework](backbone, encoder, size, classes),
    }
    config |= _DATA[framework](data_root, size, classes) | _schedule(framework)
    _dump(config, path)
    return path


def _dump(config: dict[str, Any], path: Path) -> None:
    from mmengine.config import Config

    Config(config).dump(path)


def _encoder(
    name: str, request: BackboneRequest, out: Path, frozen: bool, levels: int
) -> dict[str, Any]:
    checkpoint = None
    if request.checkpoint is not None:
        copy = out / f"encoder{request.checkpoint.suffix}"
        shutil.copyfile(request.checkpoint, copy)
        checkpoint = str(copy.resolve())
    return {
        "type": "PlaceBenchBackbone",
        "name": name,
        "architecture": request.architecture,
        "profile": request.profile,
        "checkpoint": checkpoint,
        "frozen": frozen,
        "out_indices": list(range(levels)),
    }


def _statistics(backbone: Backbone) -> dict[str, Any]:
    """Return the encoder's mean and deviation, of grey values 0..255."""
    spec = backbone.input
    return {
        "mean": [255 * value for value in spec.mean],
        "std": [255 * value for value in spec.std],
        "bgr_to_rgb": True,
    }


# -------------------------------------------------------------------------------------------------------------- models
def _segmentor(
    backbone: Backbone, encoder: dict[str, Any], size: int, classes: Sequence[str]
) -> dict[str, Any]:
    channels, norm = list(backbone.pyramid_channels), {"type": "BN", "requires_grad": True}
    head = {
        "type": "UPerHead",
        "in_channels": channels,
        "in_index": list(range(len(channels))),
        "pool_scales": [1, 2, 3, 6],
        "channels": WIDTH,
        "dropout_ratio": 0.1,
        "num_classes": len(classes) + 1,
        "norm_cfg": norm,
        "align_corners": False,
        "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
    }
    preprocessor = {"type": "SegDataPreProcessor", **_statistics(backbone), "size": [size, size]}
    model: dict[str, Any] = {
        "type": "EncoderDecoder",
        "data_preprocessor": preprocessor,
        "backbone": encoder,
    }
    if backbone.family == "vit":
        model["neck"] = {
            "type": "Feature2Pyramid",
            "embed_dim": channels[-1],
            "rescales": [4, 2, 1, 0.5],
            "norm_cfg": norm,
        }
    return {"model": {**model, "decode_head": head, "train_cfg": {}, "test_cfg": {"mode": "whole"}}}


def _detector(
    backbone: Backbone, encoder: dict[str, Any], size: int, classes: Sequence[str]
) -> dict[str, Any]:
    """Return mmdetection's own Faster R-CNN with the neck this encoder wants and one head less its
    80 classes."""
    import mmdet
    from mmengine.config import Config

    base = Path(mmdet.__file__).parent / ".mim/configs/_base_/models/faster-rcnn_r50_fpn.py"
    model = Config.fromfile(base).to_dict()["model"]
    strides = backbone.pyramid_strides
    model["backbone"], model["neck"] = (
        encoder,
        {"type": "FPN", "in_channels": list(backbone.pyramid_channels)},
    )
    model["neck"] |= {"out_channels": WIDTH, "num_outs": 5}
    if backbone.family == "vit":
        strides = tuple(strides[-1] * factor // 4 for factor in (1, 2, 4, 8))
        scales = {"scales": [4.0, 2.0, 1.0, 0.5], "extra_levels": 1}
        model["neck"] = {
            "type": "SimplePyramid",
            "in_channels": backbone.pyramid_channels[-1],
            "out_channels": WIDTH,
            **scales,
        }
    model["data_preprocessor"] = {
        "type": "DetDataPreprocessor",
        **_statistics(backbone),
        "pad_size_divisor": max(strides),
    }
    model["rpn_head"]["anchor_generator"]["strides"] = [*strides, strides[-1] * 2]
    model["roi_head"]["bbox_roi_extractor"]["featmap_strides"] = list(strides)
    model["roi_head"]["bbox_head"]["num_classes"] = len(classes)
    return {"model": model}


# ---------------------------------------------------------------------------------------------------------------- data
def _loader(dataset: dict[str, Any], train: bool) -> dict[str, Any]:
    sampler = {"type": "DefaultSampler", "shuffle": train}
    return {
        "batch_size": 8,
        "num_workers": 2,
        "persistent_workers": True,
        "sampler": sampler,
        "dataset": dataset,
    }


def _pipeline(size: int, pack: str, train: bool, **annotations: Any) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", **annotations},
    ]
    steps.append({"type": "Resize", "scale": (size, size), "keep_ratio": False})
    flip = [{"type": "RandomFlip", "prob": 0.5}] if train else []
    return [*steps, *flip, {"type": pack}]


def _masks(root: str, size: int, classes: Sequence[str]) -> dict[str, Any]:
    names = ["background", *classes]
    palette = [[0, 0, 0], *([255 - 40 * k, 40 * k % 255, 0] for k in range(len(classes)))]

    def part(split: str) -> dict[str, Any]:
        files = {"img_path": "images", "seg_map_path": "masks"}
        return {
            "type": "BaseSegDataset",
            "data_root": root,
            "data_prefix": files,
            "ann_file": f"{split}.txt",
            "img_suffix": ".png",
            "metainfo": {"classes": names, "palette": palette},
            "pipeline": _pipeline(size, "PackSegInputs", split == "train"),
        }

    metric = {"type": "IoUMetric", "iou_metrics": ["mDice", "mIoU"]}
    loaders = {
        "train_dataloader": _loader(part("train"), True),
        "val_dataloader": _loader(part("val"), False),
    }
    return {**loaders, "val_evaluator": metric}


def _boxes(root: str, size: int, classes: Sequence[str]) -> dict[str, Any]:
    def part(split: str) -> dict[str, Any]:
        return {
            "type": "CocoDataset",
            "data_root": root,
            "data_prefix": {"img": "images/"},
            "ann_file": f"{split}.json",
            "metainfo": {"classes": list(classes)},
            "filter_cfg": {"filter_empty_gt": False},
            "test_mode": split != "train",
            "pipeline": _pipeline(size, "PackDetInputs", split == "train", with_bbox=True),
        }

    metric = {"type": "CocoMetric", "ann_file": f"{root}/val.json", "metric": "bbox"}
    loaders = {
        "train_dataloader": _loader(part("train"), True),
        "val_dataloader": _loader(part("val"), False),
    }
    return {**loaders, "val_evaluator": metric}


def _schedule(framework: Framework) -> dict[str, Any]:
    best = {"mmseg": "mDice", "mmdet": "coco/bbox_mAP"}[framework]
    return {
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 50, "val_interval": 1},
        "val_cfg": {"type": "ValLoop"},
        "optim_wrapper": {
            "type": "OptimWrapper",
            "optimizer": {"type": "AdamW", "lr": 5e-4, "weight_decay": 0.05},
        },
        "param_scheduler": [{"type": "CosineAnnealingLR", "by_epoch": True, "T_max": 50}],
        "default_hooks": {
            "checkpoint": {
                "type": "CheckpointHook",
                "interval": 1,
                "max_keep_ckpts": 2,
                "save_best": best,
            }
        },
        "randomness": {"seed": 0},
    }


_MODELS: dict[str, Any] = {"mmseg": _segmentor, "mmdet": _detector}
_DATA: dict[str, Any] = {"mmseg": _masks, "mmdet": _boxes}
