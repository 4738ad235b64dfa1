"""PLACE's losses on embeddings: PCMA with its false negatives taken out, and the targets of CCE."""

from __future__ import annotations

import torch

from backbones.shared.alignment.correlation import standardise_rows
from backbones.shared.alignment.kernels import attention_pooled_similarity, score_info_nce
from backbones.shared.alignment.kernels.options import Implementation


def known_matches(
    keys: torch.Tensor, sentences: torch.Tensor | None = None, threshold: float | None = None
) -> torch.Tensor:
    """Return for every pair (sentence, report m) whether report m says the same: bool [T, S, T].

    Same: report m holds a sentence with the same key, or, with `threshold`, one whose embedding has
    a larger cosine. keys [T, S] (-1 where there is no sentence); sentences [T, S, d], normalised.
    """
    valid = keys.flatten() >= 0
    same = keys.flatten()[:, None] == keys.flatten()[None, :]
    if sentences is not None and threshold is not None:
        flat = sentences.detach().flatten(0, 1)
        same |= flat @ flat.T > threshold
    same &= valid[:, None] & valid[None, :]
    return same.view(*keys.shape, *keys.shape).any(3)


def pcma_sentence_loss(
    sentences: torch.Tensor,
    keys: torch.Tensor,
    observations: torch.Tensor,
    *,
    tau2: float,
    tau3: float,
    duplicate_cosine: float | None = None,
    mask_duplicates: bool = True,
    implementation: Implementation = "auto",
) -> torch.Tensor:
    """Return PCMA between T-PORs and V-PORs of the global batch: the mean of text-to-image and
    image-to-text.

    sentences [B, S, d] and observations [B, K, d], normalised, row i of both of one study; keys [B,
    S], -1 where there is no sentence. `mask_duplicates`: a report known to say the same
    (`known_matches`) is no negative.
    """
    mask = keys >= 0
    similarity = attention_pooled_similarity(
        sentences,
        observations,
        text_mask=mask,
        order="regions",
        attention_scale=1 / tau2,
        score_scale=1 / tau3,
        aggregate="none",
        implementation=implementation,
    )
    matches = (
        known_matches(keys, sentences, duplicate_cosine)
        if mask_duplicates
        else torch.zeros_like(similarity, dtype=torch.bool)
    )
    logits = similarity[mask]
    ignored = matches[mask]
    numbers = torch.arange(len(keys), device=keys.device)
    report_of = numbers[:, None].expand_as(keys)[mask]
    if not len(report_of):
        return (sentences.sum() + observations.sum()) * 0.0
    belongs = report_of[:, None] == numbers
    to_image = score_info_nce(logits, belongs, ignored)
    to_text = score_info_nce(logits.T, belongs.T, ignored.T)
    return (to_image + to_text) / 2


def pcma_query_loss(
    textual: torch.Tensor,
    visual: torch.Tensor,
    keys: torch.Tensor,
    *,
    tau3: float,
    mask_duplicates: bool = True,
) -> torch.Tensor:
    """Return PCMA for observations paired by index: per query, InfoNCE over the global batch, mean
    of both directions.

    textual, visual [B, K, d], normalised; keys [B, S]: a report with exactly the same sentences is
    no negative.
    """
    logits = torch.einsum("ikd,jkd->kij", visual, textual) / tau3
    ordered = keys.sort(1).values
    same = (ordered[:, None] == ordered[None]).all(2) & mask_duplicates
    positives = torch.eye(len(keys), dtype=torch.bool, device=keys.device).repeat(len(logits), 1)
    ignored = same.repeat(len(logits), 1)
    one_way = score_info_nce(logits.flatten(0, 1), positives, ignored)
    return (one_way + score_info_nce(logits.transpose(1, 2).flatten(0, 1), positives, ignored)) / 2


def patch_pixels(images: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Return the grey pixels of every patch as standardised rows [B, h * w, pixels]; images [B, 3,
    H, W]."""
    rows = images.shape[2] // grid[0]
    columns = images.shape[3] // grid[1]
    grey = images.mean(1).unflatten(2, (grid[1], columns)).unflatten(1, (grid[0], rows))
    return standardise_rows(grey.permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2))


def pairwise_cosine(observations: torch.Tensor) -> torch.Tensor:
    """Return the mean cosine between different observations of an image; observations [B, K, d],
    normalised. K = 1 gives 0."""
    count = observations.shape[1]
    total = observations.sum(1).square().sum(1) - observations.square().sum((1, 2))
    return total.mean() / max(1, count * (count - 1))
