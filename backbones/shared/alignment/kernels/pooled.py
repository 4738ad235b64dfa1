"""Attention-pooled cosine similarity between every text unit and every image (GLoRIA's local
similarity, PLACE's PCMA)."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from backbones.shared.alignment.kernels import chunked, reference, tiles
from backbones.shared.alignment.kernels.device import choose
from backbones.shared.alignment.kernels.options import Aggregate, Implementation, Order, Pooling
from bench.core.errors import SettingError

MAX_TRITON_WORDS = 512


def attention_pooled_similarity(
    text: Tensor,
    regions: Tensor,
    *,
    text_mask: Tensor | None = None,
    region_mask: Tensor | None = None,
    order: Order = "words_then_regions",
    attention_scale: float = 4.0,
    score_scale: float = 5.0,
    similarity_scale: float = 1.0,
    aggregate: Aggregate = "logsumexp",
    implementation: Implementation = "auto",
    chunk_bytes: int = Pooling.chunk_bytes,
    keep_bytes: int = Pooling.keep_bytes,
) -> Tensor:
    """Return the similarity of every text with every image [J, I], or of every unit with
    `aggregate="none"` [J, L, I].

    text [J, L, D]: J captions of L words, or J = 1 with L sentences; regions [I, S, D]: image
    locations or V-PORs. Masks [J, L], [I, S] are true where real. A unit w attends to the regions
    (`Pooling` has the two orders), c is the attended mean, and its score is score_scale * cos(c,
    w). `aggregate` joins a caption's scores: "logsumexp", "log_mean_exp" (the same less the log of
    their number), "mean_of_scores", "max"; similarity_scale multiplies the result.

    GLoRIA (Huang et al., ICCV 2021): scales 4, 5, 10 (its temp1, temp2, temp3); its agg="sum" is
    "logsumexp" and its agg="mean" is "log_mean_exp". PLACE: order "regions", attention_scale
    1 / tau2, score_scale 1 / tau3, aggregate "none". A padded unit scores 0; a caption of padding
    alone has 0 ("mean_of_scores") or -inf. Raise SettingError on another word. `implementation`:
    reference | chunked | triton; auto goes by device. `chunk_bytes` and `keep_bytes` bound the
    memory of the last two (see `Pooling`).
    """
    _check(text, regions, text_mask, region_mask)
    _check_aggregate(aggregate)
    pooling = Pooling(order, attention_scale, chunk_bytes=chunk_bytes, keep_bytes=keep_bytes)
    cosine = _cosine(text, regions, text_mask, region_mask, pooling, implementation)
    return similarity_scale * _aggregate(score_scale * cosine, text_mask, aggregate)


def _cosine(
    text: Tensor,
    regions: Tensor,
    text_mask: Tensor | None,
    region_mask: Tensor | None,
    pooling: Pooling,
    implementation: str,
) -> Tensor:
    fits = not pooling.words_first or text.shape[1] <= MAX_TRITON_WORDS
    form = choose(implementation, ("reference", "chunked", "triton"), text, fits)
    if form == "reference":
        return reference.pooled_cosine(text, regions, text_mask, region_mask, pooling)
    if form == "chunked":
        return chunked.pooled_cosine(text, regions, text_mask, region_mask, pooling, tiles)
    from backbones.shared.alignment.kernels import triton_tiles

    return chunked.pooled_cosine(text, regions, text_mask, region_mask, pooling, triton_tiles)


def _aggregate(scores: Tensor, mask: Tensor | None, aggregate: Aggregate) -> Tensor:
    if aggregate == "none":
        return scores
    if aggregate == "mean_of_scores":
        return (
            scores.mean(dim=1)
            if mask is None
            else scores.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp_min(1)
        )
    join = torch.amax if aggregate == "max" else torch.logsumexp
    if mask is None:
        mask = torch.ones(scores.shape[:2], dtype=torch.bool, device=scores.device)
    total = join(scores.masked_fill(~mask[:, :, None], -1e30), dim=1)
    if aggregate == "log_mean_exp":
        total = total - mask.sum(dim=1, keepdim=True).clamp_min(1).log()
    return total.masked_fill(~mask.any(dim=1)[:, None], float("-inf"))


def _check(
    text: Tensor, regions: Tensor, text_mask: Tensor | None, region_mask: Tensor | None
) -> None:
    if text.dim() != 3 or regions.dim() != 3 or text.shape[2] != regions.shape[2]:
        raise SettingError(
            f"text {tuple(text.shape)} and regions {tuple(regions.shape)} do not fit.",
            "Expected [J, L, D] and [I, S, D].",
        )
    for name, mask, like in (("text_mask", text_mask, text), ("region_mask", region_mask, regions)):
        if mask is not None and mask.shape != like.shape[:2]:
            raise SettingError(
                f"{name} is {tuple(mask.shape)}, expected {tuple(like.shape[:2])}.",
                "True marks what is real.",
            )


def _check_aggregate(aggregate: str) -> None:
    words = get_args(Aggregate)
    if aggregate not in words:
        raise SettingError(
            f"aggregate is '{aggregate}', expected one of {', '.join(words)}.",
            "The mean of the scores is mean_of_scores; GLoRIA's agg='mean' is log_mean_exp.",
        )
