"""InfoNCE sums as Triton kernels: online log-sum-exp forward, tiles recomputed backward, no [N, M]
anywhere.

Each kernel walks the keys for a block of queries; the per-key half is the same kernel with the
roles exchanged.
"""

# Kernel arguments are pointers and numbers that Triton types itself, and compile-time constants
# are upper case there.
# ruff: noqa: ANN001, ANN202, N803
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from backbones.shared.alignment.kernels.tiled import finite_sums

MAX_WIDTH = 1024
_BLOCKS = ((128, 64), (512, 32), (MAX_WIDTH, 16))
"""Widths up to which a block has so many rows and keys."""


@triton.jit
def _tile(
    rows, row_ids, row, row_ok, width, keys_ptr, key_ids_ptr, ignore_ptr, stride_row, stride_col,
    start, count,
    HAS_IGNORE: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return a tile of logits (-inf where ignored or outside), its positives, and the block of
    keys."""
    col = start + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_D)
    col_ok = col < count
    keys = tl.load(
        keys_ptr + col.to(tl.int64)[:, None] * width + depth[None, :],
        mask=col_ok[:, None] & (depth < width)[None, :],
        other=0.0,
    )
    key_ids = tl.load(key_ids_ptr + col, mask=col_ok, other=0)
    counted = row_ok[:, None] & col_ok[None, :]
    positive = counted & (row_ids[:, None] == key_ids[None, :])
    if HAS_IGNORE:
        at = (
            ignore_ptr
            + row.to(tl.int64)[:, None] * stride_row
            + col.to(tl.int64)[None, :] * stride_col
        )
        counted = counted & (positive | (tl.load(at, mask=counted, other=1) == 0))
    logits = tl.dot(rows, tl.trans(keys), input_precision=PRECISION)
    return tl.where(counted, logits, -float("inf")), positive, keys


@triton.jit
def _grow(top, total, logits):
    """Fold a tile into a running (maximum, sum of exponentials)."""
    new_top = tl.maximum(top, tl.max(logits, axis=1))
    safe = tl.where(new_top == -float("inf"), 0.0, new_top)
    return new_top, total * tl.exp(top - safe) + tl.sum(tl.exp(logits - safe[:, None]), axis=1)


@triton.jit
def _log_sums_kernel(
    rows_ptr, row_ids_ptr, keys_ptr, key_ids_ptr, ignore_ptr, all_ptr, own_ptr, height, count,
    width, stride_row, stride_col,
    HAS_IGNORE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    depth = tl.arange(0, BLOCK_D)
    row_ok = row < height
    rows = tl.load(
        rows_ptr + row.to(tl.int64)[:, None] * width + depth[None, :],
        mask=row_ok[:, None] & (depth < width)[None, :],
        other=0.0,
    )
    row_ids = tl.load(row_ids_ptr + row, mask=row_ok, other=0)
    all_top = tl.full([BLOCK_M], -float("inf"), tl.float32)
    positive_top = tl.full([BLOCK_M], -float("inf"), tl.float32)
    all_total = tl.zeros([BLOCK_M], tl.float32)
    positive_total = tl.zeros([BLOCK_M], tl.float32)
    for start in range(0, count, BLOCK_N):
        logits, positive, _keys = _tile(
            rows, row_ids, row, row_ok, width, keys_ptr, key_ids_ptr, ignore_ptr, stride_row,
            stride_col, start, count,
            HAS_IGNORE, BLOCK_N, BLOCK_D, PRECISION,
        )  # fmt: skip
        all_top, all_total = _grow(all_top, all_total, logits)
        positive_top, positive_total = _grow(
            positive_top, positive_total, tl.where(positive, logits, -float("inf"))
        )
    tl.store(
        all_ptr + row,
        tl.where(
            all_total > 0, all_top + tl.log(tl.where(all_total > 0, all_total, 1.0)), -float("inf")
        ),
        mask=row_ok,
    )
    tl.store(
        own_ptr + row,
        tl.where(
            positive_total > 0,
            positive_top + tl.log(tl.where(positive_total > 0, positive_total, 1.0)),
            -float("inf"),
        ),
        mask=row_ok,
    )


@triton.jit
def _gradient_kernel(
    rows_ptr, row_ids_ptr, keys_ptr, key_ids_ptr, ignore_ptr, out_ptr,
    row_all_ptr, row_own_ptr, by_row_all_ptr, by_row_own_ptr, key_all_ptr, key_own_ptr,
    by_key_all_ptr, by_key_own_ptr,
    height, count, width, stride_row, stride_col,
    HAS_IGNORE: tl.constexpr, FROM_ROWS: tl.constexpr, FROM_KEYS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    depth = tl.arange(0, BLOCK_D)
    row_ok = row < height
    inside = row_ok[:, None] & (depth < width)[None, :]
    at = row.to(tl.int64)[:, None] * width + depth[None, :]
    rows = tl.load(rows_ptr + at, mask=inside, other=0.0)
    row_ids = tl.load(row_ids_ptr + row, mask=row_ok, other=0)
    if FROM_ROWS:
        row_all = tl.load(row_all_ptr + row, mask=row_ok, other=0.0)[:, None]
        row_own = tl.load(row_own_ptr + row, mask=row_ok, other=0.0)[:, None]
        by_row_all = tl.load(by_row_all_ptr + row, mask=row_ok, other=0.0)[:, None]
        by_row_own = tl.load(by_row_own_ptr + row, mask=row_ok, other=0.0)[:, None]
    gradient = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for start in range(0, count, BLOCK_N):
        logits, positive, keys = _tile(
            rows, row_ids, row, row_ok, width, keys_ptr, key_ids_ptr, ignore_ptr, stride_row,
            stride_col, start, count,
            HAS_IGNORE, BLOCK_N, BLOCK_D, PRECISION,
        )  # fmt: skip
        positive_logits = tl.where(positive, logits, -float("inf"))
        by_logits = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
        if FROM_ROWS:
            by_logits += (
                tl.exp(logits - row_all) * by_row_all
                + tl.exp(positive_logits - row_own) * by_row_own
            )
        if FROM_KEYS:
            col = start + tl.arange(0, BLOCK_N)
            col_ok = col < count
            key_all = tl.load(key_all_ptr + col, mask=col_ok, other=0.0)[None, :]
            key_own = tl.load(key_own_ptr + col, mask=col_ok, other=0.0)[None, :]
            by_key_all = tl.load(by_key_all_ptr + col, mask=col_ok, other=0.0)[None, :]
            by_key_own = tl.load(by_key_own_ptr + col, mask=col_ok, other=0.0)[None, :]
            by_logits += (
                tl.exp(logits - key_all) * by_key_all
                + tl.exp(positive_logits - key_own) * by_key_own
            )
        gradient += tl.dot(by_logits.to(keys.dtype), keys, input_precision=PRECISION)
    tl.store(out_ptr + at, gradient, mask=inside)


def log_sums(
    queries: Tensor,
    keys: Tensor,
    query_ids: Tensor,
    key_ids: Tensor,
    ignore: Tensor | None,
    columns: bool = True,
) -> tuple[Tensor, ...]:
    """Return what `reference.log_sums` returns in float32 (only the per-query half without
    `columns`), never storing [N, M].

    float32, bfloat16 or float16 input [N, D], [M, D] with D <= 1024; products accumulate in
    float32.
    """
    return _LogSums.apply(
        queries.contiguous(),
        keys.contiguous(),
        query_ids.contiguous(),
        key_ids.contiguous(),
        ignore,
        columns,
    )


class _LogSums(torch.autograd.Function):
    """Log-sum-exp of a similarity matrix by the kernels of this file."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        query_ids: Tensor,
        key_ids: Tensor,
        ignore: Tensor | None,
        columns: bool,
    ) -> tuple[Tensor, ...]:
        """Return log-sums over all and over positive pairs, per query and with `columns` per
        key."""
        sums: tuple[Tensor, ...] = _forward(queries, query_ids, keys, key_ids, ignore)
        if columns:
            sums += _forward(
                keys, key_ids, queries, query_ids, None if ignore is None else ignore.T
            )
        ctx.save_for_backward(queries, keys, query_ids, key_ids, ignore, *sums)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of queries and keys."""
        queries, keys, query_ids, key_ids, ignore, *sums = ctx.saved_tensors
        sums = finite_sums(sums)
        flat = [grad.contiguous() for grad in grads]
        by_row = (*sums[:2], *flat[:2])
        by_key = (*sums[2:], *flat[2:]) or None
        turned = None if ignore is None else ignore.T
        by_queries = _backward((queries, query_ids, keys, key_ids), ignore, by_row, by_key)
        by_keys = _backward((keys, key_ids, queries, query_ids), turned, by_key, by_row)
        return by_queries, by_keys, None, None, None, None


def _forward(
    rows: Tensor, row_ids: Tensor, keys: Tensor, key_ids: Tensor, ignore: Tensor | None
) -> tuple[Tensor, Tensor]:
    all_sums, positive_sums = (
        torch.empty(len(rows), dtype=torch.float32, device=rows.device) for _ in range(2)
    )
    settings = _settings(rows)
    _log_sums_kernel[(triton.cdiv(len(rows), settings["BLOCK_M"]),)](
        rows, row_ids, keys, key_ids, *_ignored(ignore, rows), all_sums, positive_sums,
        len(rows), len(keys), rows.shape[1], *_strides(ignore),
        ignore is not None, **settings,
    )  # fmt: skip
    return all_sums, positive_sums


def _backward(
    sides: tuple[Tensor, Tensor, Tensor, Tensor],
    ignore: Tensor | None,
    by_row: tuple[Tensor, ...] | None,
    by_key: tuple[Tensor, ...] | None,
) -> Tensor:
    """Return the gradient by the rows; a side without sums of its own passes a pointer that is
    never read."""
    rows, _, keys, _ = sides
    out = torch.empty_like(rows)
    settings = _settings(rows)
    unread = (rows,) * 4
    _gradient_kernel[(triton.cdiv(len(rows), settings["BLOCK_M"]),)](
        *sides, *_ignored(ignore, rows), out, *(by_row or unread), *(by_key or unread), len(rows),
        len(keys), rows.shape[1],
        *_strides(ignore), ignore is not None, by_row is not None, by_key is not None, **settings,
    )  # fmt: skip
    return out


def _settings(rows: Tensor) -> dict[str, Any]:
    """Return blocks that keep a program's rows, keys and gradient in registers and shared
    memory."""
    depth = max(triton.next_power_of_2(rows.shape[1]), 16)
    block = next(size for limit, size in _BLOCKS if depth <= limit)
    exact = rows.dtype == torch.float32 and not torch.backends.cuda.matmul.allow_tf32
    precision = "ieee" if exact else "tf32"
    return {
        "BLOCK_M": block,
        "BLOCK_N": block,
        "BLOCK_D": depth,
        "PRECISION": precision,
        "num_stages": 2 if depth <= 128 else 1,
    }


def _ignored(ignore: Tensor | None, like: Tensor) -> tuple[Tensor]:
    return (like if ignore is None else ignore.view(torch.uint8),)


def _strides(ignore: Tensor | None) -> tuple[int, int]:
    return (0, 0) if ignore is None else (ignore.stride(0), ignore.stride(1))
