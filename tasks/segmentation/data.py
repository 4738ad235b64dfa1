"""Batches for the trainer: pixels to normalised tensors, light augmentation, kept feature maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.contracts import CellContext, Subset
from bench.data.annotations import Masks
from bench.encoding.features import normalise, to_grey
from bench.mm.maps import FeatureMaps, MapSource, encode_maps
from bench.training.plan import batch_slices


def load_masks(subset: Subset, rows: np.ndarray) -> Tensor:
    """Return the masks of `rows` as float 0/1 [B, C, S, S]."""
    return torch.from_numpy(subset.get(Masks)[rows]).float()


def scale_rotate(images: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Scale by +-10% and rotate by +-10 degrees about the centre, each image with probability 0.5;
    black outside.

    ShiftScaleRotate(shift 0, scale 0.1, rotate 10) of MGCA and GLoRIA; images bilinear, masks
    nearest.
    """
    n = len(images)
    angle = np.deg2rad(rng.uniform(-10, 10, n))
    zoom = 1 + rng.uniform(-0.1, 0.1, n)
    drawn = rng.random(n) < 0.5
    angle = np.where(drawn, angle, 0.0)
    zoom = np.where(drawn, zoom, 1.0)
    zero = np.zeros(n)
    cosine = np.cos(angle) / zoom
    sine = np.sin(angle) / zoom
    across = np.stack([cosine, -sine, zero], -1)
    down = np.stack([sine, cosine, zero], -1)
    theta = torch.from_numpy(np.stack([across, down], 1)).float()
    grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return _sample(images, grid, "bilinear"), _sample(masks, grid, "nearest")


def flip(images: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mirror each image and its mask with probability 0.5 (BenchX)."""
    mirrored = torch.from_numpy(rng.random(len(images)) < 0.5)[:, None, None, None]
    return torch.where(mirrored, images.flip(-1), images), torch.where(
        mirrored, masks.flip(-1), masks
    )


AUGMENTATIONS = {"scale_rotate": scale_rotate, "flip": flip}


def _sample(pixels: Tensor, grid: Tensor, mode: str) -> Tensor:
    return torch.nn.functional.grid_sample(
        pixels, grid, mode=mode, padding_mode="zeros", align_corners=False
    )


@dataclass(frozen=True)
class Source(MapSource):
    """The inputs of one subset.

    With `masks` [V n, C, S, S] the maps are of V views of every image, the image itself first: view
    v of row r stands at v n + r.
    """

    masks: Tensor | None = None


@dataclass(frozen=True)
class TrainBatches:
    """What `bench.training.plan.train` iterates over: shuffled, augmented where asked; all
    randomness from the generator given.

    `augmentation`: scale_rotate or flip, see `AUGMENTATIONS`.
    """

    source: Source
    batch_size: int
    augment: bool
    augmentation: str = "scale_rotate"

    def __len__(self) -> int:
        return len(batch_slices(len(self.source), self.batch_size))

    def batches(self, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
        """Yield one pass of `{"inputs", "data_samples"}`."""
        order = generator.permutation(len(self.source))
        for span in batch_slices(len(order), self.batch_size):
            yield self._batch(order[span], generator)

    def _batch(self, rows: np.ndarray, generator: np.random.Generator) -> dict[str, Any]:
        stored = self.source.masks
        if stored is not None:
            rows = rows + len(self.source) * generator.integers(
                0, len(stored) // len(self.source), len(rows)
            )
            return pack(self.source.inputs(rows), stored[torch.from_numpy(rows)].float())
        masks = load_masks(self.source.subset, rows)
        if not self.augment:
            return pack(self.source.inputs(rows), masks)
        images, masks = AUGMENTATIONS[self.augmentation](
            to_grey(self.source.subset.images(rows)), masks, generator
        )
        return pack(normalise(images, self.source.spec), masks)


def pack(inputs: Tensor | FeatureMaps, masks: Tensor) -> dict[str, Any]:
    """Return a batch as an mmseg segmentor takes it."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    samples = [SegDataSample(gt_sem_seg=PixelData(data=mask)) for mask in masks]
    return {"inputs": inputs, "data_samples": samples}


def encode(source: Source, segmentor: Any, context: CellContext, views: int = 1) -> Source:
    """Return `source` with the encoder's feature maps computed once, kept on the CPU in half
    precision.

    With `views` above 1 also those of that many views less one: turned, scaled, every other one
    mirrored. The draw depends on the cell's seed alone.
    """
    masks: list[Tensor] = []
    rng = np.random.default_rng((context.seed, 77))

    def batches() -> Iterator[Tensor]:
        """Yield the normalised images of every view, keeping their masks."""
        for view in range(views):
            for rows in source.chunks(32):
                grey, truth = _view(source.subset, rows, view, rng)
                masks.append(truth.to(torch.uint8))
                yield normalise(grey, source.spec)

    maps = encode_maps(segmentor, batches(), context, len(source) * views)
    return Source(source.subset, source.spec, maps, torch.cat(masks) if views > 1 else None)


def _view(
    subset: Subset, rows: np.ndarray, view: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    grey = to_grey(subset.images(rows))
    masks = load_masks(subset, rows)
    if view == 0:
        return grey, masks
    if view % 2:
        grey = grey.flip(-1)
        masks = masks.flip(-1)
    return scale_rotate(grey, masks, rng)
