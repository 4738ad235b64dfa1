"""The losses that `mlip_reimpl` adds to MGCA's, on unit vectors. Built from the method's abstract
(arXiv 2402.02045); the authors' equations are not known."""

from __future__ import annotations

import torch
from torch.nn import functional

from backbones.shared.alignment.kernels import symmetric_info_nce
from backbones.shared.alignment.prototypes import sinkhorn
from backbones.shared.alignment.token_contrast import attend


def divergence_loss(
    images: torch.Tensor,
    texts: torch.Tensor,
    moved_images: torch.Tensor,
    moved_texts: torch.Tensor,
    *,
    tau: float,
    beta: float,
    delta: float,
) -> torch.Tensor:
    """Return the contrast of vectors [B, d] with moved ones, and what those cost that stayed near.

    1/2 [NCE(moved image, text) + NCE(image, moved text)] + beta * the sum over both kinds of the
    mean of max(0, cos(vector, moved) - delta); NCE in both directions, as in MGCA's ITA.
    """
    contrast = symmetric_info_nce(moved_images, texts, tau=tau)
    contrast = contrast + symmetric_info_nce(images, moved_texts, tau=tau)
    too_near = [
        (functional.cosine_similarity(vectors, moved) - delta).clamp(min=0).mean()
        for vectors, moved in ((images, moved_images), (texts, moved_texts))
    ]
    return contrast / 2 + beta * (too_near[0] + too_near[1])


def with_definitions(
    words: torch.Tensor,
    mask: torch.Tensor,
    definitions: torch.Tensor,
    named: torch.Tensor,
    *,
    tau: float,
) -> torch.Tensor:
    """Return words [B, W, d] with what they attend to in the definitions [E, d] that their report
    names [B, E], normalised: t + softmax(t k' / tau) k.

    A report that names none keeps its words, and so does what `mask` [B, W] leaves out.
    """
    mixed = functional.normalize(words + attend(words, definitions, named, tau), dim=-1)
    changed = named.any(1, keepdim=True) & mask
    return torch.where(changed[:, :, None], mixed, words)


def category_loss(
    image_scores: torch.Tensor,
    text_scores: torch.Tensor,
    definition_scores: torch.Tensor,
    *,
    tau: float,
    epsilon: float,
    iterations: int,
) -> torch.Tensor:
    """Return the cross-entropy of images and texts, halved, to the assignment of the definitions;
    all scores [B, K] are cosines with the prototypes. No study gives 0."""
    if not len(definition_scores):
        return 0 * (image_scores.sum() + text_scores.sum())
    targets = sinkhorn(definition_scores, iterations=iterations, epsilon=epsilon)
    logs = [(scores / tau).log_softmax(1) for scores in (image_scores, text_scores)]
    return -(targets * (logs[0] + logs[1])).sum(1).mean() / 2


def draw_alike(similarity: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Return for each row [B] one of the columns [B, C] that are `allowed`, at least one in every
    row, drawn with softmax of its similarity (already divided by the temperature)."""
    shares = similarity.masked_fill(~allowed, -torch.inf).softmax(1)
    return torch.multinomial(shares, 1)[:, 0]


def telling_apart(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy of logits [N], positive and negative examples [N] counting
    half each; where one kind is absent, the other alone; 0 for none."""
    losses = functional.binary_cross_entropy_with_logits(
        logits, positive.to(logits.dtype), reduction="none"
    )
    means = [losses[kind].mean() for kind in (positive, ~positive) if bool(kind.any())]
    return torch.stack(means).mean() if means else 0 * logits.sum()
