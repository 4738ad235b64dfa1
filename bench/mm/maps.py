"""Feature maps of a frozen encoder, computed once: what dense heads train on when the encoder does
not change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.contracts import CellContext, InputSpec, Subset
from bench.encoding.features import normalise, to_grey

FeatureMaps = tuple[Tensor, ...]


@dataclass(frozen=True)
class MapSource:
    """The inputs of one subset: its pixels, or where `maps` are given the encoder's kept feature
    maps (half precision)."""

    subset: Subset
    spec: InputSpec
    maps: FeatureMaps = ()

    def __len__(self) -> int:
        return len(self.subset)

    def inputs(self, rows: np.ndarray) -> Tensor | FeatureMaps:
        """Return what the model takes for `rows`."""
        return (
            take_maps(self.maps, rows)
            if self.maps
            else normalise(to_grey(self.subset.images(rows)), self.spec)
        )

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """Yield the rows in order, `size` at a time."""
        for start in range(0, len(self), size):
            end = min(start + size, len(self))
            yield np.arange(start, end)


def encode_maps(
    model: Any, batches: Iterable[Tensor], context: CellContext, total: int
) -> FeatureMaps:
    """Return the maps of `model.backbone` for normalised images: a tensor [total, C, h, w] per
    level, half precision, on the CPU.

    `batches` yields [B, channels, H, W], `total` images in all; the model is left in evaluation
    mode.
    """
    maps: list[FeatureMaps] = []
    model.eval()
    with context.progress.track("encoding", total=total) as advance, torch.no_grad():
        for images in batches:
            maps.append(
                tuple(level.half().cpu() for level in model.backbone(images.to(context.device)))
            )
            advance(len(images))
    return tuple(torch.cat(levels) for levels in zip(*maps, strict=True))


def take_maps(maps: FeatureMaps, rows: Any) -> FeatureMaps:
    """Return the kept maps of `rows` in single precision."""
    return tuple(level[torch.as_tensor(rows)].float() for level in maps)


def to_device(inputs: Tensor | FeatureMaps, device: str) -> Tensor | FeatureMaps:
    """Move images, or kept maps, to a device."""
    return (
        inputs.to(device)
        if isinstance(inputs, Tensor)
        else tuple(level.to(device) for level in inputs)
    )
