"""InfoNCE sums in tiles of the logits matrix (online log-sum-exp), recomputed in backward: memory O((N + M) D + tile^2).

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


def log_sums(
    queries: Tensor,
    keys: Tensor,
    query_ids: Tensor,
    key_ids: Tensor,
    ignore: Tensor | None,
    columns: bool = True,
    tile: int = TILE,
) -> tuple[Tensor, ...]:
    """Return what `reference.log_sums` returns (only the per-query half without `columns`), never storing [N, M].

    Computes in at least float32. Gradients flow to `queries` and `keys`.
    """
    return _LogSums.apply(queries, keys, query_ids, key_ids, ignore, columns, TILE)


class _LogSums(torch.autograd.Function):
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
        with torch.autocast(queries.device.type, enabled=False):
            walk = _Tiles(_wide(queries), _wide(keys), query_ids, key_ids, ignore, tile)
            sums = walk.forward(columns)
        ctx.save_for_backward(queries, keys, query_ids, key_ids, ignore, *sums)
        ctx.tile = tile
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, query_ids, key_ids, ignore, *sums = ctx.saved_tensors
        with torch.autocast(queries.device.type, enabled=False):
            walk = _Tiles(_wide(queries), _wide(keys), query_ids, key_ids, ignore, ctx.tile)
            by_queries, by_keys = walk.backward(finite_sums(sums), grads)
        return by_queries.to(queries.dtype), by_keys.to(keys.dtype), None, None, None, None, None


class _Tiles:
    """The walk over the tiles of one logits matrix."""

    def __init__(
        self, queries: Tensor, keys: Tensor, query_ids: Tensor, key_ids: Tensor, ignore: Tensor | None, tile: int
    ) -> None:
        self.queries, self.keys, self.ignore, self.tile = queries, keys, ignore, tile
        self.query_ids, self.key_ids = query_ids, key_ids

    def forward(self, columns: bool) -> tuple[Tensor, ...]:
        lengths = [len(self.queries)] * 2 + [len(self.keys)] * 2 * columns
        sums = tuple(self.queries.new_full((length,), float("-inf")) for length in lengths)
        for rows, cols in self._walk():
            logits, positive = self._logits(rows, cols)
            for dim, (total, own) in enumerate(zip(sums[::2], sums[1::2], strict=True)):
                part = (rows, cols)[dim]
                total[part] = torch.logaddexp(total[part], logits.logsumexp(1 - dim))
                if positive is not None:
                    chosen = logits.masked_fill(~positive, float("-inf")).logsumexp(1 - dim)
                    own[part] = torch.logaddexp(own[part], chosen)
        return sums

    def backward(self, sums: list[Tensor], grads: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        by_queries, by_keys = torch.zeros_like(self.queries), torch.zeros_like(self.keys)
        for rows, cols in self._walk():
            logits, positive = self._logits(rows, cols)
            by_logits = torch.zeros_like(logits)
            for dim in range(len(sums) // 2):
                self._add_softmax(
                    by_logits, logits, positive, [row[(rows, cols)[dim]].unsqueeze(1 - dim) for row in _four(sums, grads, dim)]
                )
            by_queries[rows].addmm_(by_logits, self.keys[cols])
            by_keys[cols].addmm_(by_logits.T, self.queries[rows])
        return by_queries, by_keys

    @staticmethod
    def _add_softmax(by_logits: Tensor, logits: Tensor, positive: Tensor | None, rows: list[Tensor]) -> None:
        total, by_total, own, by_own = rows
        by_logits.addcmul_((logits - total).exp_(), by_total)
        if positive is not None:
            by_logits.addcmul_((logits - own).masked_fill_(~positive, float("-inf")).exp_(), by_own)

    def _walk(self) -> Iterator[tuple[slice, slice]]:
        for row in range(0, len(self.queries), self.tile):
            for col in range(0, len(self.keys), self.tile):
                yield slice(row, row + self.tile), slice(col, col + self.tile)

    def _logits(self, rows: slice, cols: slice) -> tuple[Tensor, Tensor | None]:
        """Return a tile of logits, -inf where ignored, and its positives (None where it holds none)."""
        logits = self.queries[rows] @ self.keys[cols].T
        positive = self.query_ids[rows, None] == self.key_ids[None, cols]
        if self.ignore is not None:
            logits.masked_fill_(self.ignore[rows, cols] & ~positive, float("-inf"))
        return logits, positive if bool(positive.any()) else None


def finite_sums(sums: list[Tensor]) -> list[Tensor]:
    """Replace -inf (a row without such a pair) by inf, so that exp(logit - sum) is 0 rather than not a number."""
    return [value.masked_fill(value == float("-inf"), float("inf")) for value in sums]


def _four(sums: list[Tensor], grads: tuple[Tensor, ...], dim: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return sums[2 * dim], grads[2 * dim], sums[2 * dim + 1], grads[2 * dim + 1]


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
