"""InfoNCE sums in tiles of the logits matrix (online log-sum-exp), recomputed in backward: memory
O((N + M) D + tile^2).

The idea of tiling the contrastive loss: Cheng et al., arXiv 2410.17243.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 1024
"""Rows and columns of a tile; about four tiles are alive at once."""
_SAFE_RANGE = 60.0  # exp(60) and exp(-60) are both well inside float32


def log_sums(
    queries: Tensor,
    keys: Tensor,
    query_ids: Tensor,
    key_ids: Tensor,
    ignore: Tensor | None,
    columns: bool = True,
) -> tuple[Tensor, ...]:
    """Return what `reference.log_sums` returns (only the per-query half without `columns`), never
    storing [N, M].

    Computes in at least float32. Gradients flow to `queries` and `keys`.
    """
    return _LogSums.apply(queries, keys, query_ids, key_ids, ignore, columns, TILE)


class _LogSums(torch.autograd.Function):
    """Log-sum-exp of a similarity matrix tile by tile; the backward computes its tiles anew."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        query_ids: Tensor,
        key_ids: Tensor,
        ignore: Tensor | None,
        columns: bool,
        tile: int,
    ) -> tuple[Tensor, ...]:
        """Return log-sums over all and over positive pairs, per query and with `columns` per
        key."""
        with torch.autocast(queries.device.type, enabled=False):
            walk = _Tiles(_wide(queries), _wide(keys), query_ids, key_ids, ignore, tile)
            sums = walk.forward(columns)
        ctx.save_for_backward(queries, keys, query_ids, key_ids, ignore, *sums)
        ctx.tile = tile
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of queries and keys, in their own types."""
        queries, keys, query_ids, key_ids, ignore, *sums = ctx.saved_tensors
        with torch.autocast(queries.device.type, enabled=False):
            walk = _Tiles(_wide(queries), _wide(keys), query_ids, key_ids, ignore, ctx.tile)
            by_queries, by_keys = walk.backward(finite_sums(sums), grads)
        return by_queries.to(queries.dtype), by_keys.to(keys.dtype), None, None, None, None, None


class _Tiles:
    """The walk over the tiles of one logits matrix."""

    def __init__(
        self,
        queries: Tensor,
        keys: Tensor,
        query_ids: Tensor,
        key_ids: Tensor,
        ignore: Tensor | None,
        tile: int,
    ) -> None:
        self.queries = queries
        self.keys = keys
        self.ignore = ignore
        self.tile = tile
        self.query_ids = query_ids
        self.key_ids = key_ids

    def forward(self, columns: bool) -> tuple[Tensor, ...]:
        """Return the running log-sums of every row (and column): over all pairs, over the positive
        ones."""
        lengths = [len(self.queries)] * 2 + [len(self.keys)] * 2 * columns
        sums = tuple(self.queries.new_full((length,), float("-inf")) for length in lengths)
        for rows, cols in self._walk():
            logits, positive = self._logits(rows, cols)
            if positive is not None:
                _fold(sums[1::2], logits.masked_fill(~positive, float("-inf")), (rows, cols))
            _fold(sums[0::2], logits, (rows, cols))
        return sums

    def backward(self, sums: list[Tensor], grads: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the gradients by queries and by keys."""
        by_queries = torch.zeros_like(self.queries)
        by_keys = torch.zeros_like(self.keys)
        for rows, cols in self._walk():
            logits, positive = self._logits(rows, cols)
            positive_logits = (
                None if positive is None else logits.masked_fill(~positive, float("-inf"))
            )
            by_logits = _softmaxes(logits, sums[0::2], grads[0::2], (rows, cols))
            if positive_logits is not None:
                by_logits += _softmaxes(positive_logits, sums[1::2], grads[1::2], (rows, cols))
            by_queries[rows].addmm_(by_logits, self.keys[cols])
            by_keys[cols].addmm_(by_logits.T, self.queries[rows])
        return by_queries, by_keys

    def _walk(self) -> Iterator[tuple[slice, slice]]:
        for row in range(0, len(self.queries), self.tile):
            for col in range(0, len(self.keys), self.tile):
                yield slice(row, row + self.tile), slice(col, col + self.tile)

    def _logits(self, rows: slice, cols: slice) -> tuple[Tensor, Tensor | None]:
        """Return a tile of logits, -inf where ignored, and its positives (None where it holds
        none)."""
        logits = self.queries[rows] @ self.keys[cols].T
        query_ids = self.query_ids[rows]
        key_ids = self.key_ids[cols]
        shared = bool(torch.isin(query_ids, key_ids).any())  # far cheaper than comparing every pair
        positive = query_ids[:, None] == key_ids[None, :] if shared else None
        if self.ignore is not None:
            ignored = self.ignore[rows, cols]
            logits.masked_fill_(ignored if positive is None else ignored & ~positive, float("-inf"))
        return logits, positive


def _fold(sums: tuple[Tensor, ...], logits: Tensor, parts: tuple[slice, slice]) -> None:
    """Add a tile to the log-sums of its rows (and columns)."""
    top = _shared_top(logits) if len(sums) == 2 else None
    if top is not None:
        exponential = logits.sub(top).exp_()
    for dim, total in enumerate(sums):
        tile_sum = (
            logits.logsumexp(1 - dim) if top is None else exponential.sum(1 - dim).log_() + top
        )
        total[parts[dim]] = torch.logaddexp(total[parts[dim]], tile_sum)


def _softmaxes(
    logits: Tensor, sums: list[Tensor], grads: tuple[Tensor, ...], parts: tuple[slice, slice]
) -> Tensor:
    """Return the gradient of the log-sums by a tile of logits: exp(logit - sum) times the gradient,
    by row plus by column."""
    lines = [
        (total[span].unsqueeze(1 - d), grad[span].unsqueeze(1 - d))
        for d, (total, grad, span) in enumerate(zip(sums, grads, parts, strict=False))
    ]
    top = _shared_top(logits) if len(lines) == 2 else None
    if top is None:
        terms = [(logits - total).exp_().mul_(grad) for total, grad in lines]
        return terms[0] if len(terms) == 1 else terms[0].add_(terms[1])
    by_row, by_col = ((top - total).exp() * grad for total, grad in lines)
    return (by_row + by_col).mul_(logits.sub(top).exp_())


def _shared_top(logits: Tensor) -> Tensor | None:
    """Return the largest logit where one shift keeps every exponential of the tile far from under-
    and overflow, else None."""
    low, high = logits.aminmax()
    return high if bool(high - low < _SAFE_RANGE) else None


def finite_sums(sums: list[Tensor]) -> list[Tensor]:
    """Replace -inf (a row without such a pair) by inf, so that exp(logit - sum) is 0 rather than
    not a number."""
    return [value.masked_fill(value == float("-inf"), float("inf")) for value in sums]


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
