"""Feature maps of a frozen encoder, computed once: what dense heads train on when the encoder does
not change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from bench.contracts import CellContext, InputSpec, Subset
from bench.core.hashing import digest
from bench.encoding.features import normalise, to_grey

FeatureMaps = tuple[Tensor, ...]
S = TypeVar("S", bound="MapSource")


@dataclass(frozen=True)
class MapSource:
    """The inputs of one subset: its pixels, or where `maps` are given the encoder's kept feature
    maps."""

    subset: Subset
    spec: InputSpec
    maps: FeatureMaps = ()

    def __len__(self) -> int:
        return len(self.subset)

    def inputs(self, rows: np.ndarray) -> Tensor | FeatureMaps:
        """Return what the model takes for `rows`."""
        return take_maps(self.maps, rows) if self.maps else self.images(rows)

    def images(self, rows: np.ndarray) -> Tensor:
        """Return the images of `rows` as the encoder takes them."""
        return normalise(to_grey(self.subset.images(rows)), self.spec)

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
    maps = [
        tuple(level.half() for level in levels)
        for levels in _encoded(model, batches, context, total)
    ]
    return tuple(torch.cat(levels) for levels in zip(*maps, strict=True))


def _encoded(
    model: Any, batches: Iterable[Tensor], context: CellContext, total: int
) -> Iterator[FeatureMaps]:
    """Yield the maps of each batch, on the CPU."""
    model.eval()
    with context.progress.track("encoding", total=total) as advance:
        for images in batches:
            with torch.no_grad():
                levels = model.backbone(images.to(context.device))
            yield tuple(level.cpu() for level in levels)
            advance(len(images))


MOST_KEPT = 2**30
"""Bytes of test images' maps that stay in memory for the next head on the same encoder."""


def with_test_maps(source: S, model: Any, batch_size: int, context: CellContext) -> S:
    """Return `source` with the maps that `model.backbone`, frozen, has of all its images, in single
    precision: what a head gives on them is what it gives on the images, to the last bit.

    They are passed on to the next cell of the same encoder (`context.test_maps`). Where they would
    take more than `MOST_KEPT` bytes, `source` stays as it is, and a head encodes as it goes.
    """
    size = source.subset.image_store.shape[-1]
    ids = source.subset.index["image_id"].tolist()
    key = digest([context.task.name, context.data_key, size, batch_size, *ids])
    if key not in context.test_maps:
        context.test_maps.clear()
        context.test_maps[key] = _encode_all(source, model, batch_size, context)
    maps: FeatureMaps = context.test_maps[key]
    return dataclasses.replace(source, maps=maps)


def _encode_all(
    source: MapSource, model: Any, batch_size: int, context: CellContext
) -> FeatureMaps:
    """Return the maps of all images; none where they would take more than `MOST_KEPT` bytes."""
    images = (source.images(rows) for rows in source.chunks(batch_size))
    maps: list[FeatureMaps] = []
    for levels in _encoded(model, images, context, len(source)):
        maps.append(levels)
        if sum(level[0].nbytes for level in levels) * len(source) > MOST_KEPT:
            return ()
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
