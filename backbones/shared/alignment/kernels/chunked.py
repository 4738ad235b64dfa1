"""Attention-pooled cosine in chunks of captions and images, recomputed in backward: peak memory
O(chunk), not O(B^2).

The context c = sum_s b_s r_s of a text unit w is never formed where that is cheaper: <c, w> = sum_s
b_s <r_s, w>, and |c|^2 = b' G b with the Gram matrix G = R R' of the image's regions. Matrix
products run as few large GEMMs a tile; the softmaxes between them are `tiles` (torch) or
`triton_tiles` (one kernel a direction).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from backbones.shared.alignment.kernels.options import Pooling
from backbones.shared.alignment.kernels.products import (
    accumulator,
    add_product,
    by_caption,
    by_image,
    chunks,
    product,
    working,
)


def pooled_cosine(
    text: Tensor,
    regions: Tensor,
    text_mask: Tensor | None,
    region_mask: Tensor | None,
    pooling: Pooling,
    tiles: ModuleType,
) -> Tensor:
    """Return what `reference.pooled_cosine` returns, [J, L, I] in at least float32, in bounded
    memory.

    `tiles` is the module with `attend` and `attend_backward`. Half-precision input is multiplied as
    it is on a GPU, with float32 accumulation, and in float32 on the CPU. Captions are taken by
    length, so that a chunk holds little padding.
    """
    if text_mask is None:
        return _PooledCosine.apply(
            text, regions, None, region_mask, pooling, tiles, [text.shape[1]] * len(text)
        )
    lengths = (text_mask * torch.arange(1, text.shape[1] + 1, device=text.device)).amax(dim=1)
    order = lengths.argsort()
    rest = (text_mask[order], region_mask, pooling, tiles, lengths[order].tolist())
    cosine = _PooledCosine.apply(text[order], regions, *rest)
    return cosine[order.argsort()].masked_fill(~text_mask[:, :, None], 0.0)


class _PooledCosine(torch.autograd.Function):
    """The cosine by chunks, with tiles kept for the backward while there is room."""

    @staticmethod
    def forward(ctx: Any, text: Tensor, regions: Tensor, *rest: Any) -> Tensor:
        """Return the cosines [J, L, I] of words and the regions they attend to."""
        with torch.autocast(text.device.type, enabled=False):
            problem = _Problem(working(text), working(regions), *rest)
            dot, square = problem.forward(keep=any(ctx.needs_input_grad))
            ctx.rest = (*rest, problem.kept)
            ctx.save_for_backward(text, regions, dot, square)
            return dot / problem.norms(square)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of words and regions, in their own types."""
        text, regions, dot, square = ctx.saved_tensors
        with torch.autocast(text.device.type, enabled=False):
            problem = _Problem(working(text), working(regions), *ctx.rest)
            by_text, by_regions = problem.backward(grad, dot, square)
        return (by_text.to(text.dtype), by_regions.to(regions.dtype), *[None] * 5)


_TOGETHER = 16
"""Captions of a chunk where their lengths differ: enough for large products, few enough to be of
about one length."""


class _Captions(NamedTuple):
    rows: slice
    words: slice  # as many as the longest of them has


class _Tile(NamedTuple):
    dots: Tensor  # <unit, region> [J, L, I, S]
    weights: Tensor  # attention over regions [J, L, I, S]
    # the context [J, L, I, D], or in Gram form its product with each region [J, L, I, S]
    context: Tensor


