"""Batches for the trainer: pixels and boxes to tensors, augmented views, kept feature maps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.contracts import CellContext
from bench.data.annotations import Boxes
from bench.encoding.features import normalise, to_grey
from bench.mm.maps import MapSource, encode_maps

KEPT_AREA = 0.25
"""A box of which less than this share is left in an augmented view is dropped from it."""


def augmented(
    grey: Tensor, boxes: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[Tensor, list[np.ndarray]]:
    """Mirror (probability 0.5), zoom by +-10% and shift by up to 5% of the side; black outside,
    boxes move along.

    `grey` [B, 1, S, S]; `boxes` one array [n, 5] per image. No rotation, so that boxes stay exact.
    """
    n = len(grey)
    size = grey.shape[-1]
    zoom = 1 + rng.uniform(-0.1, 0.1, n)
    shift = rng.uniform(-0.05, 0.05, (n, 2))
    sign = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    theta = np.zeros((n, 2, 3))  # where an output pixel comes from, in -1..1
    theta[:, 0, 0] = sign / zoom
    theta[:, 1, 1] = 1 / zoom
    theta[:, 0, 2] = -2 * shift[:, 0] * sign / zoom
    theta[:, 1, 2] = -2 * shift[:, 1] / zoom
    grid = torch.nn.functional.affine_grid(
        torch.from_numpy(theta).float(), list(grey.shape), align_corners=False
    )
    images = torch.nn.functional.grid_sample(
        grey, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    augmented_boxes = [
        _augmented_boxes(boxes_of_image, size, z, s, t)
        for boxes_of_image, z, s, t in zip(boxes, zoom, sign, shift, strict=True)
    ]
    return images, augmented_boxes


def _augmented_boxes(
    boxes: np.ndarray, size: int, zoom: float, sign: float, shift: np.ndarray
) -> np.ndarray:
    centre = (boxes[:, 0:2] + boxes[:, 2:4]) / 2 / size - 0.5
    half = (boxes[:, 2:4] - boxes[:, 0:2]) / 2 / size * zoom
    centre = centre * np.array([sign, 1.0]) * zoom + shift + 0.5
    corners = np.concatenate([centre - half, centre + half], axis=1) * size
    clipped = corners.clip(0, size)
    visible = _area(clipped) >= KEPT_AREA * _area(corners)
    return np.column_stack([clipped, boxes[:, 4]])[visible].astype(np.float32)


def _area(corners: np.ndarray) -> np.ndarray:
    return (corners[:, 2:] - corners[:, :2]).prod(axis=1)


@dataclass(frozen=True)
class Source(MapSource):
    """The inputs of one subset and its boxes.

    With `view_boxes` the maps are of several views of every image, the image itself first: view v
    of row r stands at v n + r.
    """

    view_boxes: tuple[np.ndarray, ...] = ()

    def boxes(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the true boxes of `rows`."""
        return [self.subset.get(Boxes)[int(row)] for row in rows]


@dataclass(frozen=True)
class TrainBatches:
    """What `bench.training.plan.train` iterates over: shuffled, augmented where asked; all
    randomness from the generator given.

    `positive_share`: the part of a pass drawn from images with a box, see the settings.
    """

    source: Source
    batch_size: int
    augment: bool
    positive_share: float | None = None

    def __len__(self) -> int:
        return math.ceil(len(self.source) / self.batch_size)

    def batches(self, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
        """Yield one pass of `{"inputs", "data_samples"}`."""
        order = self._order(generator)
        for rows in self.source.chunks(self.batch_size):
            yield self._batch(order[rows], generator)

    def _order(self, generator: np.random.Generator) -> np.ndarray:
        n = len(self.source)
        if self.positive_share is None:
            return generator.permutation(n)
        positive = np.array([len(boxes) > 0 for boxes in self.source.boxes(np.arange(n))])
        if positive.all():
            return generator.permutation(n)
        share = np.where(
            positive,
            self.positive_share / positive.sum(),
            (1 - self.positive_share) / (~positive).sum(),
        )
        return generator.choice(n, size=n, p=share)

    def _batch(self, rows: np.ndarray, generator: np.random.Generator) -> dict[str, Any]:
        source = self.source
        size = self.source.subset.image_store.shape[-1]
        if source.view_boxes:
            rows = rows + len(source) * generator.integers(
                0, len(source.view_boxes) // len(source), len(rows)
            )
            return {
                "inputs": source.inputs(rows),
                "data_samples": samples([source.view_boxes[row] for row in rows], size),
            }
        if not self.augment:
            return {
                "inputs": source.inputs(rows),
                "data_samples": samples(source.boxes(rows), size),
            }
        grey, boxes = augmented(to_grey(source.subset.images(rows)), source.boxes(rows), generator)
        return {"inputs": normalise(grey, source.spec), "data_samples": samples(boxes, size)}


def samples(boxes: Sequence[np.ndarray], size: int) -> list[Any]:
    """Return mmdetection's data samples of boxes [n, 5] on images of `size` px."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    shape = (size, size)
    meta = {
        "img_shape": shape,
        "ori_shape": shape,
        "pad_shape": shape,
        "batch_input_shape": shape,
        "scale_factor": (1.0, 1.0),
    }
    data_samples = []
    for boxes_of_image in boxes:
        corners = torch.from_numpy(boxes_of_image[:, :4]).float()
        labels = torch.from_numpy(boxes_of_image[:, 4]).long()
        data_samples.append(
            DetDataSample(metainfo=meta, gt_instances=InstanceData(bboxes=corners, labels=labels))
        )
    return data_samples


def encode(source: Source, detector: Any, context: CellContext, views: int = 1) -> Source:
    """Return `source` with the encoder's feature maps computed once.

    With `views` above 1 also those of that many views less one, augmented as `augmented` does; the
    draw depends on the cell's seed alone.
    """
    rng = np.random.default_rng((context.seed, 78))
    boxes = []

    def batches() -> Iterator[Tensor]:
        """Yield the normalised images of every view, keeping their boxes."""
        for view in range(views):
            for rows in source.chunks(32):
                grey = to_grey(source.subset.images(rows))
                drawn = source.boxes(rows)
                grey, drawn = augmented(grey, drawn, rng) if view else (grey, drawn)
                boxes.extend(drawn)
                yield normalise(grey, source.spec)

    maps = encode_maps(detector, batches(), context, len(source) * views)
    return Source(source.subset, source.spec, maps, tuple(boxes) if views > 1 else ())
