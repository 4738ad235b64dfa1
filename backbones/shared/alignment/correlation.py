"""Distance between two patch-by-patch correlation matrices without forming them (PLACE's CCE).

With rows of zero mean and unit norm, C = A A' is a correlation matrix, and |A A' - B B'|^2 =
|A'A|^2 + |B'B|^2 - 2 |A'B|^2.
"""

from __future__ import annotations

from typing import Literal

import torch

CorrelationLoss = Literal["frobenius", "pearson"]


def standardise_rows(rows: torch.Tensor) -> torch.Tensor:
    """Centre rows [..., D] and scale them to unit norm; a constant row (a patch of padding) becomes
    zero."""
    centred = rows - rows.mean(-1, keepdim=True)
    return centred / centred.norm(dim=-1, keepdim=True).clamp(min=1e-6)


def correlation_loss(
    predicted: torch.Tensor, target: torch.Tensor, kind: CorrelationLoss = "frobenius"
) -> torch.Tensor:
    """Return the mean over images of the distance of two correlation matrices on their off-diagonal
    entries.

    predicted [B, N, d] and target [B, N, D] hold standardised rows. "frobenius": mean squared
    difference; "pearson": one minus the correlation of the entries. N = 1 has no such entry: 0.
    """
    entries = predicted.shape[1] * (predicted.shape[1] - 1)
    if entries == 0:
        return predicted.sum() * 0.0
    diagonal_p = predicted.square().sum(2)
    diagonal_t = target.square().sum(2)
    pp = _gram_norm(predicted) - diagonal_p.square().sum(1)
    tt = _gram_norm(target) - diagonal_t.square().sum(1)
    pt = (predicted.transpose(1, 2) @ target).square().sum((1, 2)) - (diagonal_p * diagonal_t).sum(
        1
    )
    if kind == "frobenius":
        return ((pp + tt - 2 * pt) / entries).mean()
    mean_p = (predicted.sum(1).square().sum(1) - diagonal_p.sum(1)) / entries
    mean_t = (target.sum(1).square().sum(1) - diagonal_t.sum(1)) / entries
    covariance = pt / entries - mean_p * mean_t
    spread = (pp / entries - mean_p.square()).clamp(min=1e-8) * (
        tt / entries - mean_t.square()
    ).clamp(min=1e-8)
    return (1 - covariance / spread.sqrt()).mean()


def _gram_norm(rows: torch.Tensor) -> torch.Tensor:
    """Return |A A'|^2 = |A'A|^2 per image, through whichever of the two is smaller."""
    gram = (
        rows @ rows.transpose(1, 2)
        if rows.shape[1] < rows.shape[2]
        else rows.transpose(1, 2) @ rows
    )
    return gram.square().sum((1, 2))
