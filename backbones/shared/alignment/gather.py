"""Gathering embeddings over the ranks with gradient, so that every rank sees the global batch. One
process: the identity."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from bench.training.processes import rank, world_size


class _Gather(torch.autograd.Function):
    """All-gather whose backward sums the gradient of every rank's loss for the local rows."""

    @staticmethod
    def forward(ctx: Any, local: torch.Tensor) -> torch.Tensor:
        """Return the rows [world * n, ...] of all ranks for the local ones [n, ...]."""
        ctx.rows = len(local)
        parts = [torch.empty_like(local) for _ in range(world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the local rows, summed over the ranks' losses."""
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.rows
        return total[start : start + ctx.rows]


def gather(local: torch.Tensor) -> torch.Tensor:
    """Return the rows of all ranks, rank by rank; every rank must hold equally many.

    The gradient of the local rows is the sum over the ranks' losses: where every rank computes the
    same global loss and DDP averages parameter gradients, the result equals that of one process on
    the whole batch.
    """
    if world_size() == 1:
        return local
    return _Gather.apply(local) if local.is_floating_point() else _gather_plain(local)


def _gather_plain(local: torch.Tensor) -> torch.Tensor:
    parts = [torch.empty_like(local) for _ in range(world_size())]
    dist.all_gather(parts, local.contiguous())
    return torch.cat(parts)


def gather_padded(local: torch.Tensor, fill: float | int) -> torch.Tensor:
    """Gather [B, S, ...] where S differs between ranks: dimension 1 is padded with `fill` to the
    largest first."""
    if world_size() == 1:
        return local
    longest = torch.tensor(local.shape[1], device=local.device)
    dist.all_reduce(longest, op=dist.ReduceOp.MAX)
    missing = int(longest) - local.shape[1]
    if missing:
        shape = (local.shape[0], missing, *local.shape[2:])
        local = torch.cat([local, local.new_full(shape, fill)], 1)
    return gather(local)


def local_part(shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Return this rank's rows of uniform random numbers drawn for the batch of all ranks: `shape`
    is that of one rank.

    The ranks draw from generators of the same state, so that together they draw what one process on
    the whole batch would.
    """
    drawn = torch.rand((shape[0] * world_size(), *shape[1:]), device=device)
    return drawn[rank() * shape[0] : (rank() + 1) * shape[0]]
