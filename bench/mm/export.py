"""Write a config with which mmsegmentation or mmdetection goes on from one of our encoders."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.contracts import BACKBONES, Backbone, BackboneRequest
from bench.core.checkpoints import Checkpoint
from bench.core.errors import DataError, SettingError
from bench.core.naming import absolute_name, short_name
from bench.core.storage import atomic_path

Framework = Literal["mmseg", "mmdet"]
IMPORTS = {"imports": ["bench.mm.registered"], "allow_failed_imports": False}
BESIDE = "{{ fileDirname }}"
"""What mmengine replaces by the folder of the config: an export may be moved as a whole."""
WIDTH = 256
_SCALES = (4.0, 2.0, 1.0, 0.5)
"""Of the pyramid that is made of a ViT's maps, which all have one size."""


@dataclass(frozen=True)
class Head:
    """What the config trains on an encoder: `classes` without the background, on the data under
    `data_root`, at `image_size` px (None: the encoder's own), the encoder `frozen` or not."""

    classes: Sequence[str] = ("finding",)
    data_root: str = "data"
    frozen: bool = False
    image_size: int | None = None


def export_config(
    framework: Framework,
    name: str,
    request: BackboneRequest,
    out: Path,
    head: Head = Head(),
    *,
    native: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write `<name>_<framework>.py` into `out`, and beside it a copy of the checkpoint of `request`
    as `<name>_<framework>_encoder`.

    The config trains UPerNet (mmseg) or Faster R-CNN (mmdet) with the encoder's mean and deviation,
    through `type="PlaceBenchBackbone"`; `native` gives mmsegmentation's own VisionTransformer the
    weights under its own names instead. Data: under `data_root`, `images/` and `masks/` (PNG of
    class numbers, 0 background) with lists `train.txt` and `val.txt`, or `images/` with COCO files
    `train.json`, `val.json`. Weights that the name itself points to stay where they are.

    Returns the config's path. Raise SettingError on another framework or an encoder that `native`
    does not fit, DataError where the config is there already; nothing is left in `out` then.
    """
    if framework not in _MODELS:
        raise SettingError(
            f"unknown framework '{framework}'.", f"Choose one of {', '.join(_MODELS)}."
        )
    if native and framework != "mmseg":
        raise SettingError(
            f"{framework} has no VisionTransformer of its own.",
            "Use --native with mmseg, or leave it out.",
        )
    stem = f"{re.sub(r'[^0-9A-Za-z_-]+', '_', short_name(name)).strip('_')}_{framework}"
    path = out / f"{stem}.py"
    if path.exists() and not overwrite:
        raise DataError(f"file {path} is there already.", "Choose another folder, or delete it.")
    backbone = BACKBONES.get(name).build(request)
    if not backbone.pyramid_channels:
        raise SettingError(f"'{name}' has no feature maps.", "Choose an encoder that has.")
    with _staged(out) as staging:
        write = _native_encoder if native else _adapted_encoder
        encoder = write(backbone, name, request, staging / f"{stem}_encoder", head)
        config = _config(framework, backbone, encoder, head, native)
        _dump(config, staging / path.name)
    return path


def _config(
    framework: Framework, backbone: Backbone, encoder: dict[str, Any], head: Head, native: bool
) -> dict[str, Any]:
    size = head.image_size or backbone.input.size
    return {
        "default_scope": framework,
        # mmsegmentation's own encoder needs this package only beside a mmcv without operators.
        "custom_imports": {**IMPORTS, "allow_failed_imports": native},
        **_MODELS[framework](backbone, encoder, size, head.classes),
        **_DATA[framework](head.data_root, size, head.classes),
        **_schedule(framework),
    }


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """Give a folder to write into, whose content is moved into `out` at the end; after an error
    `out` is as it was."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    staging = out / ".export"
    shutil.rmtree(staging, ignore_errors=True)  # of an export that was killed
    staging.mkdir(parents=True)
    try:
        yield staging
        for item in sorted(staging.iterdir()):
            _replace(item, out / item.name)
    except BaseException:
        shutil.rmtree(staging)
        for folder in made:
            folder.rmdir()
        raise
    staging.rmdir()


def _replace(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)


def _dump(config: dict[str, Any], path: Path) -> None:
    from mmengine.config import Config

    Config(config).dump(path)


def _adapted_encoder(
    backbone: Backbone, name: str, request: BackboneRequest, target: Path, head: Head
) -> dict[str, Any]:
    """Copy the checkpoint to `target` and return the adapter that reads it."""
    copy = None if request.checkpoint is None else _copy_checkpoint(request.checkpoint, target)
    return {
        "type": "PlaceBenchBackbone",
        "name": absolute_name(name),
        "architecture": request.architecture,
        "profile": request.profile,
        "checkpoint": copy and f"{BESIDE}/{copy.relative_to(target.parent)}",
        "frozen": head.frozen,
        "out_indices": list(range(len(backbone.pyramid_channels))),
    }


def _copy_checkpoint(path: Path, target: Path) -> Path:
    """Copy a checkpoint that was trained here as the folder `target`, or a file of weights alone
    under its name; return what opens the copy."""
    if Checkpoint.is_at(path):
        return Checkpoint.open(path).copy_to(target).path
    return Path(shutil.copyfile(path, target.with_suffix(path.suffix)))


def _native_encoder(
    backbone: Backbone, name: str, request: BackboneRequest, target: Path, head: Head
) -> dict[str, Any]:
    """Write the weights under mmsegmentation's names and return its VisionTransformer with them."""
    import torch

    from bench.mm.native import mmseg_options, mmseg_state, timm_vit

    model = timm_vit(backbone)
    weights = target.with_suffix(".pth")
    with atomic_path(weights) as temporary, temporary.open("wb") as file:
        torch.save({"state_dict": mmseg_state(model)}, file)
    return {
        "type": "VisionTransformer",
        **mmseg_options(model, levels=len(backbone.pyramid_channels)),
        **({"frozen_exclude": []} if head.frozen else {}),
        "init_cfg": {"type": "Pretrained", "checkpoint": f"{BESIDE}/{weights.name}"},
    }


def _statistics(backbone: Backbone) -> dict[str, Any]:
    """Return the encoder's mean and deviation, of grey values 0..255."""
    spec = backbone.input
    return {
        "mean": [255 * value for value in spec.mean],
        "std": [255 * value for value in spec.std],
        "bgr_to_rgb": True,
    }


# ------------------------------------------------------------------------------------------- models
def _segmentor(
    backbone: Backbone, encoder: dict[str, Any], size: int, classes: Sequence[str]
) -> dict[str, Any]:
    channels = list(backbone.pyramid_channels)
    norm = {"type": "BN", "requires_grad": True}
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
            "rescales": list(_SCALES)[-len(channels) :],
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
    strides: list[float] = list(backbone.pyramid_strides)
    model["backbone"] = encoder
    model["neck"] = {
        "type": "FPN",
        "in_channels": list(backbone.pyramid_channels),
        "out_channels": WIDTH,
        "num_outs": len(strides) + 1,
    }
    if backbone.family == "vit":
        strides = [strides[-1] / scale for scale in _SCALES]
        model["neck"] = {
            "type": "SimplePyramid",
            "in_channels": backbone.pyramid_channels[-1],
            "out_channels": WIDTH,
            "scales": list(_SCALES),
            "extra_levels": 1,
        }
    model["data_preprocessor"] = {
        "type": "DetDataPreprocessor",
        **_statistics(backbone),
        "pad_size_divisor": int(max(strides)),
    }
    model["rpn_head"]["anchor_generator"]["strides"] = [*strides, strides[-1] * 2]
    model["roi_head"]["bbox_roi_extractor"]["featmap_strides"] = strides
    model["roi_head"]["bbox_head"]["num_classes"] = len(classes)
    return {"model": model}


# --------------------------------------------------------------------------------------------- data
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

    def examples(split: str) -> dict[str, Any]:
        """Return the config of one split's images and masks."""
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
        "train_dataloader": _loader(examples("train"), True),
        "val_dataloader": _loader(examples("val"), False),
    }
    return {**loaders, "val_evaluator": metric}


def _boxes(root: str, size: int, classes: Sequence[str]) -> dict[str, Any]:
    def examples(split: str) -> dict[str, Any]:
        """Return the config of one split's images and boxes."""
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
        "train_dataloader": _loader(examples("train"), True),
        "val_dataloader": _loader(examples("val"), False),
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