@dataclass(frozen=True)
class _Problem:
    text: Tensor  # [J, L, D]
    regions: Tensor  # [I, S, D]
    text_mask: Tensor | None  # [J, L]
    region_mask: Tensor | None  # [I, S]
    pooling: Pooling
    tiles: ModuleType
    lengths: list[int]  # of the captions in words, rising
    kept: dict[tuple[int, int], _Tile] = field(
        default_factory=dict
    )  # by the first image and caption of the tile

    def forward(self, keep: bool) -> tuple[Tensor, Tensor]:
        """Return <context, unit> and |context|^2, both [J, L, I]; keep tiles for the backward while
        there is room."""
        shape = (*self.text.shape[:2], len(self.regions))
        dot, square = (self.text.new_zeros(shape, dtype=accumulator(self.text)) for _ in range(2))
        room = self.pooling.keep_bytes if keep else 0
        for images in self._image_chunks():
            gram = self._gram(images)
            for captions in self._caption_chunks(images):
                tile, dot[*captions, images] = self._tile(captions, images, gram)
                other = tile.context if gram is None else tile.weights
                square[*captions, images] = (tile.context * other).sum(dim=-1)
                room -= sum(tensor.nbytes for tensor in tile)
                if room >= 0:
                    self.kept[images.start, captions.rows.start] = tile
        return dot, square

    def backward(self, grad: Tensor, dot: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients by text and by regions."""
        rows, by_text_norm = self._row_gradients(grad, dot, square)
        by_text = by_text_norm.unsqueeze(-1) * self.text
        by_regions = self.regions.new_zeros(
            self.regions.shape, dtype=grad.dtype
        )  # contiguous, whatever the strides of the input
        for images in self._image_chunks():
            self._backward_images(images, rows, by_text, by_regions[images])
        return by_text, by_regions

    def norms(self, square: Tensor) -> Tensor:
        """Return |unit| |context|, at least eps, [J, L, I]."""
        return (self._text_norm() * square.clamp_min(0).sqrt()).clamp_min(self.pooling.eps)

    def _row_gradients(
        self, grad: Tensor, dot: Tensor, square: Tensor
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Return the row values `attend_backward` takes, and the factor of the text by its own norm
        [J, L]."""
        norms = self.norms(square)
        by_dot = grad / norms
        free = (
            norms > self.pooling.eps
        )  # where eps holds the denominator, the norms have no gradient
        by_log_norm = torch.where(free, -by_dot * dot, 0.0)
        by_norm = torch.where(free, by_log_norm / square, 0.0)  # twice d loss / d |context|^2
        by_text_norm = (
            by_log_norm / self._text_norm().square().clamp_min(torch.finfo(grad.dtype).tiny)
        ).sum(dim=-1)
        return (by_dot, by_norm, by_dot * dot + by_norm * square), by_text_norm

    def _backward_images(
        self, images: slice, rows: tuple[Tensor, ...], by_text: Tensor, by_regions: Tensor
    ) -> None:
        """Add the gradients of one chunk of images to `by_text` and to these images'
        `by_regions`."""
        regions = self.regions[images]
        captions_of = list(self._caption_chunks(images))
        again = any(
            (images.start, captions.rows.start) not in self.kept for captions in captions_of
        )
        gram = self._gram(images) if again else None
        by_gram = (
            regions.new_zeros(*regions.shape[:2], regions.shape[1], dtype=by_regions.dtype)
            if self._gram_is_cheaper()
            else None
        )
        for captions in captions_of:
            tile = (
                self.kept.get((images.start, captions.rows.start))
                or self._tile(captions, images, gram)[0]
            )
            by_scores = tuple(row[*captions, images] for row in rows)
            pulled = self._backward_norm(
                tile, by_scores[1], regions, by_regions if by_gram is None else by_gram
            )
            by_dots = self.tiles.attend_backward(
                tile.dots, tile.weights, pulled, by_scores, self._words(captions), self.pooling
            )
            by_dots = by_dots.flatten(2).flatten(0, 1).to(regions.dtype)
            text = self.text[captions]
            by_text[captions] += product(by_dots, regions.flatten(0, 1)).view(text.shape)
            add_product(by_regions.flatten(0, 1), by_dots.T, text.flatten(0, 1))
        if by_gram is not None:
            add_product(by_regions, by_gram.to(regions.dtype), regions)

    def _backward_norm(self, tile: _Tile, by_norm: Tensor, regions: Tensor, into: Tensor) -> Tensor:
        """Return context . region for the tile, and add what |context|^2 gives to the regions (or
        to their Gram matrix)."""
        scaled = by_image(tile.weights * by_norm.unsqueeze(-1), regions.dtype).transpose(1, 2)
        if self._gram_is_cheaper():
            add_product(into, scaled, by_image(tile.weights, regions.dtype))
            return tile.context
        context = by_image(tile.context, regions.dtype)
        add_product(into, scaled, context)
        return by_caption(product(context, regions.transpose(1, 2)), tile.dots)

    def _tile(
        self, captions: _Captions, images: slice, gram: Tensor | None
    ) -> tuple[_Tile, Tensor]:
        """Return a tile and its <context, unit>."""
        text = self.text[captions]
        regions = self.regions[images]
        dots = product(text.flatten(0, 1), regions.flatten(0, 1).T).view(
            *text.shape[:2], *regions.shape[:2]
        )
        region_mask = None if self.region_mask is None else self.region_mask[images]
        weights, dot = self.tiles.attend(dots, self._words(captions), region_mask, self.pooling)
        pooled = product(
            by_image(weights, regions.dtype), regions if gram is None else gram.to(regions.dtype)
        )
        return _Tile(dots, weights, by_caption(pooled, dots)), dot

    def _gram(self, images: slice) -> Tensor | None:
        regions = self.regions[images]
        return product(regions, regions.transpose(1, 2)) if self._gram_is_cheaper() else None

    def _gram_is_cheaper(self) -> bool:
        """Whether R R' of each image saves multiplications, forward and backward, over forming the
        contexts."""
        width = self.regions.shape[2]
        count = self.regions.shape[1]
        rows = sum(self.lengths)
        return count * (3 * rows + 2 * width) < 4 * rows * width

    def _text_norm(self) -> Tensor:
        return self.text.to(accumulator(self.text)).norm(dim=-1, keepdim=True)

    def _words(self, captions: _Captions) -> Tensor | None:
        return None if self.text_mask is None else self.text_mask[captions]

    def _image_chunks(self) -> Iterator[slice]:
        together = (
            len(self.lengths) if self.text_mask is None else min(len(self.lengths), _TOGETHER)
        )
        return chunks(len(self.regions), self._room(max(together * self.lengths[-1], 1)))

    def _caption_chunks(self, images: slice) -> Iterator[_Captions]:
        """Yield captions that fit together, cut at the longest of them; those without a word are
        left out."""
        start = sum(length == 0 for length in self.lengths)
        while start < len(self.lengths):
            stop = start + 1
            while stop < len(self.lengths) and stop - start < self._room(
                self.lengths[stop] * (images.stop - images.start)
            ):
                stop += 1
            yield _Captions(slice(start, stop), slice(self.lengths[stop - 1]))
            start = stop

    def _room(self, rows: int) -> int:
        """Return how often `rows` rows of scores over the regions fit into a chunk."""
        elements = self.pooling.chunk_bytes // accumulator(self.text).itemsize
        return elements // (rows * max(self.regions.shape[1], 1))
