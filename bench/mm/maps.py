"""Feature maps of a frozen encoder, computed once: what dense heads train on when the encoder does not change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bench.contracts import CellContext

FeatureMaps = tuple[Tensor, ...]


def encode_maps(model: Any, batches: Iterable[Tensor], context: CellContext, total: int) -> FeatureMaps:
    """Return the maps of `model.backbone` for normalised images: a tensor [total, C, h, w] per level, half precision, on the CPU.

    `batches` yields [B, channels, H, W], `total` images in all; the model is left in evaluation mode.
    """
    maps: list[FeatureMaps] = []
    model.eval()
    with context.progress.track("encoding", total=total) as advance, torch.no_grad():
        for images in batches:
            maps.append(tuple(level.half().cpu() for level in model.backbone(images.to(context.device))))
            advance(len(images))
    return tuple(torch.cat(levels) for levels in zip(*maps, strict=True))


def take_maps(maps: FeatureMaps, rows: Any) -> FeatureMaps:
    """Return the kept maps of `rows` in single precision."""
    return tuple(level[torch.as_tensor(rows)].float() for level in maps)


def to_device(inputs: Tensor | FeatureMaps, device: str) -> Tensor | FeatureMaps:
    """Move images, or kept maps, to a device."""
    return inputs.to(device) if isinstance(inputs, Tensor) else tuple(level.to(device) for level in inputs)
