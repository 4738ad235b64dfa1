"""The plain forms: what the fast ones must equal, in any floating-point type, gradients by
autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.shared.alignment.kernels.options import Pooling


def region_attention(
    text: Tensor,
    regions: Tensor,
    pooling: Pooling,
    text_mask: Tensor | None = None,
    region_mask: Tensor | None = None,
) -> Tensor:
    """Return the attention of every text unit over the regions of every image [J, L, I, S]; rows
    sum to 1.

    text [J, L, D], regions [I, S, D], masks true where real.
    """
    return _weights(torch.einsum("jld,isd->jlis", text, regions), text_mask, region_mask, pooling)


def pooled_cosine(
    text: Tensor,
    regions: Tensor,
    text_mask: Tensor | None,
    region_mask: Tensor | None,
    pooling: Pooling,
) -> Tensor:
    """Return the cosine of each text unit and its attended context in each image, [J, L, I]; padded
    units give 0.

    Forms every context vector: memory O(I J L (S + D)). Shapes as in `region_attention`.
    """
    weights = region_attention(text, regions, pooling, text_mask, region_mask)
    context = torch.einsum("jlis,isd->jlid", weights, regions)
    norms = context.norm(dim=-1) * text.norm(dim=-1)[:, :, None]
    cosine = (context * text[:, :, None]).sum(dim=-1) / norms.clamp_min(pooling.eps)
    return cosine if text_mask is None else cosine.masked_fill(~text_mask[:, :, None], 0.0)


def _weights(
    dots: Tensor, text_mask: Tensor | None, region_mask: Tensor | None, pooling: Pooling
) -> Tensor:
    lowest = torch.finfo(dots.dtype).min
    logits = dots
    if pooling.words_first:
        logits = (
            dots if text_mask is None else dots.masked_fill(~text_mask[:, :, None, None], lowest)
        ).softmax(dim=1)
    logits = pooling.attention_scale * logits
    return (logits if region_mask is None else logits.masked_fill(~region_mask, lowest)).softmax(
        dim=-1
    )


def log_sums(
    queries: Tensor,
    keys: Tensor,
    query_ids: Tensor | None,
    key_ids: Tensor | None,
    ignore: Tensor | None,
) -> tuple[Tensor, ...]:
    """Return log-sum-exp over all and over positive pairs, per query then per key; -inf where a row
    has no such pair.

    Stores the whole logits matrix [N, M]. Without ids row i belongs to row i. Rows without a pair
    get no gradient.
    """
    with torch.autocast(queries.device.type, enabled=False):
        logits = queries @ keys.T
    if query_ids is None or key_ids is None:
        if ignore is None:
            return logits.logsumexp(1), logits.diagonal(), logits.logsumexp(0), logits.diagonal()
        positive = torch.eye(len(queries), dtype=torch.bool, device=queries.device)
    else:
        positive = query_ids[:, None] == key_ids[None, :]
    candidates = torch.ones_like(positive) if ignore is None else positive | ~ignore
    return tuple(
        masked_logsumexp(logits, mask, dim) for dim in (1, 0) for mask in (candidates, positive)
    )


def masked_logsumexp(logits: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Return the log-sum-exp over `dim` of what `mask` holds; -inf, without a gradient, where it
    holds nothing."""
    filled = logits.masked_fill(~mask, torch.finfo(logits.dtype).min).logsumexp(dim)
    return filled.masked_fill(~mask.any(dim), float("-inf"))
