"""The segmentation loss of MGCA and GLoRIA: 10 x focal minus log Dice, on logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the mean over pixels of (1 - p_t)^gamma BCE; `target` may be fractional (Lin et al. 2017, in its logit form)."""
    cross_entropy = -(target * logsigmoid(logits) + (1 - target) * logsigmoid(-logits))
    modulator = (gamma * logsigmoid(-logits * (2 * target - 1))).exp()
    return (modulator * cross_entropy).mean()


def soft_dice(probabilities: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """Return (2 sum(p t) + s) / (sum p + sum t + s) over the whole batch, not per image."""
    return (2 * (probabilities * target).sum() + smooth) / (probabilities.sum() + target.sum() + smooth)


def focal_dice_loss(logits: Tensor, target: Tensor, focal_weight: float = 10.0, gamma: float = 2.0) -> Tensor:
    """Return focal_weight * focal - log(dice) of logits and targets [B, C, H, W], the mean over classes.

    Single precision at least. Source: PROTOCOLS 3.3 (MGCA 680fe4a, GLoRIA 416466a, MixedLoss).
    """
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    logits, target = logits.to(wide), target.to(wide)
    losses = [
        focal_weight * focal_loss(logits[:, c], target[:, c], gamma) - soft_dice(logits[:, c].sigmoid(), target[:, c]).log()
        for c in range(logits.shape[1])
    ]
    return torch.stack(losses).mean()


class FocalDiceLoss(nn.Module):
    """`focal_dice_loss` with the interface of an mmsegmentation loss."""

    def __init__(self, focal_weight: float = 10.0, gamma: float = 2.0, loss_name: str = "loss_focal_dice") -> None:
        super().__init__()
        self.focal_weight, self.gamma, self.loss_name = focal_weight, gamma, loss_name

    def forward(self, logits: Tensor, target: Tensor, **_unused: object) -> Tensor:
        """Return the loss of logits and masks [B, C, H, W]."""
        return focal_dice_loss(logits, target, self.focal_weight, self.gamma)
