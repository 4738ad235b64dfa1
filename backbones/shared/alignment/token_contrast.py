"""Contrast of tokens inside a pair: each word against what it attends to in its own image, each
patch likewise (MGCA's CTA).

Wang et al., "Multi-granularity cross-modal alignment", NeurIPS 2022.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def token_contrast(
    words: Tensor,
    patches: Tensor,
    word_mask: Tensor,
    word_weights: Tensor,
    patch_weights: Tensor | None = None,
    *,
    tau: float = 0.1,
    quirks: bool = False,
    normalise_attended_words: bool = True,
) -> Tensor:
    """Return the cross-modal token alignment loss: the word side plus the patch side.

    words [B, L, D] and patches [B, N, D] are L2-normalised; word_mask [B, L] is true at words;
    word_weights [B, L] and patch_weights [B, N] sum to 1 a row (`clipped_weights`; patches default
    to uniform) and carry no gradient. With `quirks` padded positions are negatives of the word
    side, as in the published code, which also leaves attended words unnormalised for a ViT
    (`normalise_attended_words=False`). A report without a word contributes 0.
    """
    candidates = None if quirks else word_mask
    seen = F.normalize(attend(words, patches, None, tau), dim=-1)
    read = attend(patches, words, word_mask, tau)
    read = F.normalize(read, dim=-1) if normalise_attended_words else read
    if patch_weights is None:
        patch_weights = patches.new_full(patches.shape[:2], 1 / patches.shape[1])
    patch_weights = patch_weights * word_mask.any(dim=1, keepdim=True)
    return _both_ways(words, seen, word_weights, candidates, tau) + _both_ways(
        patches, read, patch_weights, None, tau
    )


def clipped_weights(attention: Tensor, mask: Tensor) -> Tensor:
    """Return attention [B, L] clipped to its 10-90 % quantiles where `mask` is true, summing to 1 a
    row; no gradient."""
    attention = attention.detach().float()
    real = attention.masked_fill(~mask, float("nan"))
    bounds = torch.nanquantile(
        real, torch.tensor([0.1, 0.9], device=real.device), dim=1, keepdim=True
    )
    clipped = attention.clamp(bounds[0], bounds[1]).masked_fill(~mask, 0.0)
    return clipped / clipped.sum(dim=1, keepdim=True).clamp_min(1e-12)


def cls_attention(attention: Tensor, *, quirks: bool = False) -> Tensor:
    """Return the attention of [CLS] in a layer, [B, heads, T], averaged over the heads, [B, T], one
    value a token.

    With `quirks` token t gets the value of token t + 1 and the last one 0: the published code drops
    [CLS] from the weights but not from the tokens.
    """
    weights = attention.mean(dim=1)
    return F.pad(weights[:, 1:], (0, 1)) if quirks else weights


def attend(queries: Tensor, keys: Tensor, key_mask: Tensor | None, tau: float) -> Tensor:
    """Return what queries [B, Q, D] read of keys [B or none, K, D], by softmax over those that
    `key_mask` [B, K] has; a row without any reads the mean of all."""
    scores = queries @ keys.transpose(-2, -1) / tau
    if key_mask is not None:
        scores = scores.masked_fill(~key_mask[:, None], torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1) @ keys


def _both_ways(
    tokens: Tensor, attended: Tensor, weights: Tensor, mask: Tensor | None, tau: float
) -> Tensor:
    """Return the weighted cross-entropy token -> own attended vector, and back, averaged; summed in
    a pair, mean over pairs."""
    logits = tokens @ attended.transpose(1, 2) / tau
    if mask is not None:
        pairs = mask[:, :, None] & mask[:, None, :] | torch.eye(
            mask.shape[1], dtype=torch.bool, device=mask.device
        )
        logits = logits.masked_fill(~pairs, torch.finfo(logits.dtype).min)
    positives = logits.diagonal(dim1=1, dim2=2)
    losses = (logits.logsumexp(dim=2) + logits.logsumexp(dim=1)) / 2 - positives
    return (losses * weights).sum() / len(tokens)
