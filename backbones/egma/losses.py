"""The losses of EGMA (Ma et al. 2024) on patches and sentences of unit length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

_LARGEST_BLOCK = 1 << 24
"""Patch-sentence cosines that are in memory at once; more are computed in blocks of images."""
THRESHOLDS = {0: 2 / 7, 1: 1 / 7, 2: 3 / 7, 3: 2 / 7, 4: 2 / 7, 5: 2 / 7}
"""Per gaze rule (0: similarity alone) the threshold of the published code."""
WITH_GAZE = (0.8, 0.2)
ALONE = (0.3, 0.7)
"""Weights of the sentences' and the patches' side of EGM."""
_LEAST = 0.01
"""What every weight of EGM has before the weights are normalised."""


# ---------------------------------------------------------------------------------------- instance
def instance_scores(
    patches: torch.Tensor,
    sentences: torch.Tensor,
    mask: torch.Tensor,
    *,
    published: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean over patches of the best sentence, and the mean over sentences of the best
    patch, both [B images, T reports].

    patches [B, P, d], sentences [T, S, d], mask [T, S]. As `published`, padded sentences (zeros)
    take part in the maximum.
    """
    count, cells = patches.shape[:2]
    size = max(1, _LARGEST_BLOCK // (cells * sentences.shape[0] * sentences.shape[1]))
    if size >= count:
        return _block_scores(patches, sentences, mask, published)
    blocks = [
        checkpoint(_block_scores, block, sentences, mask, published, use_reentrant=False)
        for block in patches.split(size)
    ]
    best_sentence, best_patch = zip(*blocks, strict=True)
    return torch.cat(best_sentence), torch.cat(best_patch)


def _block_scores(
    patches: torch.Tensor, sentences: torch.Tensor, mask: torch.Tensor, published: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    cosines = torch.einsum("bpd,tsd->btps", patches, sentences)
    real = mask[None, :, None]
    shown = cosines if published else cosines.masked_fill(~real, -torch.inf)
    best_sentence = shown.amax(3).mean(2)
    best_patch = cosines.amax(2) * mask
    return best_sentence, best_patch.sum(2) / mask.sum(1).clamp(min=1)


def instance_loss(
    best_sentence: torch.Tensor, best_patch: torch.Tensor, *, published: bool = False
) -> torch.Tensor:
    """Return the contrast of images with reports [B, B], scores already scaled.

    The first scores are contrasted over reports, the second over images; as `published` both over
    reports, so that nothing asks which image a report belongs to.
    """
    target = torch.arange(len(best_sentence), device=best_sentence.device)
    second = best_patch if published else best_patch.T
    to_text = functional.cross_entropy(best_sentence, target)
    return (to_text + functional.cross_entropy(second, target)) / 2


# --------------------------------------------------------------------------------------- gaze (EGF)
def multilabel_loss(
    scores: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return log(1 + sum of e^x over the negatives) + log(1 + sum of e^-x over the positives) along
    the last dimension; what `mask` leaves out counts in neither."""
    positive = labels.bool()
    negative = ~positive
    if mask is not None:
        positive = positive & mask
        negative = negative & mask
    zero = scores.new_zeros(*scores.shape[:-1], 1)
    above = torch.cat([zero, scores.masked_fill(~negative, -torch.inf)], -1)
    below = torch.cat([zero, (-scores).masked_fill(~positive, -torch.inf)], -1)
    return above.logsumexp(-1) + below.logsumexp(-1)


def gaze_losses(
    scores: torch.Tensor, labels: torch.Tensor, gazed: torch.Tensor, alpha: float
) -> torch.Tensor:
    """Return the gaze loss of every image [B]; 0 where no sentence has gaze.

    scores [B, P, S], scaled; labels [B, S, P], true where the gaze map is above 0; gazed [B, S],
    which sentences have gaze: the others take no part.
    """
    of_sentences = multilabel_loss(scores.transpose(1, 2), labels)
    counts = gazed.sum(1).clamp(min=1)
    sentences = (of_sentences * gazed).sum(1) / counts
    of_patches = multilabel_loss(scores, labels.transpose(1, 2), gazed[:, None])
    losses = alpha * sentences + (1 - alpha) * of_patches.mean(1)
    return torch.where(gazed.any(1), losses, losses.new_zeros(()))


# ----------------------------------------------------------------------------------- pooling (EGM)
@dataclass(frozen=True)
class GazeRule:
    """How similarity and gaze make EGM's weights: `number` 1 to 5 as in EGMASettings.gaze_rule,
    `threshold` None for that of the published code. As `published`, rules 2 and 3 add half the gaze
    to the whole similarity on the patches' side, where brackets are missing."""

    number: int = 1
    threshold: float | None = None
    published: bool = False

    def weights(
        self,
        scores: torch.Tensor,
        gaze: torch.Tensor,
        mask: torch.Tensor,
        *,
        of_patches: bool = False,
    ) -> torch.Tensor:
        """Return the weights [..., n] of what is pooled, from scores and gaze [..., n] in [0, 1];
        0 outside `mask`."""
        scaled = min_max(scores, mask)
        limit = self._limit(self.number)
        share = 1.0 if self.published and of_patches else 0.5
        if self.number == 1:
            return (_normed(_above(scaled, limit), mask) + gaze * mask) / 2
        if self.number == 2:
            mixed = _above(share * scaled + gaze / 2, limit)
        elif self.number == 3:
            mixed = share * _above(scaled, limit) + gaze / 2
        elif self.number == 4:
            mixed = _above(min_max(scores * gaze, mask), limit)
        else:
            mixed = 0.8 * _above(scaled, limit) + 0.2 * _above(gaze, limit)
        return _normed(mixed, mask)

    def alone(self, scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the weights where there is no gaze."""
        return _normed(_above(min_max(scores, mask), self._limit(0)), mask)

    def _limit(self, number: int) -> float:
        return THRESHOLDS[number] if self.threshold is None else self.threshold


def min_max(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return scores scaled to [0, 1] along the last dimension, over `mask` alone; 0 outside it, and
    where all are equal."""
    lowest = scores.masked_fill(~mask, torch.inf).amin(-1, keepdim=True)
    highest = scores.masked_fill(~mask, -torch.inf).amax(-1, keepdim=True)
    span = highest - lowest
    differs = (span > 0) & span.isfinite() & mask
    safe = torch.where((span > 0) & span.isfinite(), span, torch.ones_like(span))
    start = torch.where(lowest.isfinite(), lowest, torch.zeros_like(lowest))
    return torch.where(differs, (scores - start) / safe, torch.zeros_like(scores))


def _above(values: torch.Tensor, limit: float) -> torch.Tensor:
    return torch.where(values < limit, torch.zeros_like(values), values)


def _normed(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    raised = (values + _LEAST) * mask
    return raised / raised.sum(-1, keepdim=True).clamp(min=_LEAST)


def pooling_losses(
    patches: torch.Tensor,
    sentences: torch.Tensor,
    mask: torch.Tensor,
    scale: torch.Tensor,
    rule: GazeRule,
    gaze: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the loss of every image [B] between its sentences and what each pools of the patches,
    and the mirror of it; 0 for an image of fewer than two sentences.

    patches [B, P, d], sentences [B, S, d], mask [B, S]; gaze [B, S, P] in [0, 1], all 0 where a
    sentence has none.
    """
    cosines = torch.einsum("bpd,bsd->bps", patches, sentences)
    to_patches = cosines.transpose(1, 2)
    every = torch.ones_like(to_patches, dtype=torch.bool)
    real = mask[:, None].expand_as(cosines)
    text_weights = rule.alone(to_patches, every)
    image_weights = rule.alone(cosines, real)
    parts = patches.new_tensor(ALONE).expand(len(patches), 2)
    if gaze is not None:
        seen = gaze.amax(2) > 0
        with_gaze = rule.weights(to_patches, gaze, every)
        text_weights = torch.where(seen[:, :, None], with_gaze, text_weights)
        guided = (seen & mask).any(1)
        turned = gaze.transpose(1, 2)
        with_gaze = rule.weights(cosines, turned, real, of_patches=True)
        image_weights = torch.where(guided[:, None, None], with_gaze, image_weights)
        parts = torch.where(guided[:, None], parts.new_tensor(WITH_GAZE), parts)
    pooled_patches = text_weights @ patches
    pooled_sentences = image_weights @ sentences
    all_patches = mask.new_ones(patches.shape[:2])
    of_text = contrast_within(pooled_patches, sentences, mask, scale)
    of_image = contrast_within(pooled_sentences, patches, all_patches, scale)
    losses = parts[:, 0] * of_text + parts[:, 1] * of_image
    return torch.where(mask.sum(1) > 1, losses, losses.new_zeros(()))


def contrast_within(
    queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Return the contrast of queries [B, n, d] with keys [B, n, d] of the same image in both
    directions, the mean over `mask` [B, n]: [B]."""
    logits = scale * queries @ keys.transpose(1, 2)
    pairs = mask[:, :, None] & mask[:, None]
    # Finite, so that a row without a real key has a gradient of 0 and no NaN.
    logits = logits.masked_fill(~pairs, torch.finfo(logits.dtype).min)
    matching = logits.diagonal(dim1=1, dim2=2)
    errors = logits.logsumexp(2) + logits.logsumexp(1) - 2 * matching
    shown = torch.where(mask, errors, errors.new_zeros(()))
    return shown.sum(1) / (2 * mask.sum(1).clamp(min=1))
