"""Attention-pooled cosine similarity between every text unit and every image: PLACE's PCMA, GLoRIA's local loss.

A unit u attends to the regions p_1..p_K of an image, a = softmax_k(<u, p_k> / tau); the pooled vector q = sum_k a_k p_k is never
formed: <u, q> = sum_k a_k <u, p_k>, and |q|^2 = a' G a with the image's Gram matrix G = P P' (K x K).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.utils.checkpoint import checkpoint

Order = Literal["regions", "units_then_regions"]
Aggregate = Literal["none", "mean", "log_sum_exp"]
_CHUNK_ELEMENTS = 1 << 23
"""How many scores (units x images x regions) are held at once: 32 MB in float32."""


def attention_pooled_similarity(
    units: torch.Tensor,
    unit_mask: torch.Tensor,
    regions: torch.Tensor,
    *,
    tau_attend: float,
    tau_score: float = 1.0,
    order: Order = "regions",
    aggregate: Aggregate = "none",
    tau_aggregate: float = 1.0,
    region_mask: torch.Tensor | None = None,
    chunk: int | None = None,
) -> torch.Tensor:
    """Return how well every text unit is matched by every image: cos(u, q_i(u)) / tau_score.

    units [T, L, d] of T texts with unit_mask [T, L]; regions [N, K, d] with region_mask [N, K] or none. Returns [T, L, N]
    (0 at padding), or [T, N] aggregated over a text's units: "mean", or "log_sum_exp" of similarity / tau_aggregate.
    order "regions": attention is a softmax over the regions of <u, p> / tau_attend. order "units_then_regions" (GLoRIA): softmax
    over the units of the text first, without temperature, then over the regions of that / tau_attend.
    Texts are taken `chunk` at a time and recomputed in the backward pass, so that memory is O(chunk).
    """
    gram = regions @ regions.transpose(1, 2)
    if region_mask is None:
        region_mask = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
    size = chunk or max(1, _CHUNK_ELEMENTS // max(1, units.shape[1] * regions.shape[0] * regions.shape[1]))

    def part(some: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        cosine = _cosine(some, mask, regions, gram, region_mask, tau_attend, order) / tau_score
        return _aggregate(cosine, mask, aggregate, tau_aggregate)

    parts = zip(units.split(size), unit_mask.split(size), strict=True)
    if len(units) <= size:
        return part(units, unit_mask)
    return torch.cat([checkpoint(part, some, mask, use_reentrant=False) for some, mask in parts])


def _cosine(
    units: torch.Tensor,
    unit_mask: torch.Tensor,
    regions: torch.Tensor,
    gram: torch.Tensor,
    region_mask: torch.Tensor,
    tau: float,
    order: Order,
) -> torch.Tensor:
    """Return cos(u, q_i(u)) [T, L, N]."""
    scores = torch.einsum("tld,nkd->ntlk", units, regions)
    logits = scores
    if order == "units_then_regions":
        logits = scores.masked_fill(~unit_mask[None, :, :, None], -torch.inf).softmax(2)
        logits = logits.masked_fill(~unit_mask[None, :, :, None], 0.0)
    attention = (logits / tau).masked_fill(~region_mask[:, None, None, :], -torch.inf).softmax(3)
    aligned = (attention * scores).sum(3)
    pooled = attention.flatten(1, 2) @ gram
    norm = (pooled * attention.flatten(1, 2)).sum(2).clamp(min=1e-12).sqrt().view_as(aligned)
    cosine = aligned / (norm * units.norm(dim=2).clamp(min=1e-6))
    return cosine.permute(1, 2, 0) * unit_mask[:, :, None]


def _aggregate(similarity: torch.Tensor, mask: torch.Tensor, how: Aggregate, tau: float) -> torch.Tensor:
    if how == "none":
        return similarity
    if how == "mean":
        return similarity.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    return (similarity / tau).masked_fill(~mask[:, :, None], -torch.inf).logsumexp(1)
