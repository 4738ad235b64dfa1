"""The element-wise half of the chunked pooling as Triton kernels, one a direction: read a tile,
write a tile.

Same functions as `tiles`, run by the same walk. A program holds all words of one caption against a
block of one image's regions, so the softmax over words and the one over regions meet in registers;
nothing but the weights (or the gradient) is written.
"""

# Kernel arguments are pointers and numbers that Triton types itself, and compile-time constants
# are upper case there.
# ruff: noqa: ANN001, ANN202, N803
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from backbones.shared.alignment.kernels.options import Pooling

MAX_WORDS = 512
_BLOCK = 4096  # elements of a tile a program holds at once


@triton.jit
def _logits(dots, word_ok, region_ok, scale, WORDS_FIRST: tl.constexpr):
    """Return the attention logits of a block [words, regions] and its softmax over words (or the
    dots)."""
    inner = dots
    if WORDS_FIRST:
        inner = tl.where(word_ok[:, None], dots, -float("inf"))
        inner = tl.exp(inner - tl.max(inner, axis=0)[None, :])
        inner = inner / tl.sum(inner, axis=0)[None, :]
    return tl.where(region_ok[None, :], inner * scale, -float("inf")), inner


@triton.jit
def _attend_kernel(
    dots_ptr, weights_ptr, dot_ptr, word_mask_ptr, region_mask_ptr, scale, words, images, regions,
    HAS_WORD_MASK: tl.constexpr, HAS_REGION_MASK: tl.constexpr, WORDS_FIRST: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    caption = tl.program_id(0)
    image = tl.program_id(1)
    word = tl.program_id(2) * BLOCK_L + tl.arange(0, BLOCK_L)
    in_caption = word < words
    word_ok = in_caption
    if HAS_WORD_MASK:
        word_ok = word_ok & (
            tl.load(word_mask_ptr + caption * words + word, mask=in_caption, other=0) != 0
        )
    row = ((caption.to(tl.int64) * words + word) * images + image) * regions
    top = tl.full([BLOCK_L], -float("inf"), tl.float32)
    total = tl.zeros([BLOCK_L], tl.float32)
    pooled = tl.zeros([BLOCK_L], tl.float32)
    for start in range(0, regions, BLOCK_S):
        region = start + tl.arange(0, BLOCK_S)
        region_ok = region < regions
        inside = in_caption[:, None] & region_ok[None, :]
        dots = tl.load(dots_ptr + row[:, None] + region[None, :], mask=inside, other=0.0)
        if HAS_REGION_MASK:
            region_ok = region_ok & (
                tl.load(region_mask_ptr + image * regions + region, mask=region_ok, other=0) != 0
            )
        logits, _inner = _logits(dots, word_ok, region_ok, scale, WORDS_FIRST)
        new_top = tl.maximum(top, tl.max(logits, axis=1))
        safe = tl.where(new_top == -float("inf"), 0.0, new_top)
        shrink = tl.exp(top - safe)
        exponent = tl.exp(logits - safe[:, None])
        total = total * shrink + tl.sum(exponent, axis=1)
        pooled = pooled * shrink + tl.sum(exponent * dots, axis=1)
        top = new_top
    safe = tl.where(top == -float("inf"), 0.0, top)
    scaled = 1.0 / tl.where(total == 0.0, 1.0, total)
    tl.store(
        dot_ptr + (caption * words + word).to(tl.int64) * images + image,
        pooled * scaled,
        mask=in_caption,
    )
    for start in range(0, regions, BLOCK_S):
        region = start + tl.arange(0, BLOCK_S)
        region_ok = region < regions
        inside = in_caption[:, None] & region_ok[None, :]
        dots = tl.load(dots_ptr + row[:, None] + region[None, :], mask=inside, other=0.0)
        if HAS_REGION_MASK:
            region_ok = region_ok & (
                tl.load(region_mask_ptr + image * regions + region, mask=region_ok, other=0) != 0
            )
        logits, _inner = _logits(dots, word_ok, region_ok, scale, WORDS_FIRST)
        weights = tl.exp(logits - safe[:, None]) * scaled[:, None]
        tl.store(weights_ptr + row[:, None] + region[None, :], weights, mask=inside)


@triton.jit
def _attend_backward_kernel(
    dots_ptr, weights_ptr, pulled_ptr, by_dot_ptr, by_norm_ptr, mean_ptr, word_mask_ptr, out_ptr,
    scale, words, images, regions,
    HAS_WORD_MASK: tl.constexpr, WORDS_FIRST: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_S: tl.constexpr, REGION_BLOCKS: tl.constexpr,
):  # fmt: skip
    caption = tl.program_id(0)
    image = tl.program_id(1)
    word = (tl.program_id(2) // REGION_BLOCKS) * BLOCK_L + tl.arange(0, BLOCK_L)
    region = (tl.program_id(2) % REGION_BLOCKS) * BLOCK_S + tl.arange(0, BLOCK_S)
    in_caption = word < words
    in_image = region < regions
    inside = in_caption[:, None] & in_image[None, :]
    word_ok = in_caption
    if HAS_WORD_MASK:
        word_ok = word_ok & (
            tl.load(word_mask_ptr + caption * words + word, mask=in_caption, other=0) != 0
        )
    unit = caption.to(tl.int64) * words + word
    by_dot = tl.load(by_dot_ptr + unit * images + image, mask=in_caption, other=0.0)[:, None]
    by_norm = tl.load(by_norm_ptr + unit * images + image, mask=in_caption, other=0.0)[:, None]
    mean = tl.load(mean_ptr + unit * images + image, mask=in_caption, other=0.0)[:, None]
    tile = (unit * images + image)[:, None] * regions + region[None, :]
    by_image = (image.to(tl.int64) * tl.num_programs(0) + caption) * words + word
    dots = tl.load(dots_ptr + tile, mask=inside, other=0.0)
    weights = tl.load(weights_ptr + tile, mask=inside, other=0.0)
    pulled = tl.load(
        pulled_ptr + by_image[:, None] * regions + region[None, :], mask=inside, other=0.0
    )
    by_logit = weights * (dots * by_dot + pulled * by_norm - mean) * scale
    if WORDS_FIRST:
        _shifted, inner = _logits(dots, word_ok, in_image, scale, WORDS_FIRST)
        by_logit = inner * (by_logit - tl.sum(inner * by_logit, axis=0)[None, :])
    tl.store(out_ptr + tile, weights * by_dot + by_logit, mask=inside)


def attend(
    dots: Tensor, text_mask: Tensor | None, region_mask: Tensor | None, pooling: Pooling
) -> tuple[Tensor, Tensor]:
    """Return the attention weights over regions [J, L, I, S] and <context, unit> [J, L, I]:
    `tiles.attend` in one kernel."""
    captions, words, images, regions = dots.shape
    weights = torch.empty_like(dots)
    dot = dots.new_empty(captions, words, images)
    block_l, block_s = _blocks(words, regions, pooling)
    _attend_kernel[(captions, images, triton.cdiv(words, block_l))](
        dots, weights, dot, _flags(text_mask, dots), _flags(region_mask, dots),
        pooling.attention_scale, words, images, regions,
        text_mask is not None, region_mask is not None, pooling.words_first, block_l, block_s,
    )  # fmt: skip
    return weights, dot


def attend_backward(
    dots: Tensor,
    weights: Tensor,
    pulled: Tensor,
    rows: tuple[Tensor, Tensor, Tensor],
    text_mask: Tensor | None,
    pooling: Pooling,
) -> Tensor:
    """Return d loss / d dots [J, L, I, S]: `tiles.attend_backward` in one kernel."""
    captions, words, images, regions = dots.shape
    block_l, block_s = _blocks(words, regions, pooling)
    blocks = triton.cdiv(regions, block_s)
    out = torch.empty_like(dots)
    by_image = pulled.permute(2, 0, 1, 3).contiguous()  # the batched product wrote it so: no copy
    by_dot, by_norm, mean = (row.contiguous() for row in rows)
    _attend_backward_kernel[(captions, images, triton.cdiv(words, block_l) * blocks)](
        dots, weights, by_image, by_dot, by_norm, mean, _flags(text_mask, dots), out,
        pooling.attention_scale, words, images, regions, text_mask is not None, pooling.words_first,
        block_l, block_s, blocks,
    )  # fmt: skip
    return out


def _blocks(words: int, regions: int, pooling: Pooling) -> tuple[int, int]:
    """Return the block [words, regions] of a program: all words of a caption where the softmax over
    words needs them."""
    block_l = (
        triton.next_power_of_2(words)
        if pooling.words_first
        else min(triton.next_power_of_2(words), 64)
    )
    return block_l, min(triton.next_power_of_2(regions), max(_BLOCK // block_l, 8))


def _flags(mask: Tensor | None, like: Tensor) -> Tensor:
    """Return a mask as bytes; where there is none, a pointer that is never read."""
    return like if mask is None else mask.to(torch.uint8).contiguous()
