"""InfoNCE with one or several positives and negatives that are left out (van den Oord et al. 2018, arXiv 1807.03748)."""

from __future__ import annotations

import torch


def info_nce(logits: torch.Tensor, targets: torch.Tensor, ignored: torch.Tensor | None = None) -> torch.Tensor:
    """Return the mean over rows of -log softmax(logits)[row, target].

    logits [N, M]; targets [N]; ignored [N, M] bool: pairs that are no negatives (a target is never ignored).
    """
    positives = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, targets[:, None], True)
    return multi_positive_info_nce(logits, positives, ignored)


def multi_positive_info_nce(logits: torch.Tensor, positives: torch.Tensor, ignored: torch.Tensor | None = None) -> torch.Tensor:
    """Return the mean over rows of -log(sum of exp over the positives / sum of exp over all that are not ignored).

    logits [N, M]; positives, ignored [N, M] bool. Rows without a positive are left out; with no row left the loss is 0.
    """
    rows = positives.any(1)
    if not bool(rows.any()):
        return logits.sum() * 0.0
    logits, positives = logits[rows].float() if logits.dtype != torch.float64 else logits[rows], positives[rows]
    everything = logits if ignored is None else logits.masked_fill(ignored[rows] & ~positives, -torch.inf)
    numerator = logits.masked_fill(~positives, -torch.inf).logsumexp(1)
    return (everything.logsumexp(1) - numerator).mean()


def symmetric_info_nce(x: torch.Tensor, y: torch.Tensor, tau: float) -> torch.Tensor:
    """Return InfoNCE from x to y plus from y to x, row i of one belonging to row i of the other; x, y [N, d], normalised."""
    logits = x @ y.T / tau
    targets = torch.arange(len(x), device=x.device)
    return info_nce(logits, targets) + info_nce(logits.T, targets)
