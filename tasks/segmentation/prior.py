"""What is known without looking at an image: how often each pixel is masked in the training
images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.contracts import Subset
from bench.data.annotations import Masks


class PriorMask(nn.Module):
    """Stands where a segmentor does: the same logits [C, S, S] for every image, whose order is that
    of the share of training images masked at a pixel (the highest share has probability 1, so that
    the thresholds of validation reach all of them)."""

    align_corners = False
    logits: Tensor

    def __init__(self, share: Tensor) -> None:
        super().__init__()
        highest = share.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)
        self.register_buffer("logits", torch.logit(share / highest, eps=1e-6), persistent=False)

    def forward(self, inputs: Any, mode: str = "tensor") -> Tensor:
        """Return the logits [B, C, S, S] of B images; only mode "tensor" is known."""
        return self.logits.expand(len(inputs), -1, -1, -1)


def learn_prior(train: Subset) -> PriorMask:
    """Return the prior of training images."""
    masks = train.get(Masks)
    batches = (masks[start : start + 64] for start in range(0, len(masks), 64))
    total = sum(batch.sum(axis=0, dtype=np.float64) for batch in batches)
    return PriorMask(torch.from_numpy(np.asarray(total) / len(train)).float())
