"""Inputs of odd sizes shared by the tests of all forms."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHAPES = {  # captions, words, images, regions, width
    "gram": (3, 5, 4, 3, 16),
    "contexts": (3, 5, 2, 33, 6),
    "one_sentence": (1, 1, 5, 7, 8),
    "batch_of_one": (1, 6, 1, 9, 4),
    "one_of_all": (1, 1, 1, 1, 3),
}


def pooled_inputs(
    shape: tuple[int, int, int, int, int], padded: bool, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return text, regions (float64) and their masks; the first caption and image are never
    padded."""
    generator = torch.Generator().manual_seed(seed)
    captions, words, images, regions, width = shape
    text = torch.randn(captions, words, width, generator=generator, dtype=torch.float64)
    places = torch.randn(images, regions, width, generator=generator, dtype=torch.float64)
    return (
        text,
        places,
        _mask(captions, words, padded, generator),
        _mask(images, regions, padded, generator),
    )


def contrast_inputs(
    rows: int, keys: int, width: int, seed: int = 0
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return unit queries and keys (float64) and ids and ignored pairs: several positives, one, or
    none."""
    generator = torch.Generator().manual_seed(seed)
    sides = [
        torch.randn(count, width, generator=generator, dtype=torch.float64)
        for count in (rows, keys)
    ]
    ids = [torch.randint(0, 1 + rows // 2, (count,), generator=generator) for count in (rows, keys)]
    ignore = torch.rand(rows, keys, generator=generator) < 0.3
    return (
        F.normalize(sides[0], dim=1),
        F.normalize(sides[1], dim=1),
        {"query_ids": ids[0], "key_ids": ids[1], "ignore": ignore},
    )


def _mask(count: int, length: int, padded: bool, generator: torch.Generator) -> Tensor:
    lengths = (
        torch.randint(1, length + 1, (count,), generator=generator)
        if padded
        else torch.full((count,), length)
    )
    lengths[0] = length
    return torch.arange(length) < lengths[:, None]
