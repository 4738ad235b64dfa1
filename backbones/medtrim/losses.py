"""MedTrim's triplet losses between images, texts, and across (arXiv 2504.15929)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Views:
    """Image and text vectors of the same studies, both [B, d]."""

    images: torch.Tensor
    texts: torch.Tensor

    def take(self, rows: torch.Tensor) -> Views:
        """Return those of some studies."""
        return Views(self.images[rows], self.texts[rows])


def triplet_losses(
    anchor: Views, positive: Views, negative: Views, *, margin: float, own_pair: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of the images and that of the texts, each the mean over B triplets.

    With D = 1 - cosine and the hinge [x]+:
    L_image = 1/2 mean([D(a_i, p_i) - D(a_i, n_i) + m]+ + [D(a_i, p_t) - D(a_i, n_t) + m]+), and
    L_text the same with i and t exchanged. `own_pair`: across, the positive is the anchor's own
    other view.
    """
    across = anchor if own_pair else positive
    image_terms = (
        _hinge(anchor.images, positive.images, negative.images, margin),
        _hinge(anchor.images, across.texts, negative.texts, margin),
    )
    text_terms = (
        _hinge(anchor.texts, positive.texts, negative.texts, margin),
        _hinge(anchor.texts, across.images, negative.images, margin),
    )
    return sum(image_terms).mean() / 2, sum(text_terms).mean() / 2  # type: ignore[union-attr]


def _hinge(
    anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, margin: float
) -> torch.Tensor:
    near = functional.cosine_similarity(anchor, positive)
    far = functional.cosine_similarity(anchor, negative)
    return (far - near + margin).clamp(min=0)
