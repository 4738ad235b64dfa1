"""Chunks, layouts and matrix products of the chunked forms."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def chunks(length: int, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` (at least 1) that cover `length`."""
    size = max(size, 1)
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def by_image(tile: Tensor, dtype: torch.dtype) -> Tensor:
    """View a tile [J, L, I, X] as a batch of matrices [I, J L, X], in the type the products run
    in."""
    return tile.flatten(0, 1).transpose(0, 1).to(dtype)


def by_caption(batch: Tensor, tile: Tensor) -> Tensor:
    """View a batch [I, J L, X] as [J, L, I, X] with J and L of `tile`."""
    return batch.transpose(0, 1).unflatten(0, tile.shape[:2])


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return left @ right, accumulated and returned in float32 for half-precision (GPU) tensors."""
    if left.dtype == accumulator(left):
        return left @ right
    multiply = torch.bmm if left.dim() == 3 else torch.mm
    return multiply(left, right, out_dtype=torch.float32)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to `total` in place, without a temporary where the types allow it."""
    if left.dtype != total.dtype:
        total += product(left, right)
    elif left.dim() == 3:
        total.baddbmm_(left, right)
    else:
        total.addmm_(left, right)


def working(tensor: Tensor) -> Tensor:
    """Return the tensor in the type products take: its own on a GPU, at least float32 on the
    CPU."""
    return tensor if tensor.is_cuda else tensor.to(accumulator(tensor))


def accumulator(tensor: Tensor) -> torch.dtype:
    """Return the type sums are kept in: at least float32."""
    return torch.promote_types(tensor.dtype, torch.float32)
