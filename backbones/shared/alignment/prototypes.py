"""Prototypes shared by images and reports, assigned evenly by Sinkhorn, each view predicting the
other's (MGCA's CPA).

Wang et al., NeurIPS 2022; the assignment is SwAV's (Caron et al., NeurIPS 2020).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from bench.training.processes import world_size


class Prototypes(nn.Module):
    """`count` unit vectors; call `normalise` before each step. Scores embeddings [B, width] as [B,
    count]."""

    def __init__(self, width: int = 128, count: int = 500) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(count, width), a=5**0.5))
        self.normalise()

    @torch.no_grad()
    def normalise(self) -> None:
        """Scale every prototype to unit length."""
        self.weight.copy_(F.normalize(self.weight, dim=1))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return <embedding, prototype> [B, count]."""
        return F.linear(embeddings, self.weight)


@torch.no_grad()
def sinkhorn(
    scores: Tensor, *, iterations: int = 3, epsilon: float = 0.05, distributed: bool = False
) -> Tensor:
    """Return soft assignments [B, K] of scores [B, K], each row summing to 1, prototypes used
    evenly over the batch.

    `distributed` balances over the batches of all ranks together (equally many rows each);
    otherwise over this batch. Computes in at least float32; no gradient.
    """
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    return balance(
        (wide - _largest(wide, distributed)).exp().T, iterations=iterations, distributed=distributed
    )


@torch.no_grad()
def balance(matrix: Tensor, *, iterations: int = 3, distributed: bool = False) -> Tensor:
    """Return the Sinkhorn-Knopp balancing of a positive matrix [K, B] as [B, K]: in turn rows to 1
    / K, columns to 1 / B."""
    count = len(matrix)
    rows = matrix.shape[1] * (world_size() if distributed else 1)
    matrix = matrix / _total(matrix.sum(), distributed)
    tiny = torch.finfo(
        matrix.dtype
    ).tiny  # a prototype whose scores all underflow stays unused instead of dividing by 0
    for _ in range(iterations):
        matrix = matrix / (
            _total(matrix.sum(dim=1, keepdim=True), distributed).clamp_min(tiny) * count
        )
        matrix = matrix / (matrix.sum(dim=0, keepdim=True).clamp_min(tiny) * rows)
    return (matrix / matrix.sum(dim=0, keepdim=True).clamp_min(tiny)).T


def prototype_loss(
    image_scores: Tensor,
    text_scores: Tensor,
    *,
    tau: float = 0.2,
    epsilon: float = 0.05,
    iterations: int = 3,
    distributed: bool = False,
) -> Tensor:
    """Return the swapped prediction of assignments: image codes from text scores and text codes
    from image scores, halved.

    image_scores, text_scores [B, K]: cosines with the prototypes. `distributed`: see `sinkhorn`.
    """
    codes = [
        sinkhorn(s, iterations=iterations, epsilon=epsilon, distributed=distributed)
        for s in (image_scores, text_scores)
    ]
    logs = [(s / tau).log_softmax(dim=1) for s in (text_scores, image_scores)]
    return -torch.stack(
        [(code * log).sum(dim=1).mean() for code, log in zip(codes, logs, strict=True)]
    ).mean()


def _total(value: Tensor, distributed: bool) -> Tensor:
    if distributed and world_size() > 1:
        dist.all_reduce(value)
    return value


def _largest(value: Tensor, distributed: bool) -> Tensor:
    largest = value.max()
    if distributed and world_size() > 1:
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return largest
