"""A training step of each segmentation head on kept feature maps, against the same step with the
frozen encoder in it."""

from __future__ import annotations

from typing import Any

import torch

from perf._steps import step_row

BATCH = 8
SIZE = 224
HEADS = (
    ("unet", "resnet"),
    ("upernet", "resnet"),
    ("linear", "resnet"),
    ("setr_pup", "vit"),
    ("upernet", "vit"),
    ("linear", "vit"),
)


def _step(head: str, family: str) -> dict[str, Any]:
    from bench.contracts import BACKBONES, BackboneRequest
    from bench.core.settings import override
    from tasks.segmentation.data import pack
    from tasks.segmentation.model import build_segmentor
    from tasks.segmentation.settings import SegmentationSettings

    backbone = BACKBONES.get("random").build(BackboneRequest("paper", family))
    settings = override(SegmentationSettings(image_size=SIZE), {"head": head})
    model = build_segmentor(backbone, 1, settings, 0)
    images = torch.randn(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(BATCH, 1, SIZE, SIZE)
    masks[:, :, 60:150, 40:120] = 1
    return step_row(
        f"step of {head} on {backbone.architecture}",
        model,
        images,
        lambda inputs: pack(inputs, masks),
    )


def run() -> list[dict[str, Any]]:
    """Return a row per head."""
    return [_step(head, family) for head, family in HEADS]
