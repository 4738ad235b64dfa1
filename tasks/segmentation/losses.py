"""Segmentation losses on logits: 10 x focal minus log Dice (MGCA, GLoRIA), cross-entropy,
cross-entropy plus Dice."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the mean over pixels of (1 - p_t)^gamma BCE; `target` may be fractional (Lin et al.
    2017, in its logit form)."""
    cross_entropy = -(target * logsigmoid(logits) + (1 - target) * logsigmoid(-logits))
    modulator = (gamma * logsigmoid(-logits * (2 * target - 1))).exp()
    return (modulator * cross_entropy).mean()


def soft_dice(probabilities: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """Return (2 sum(p t) + s) / (sum p + sum t + s) over the whole batch, not per image."""
    return (2 * (probabilities * target).sum() + smooth) / (
        probabilities.sum() + target.sum() + smooth
    )


def focal_dice_loss(
    logits: Tensor, target: Tensor, focal_weight: float = 10.0, gamma: float = 2.0
) -> Tensor:
    """Return focal_weight * focal - log(dice) of logits and targets [B, C, H, W], the mean over
    classes.

    Single precision at least. Source: `MixedLoss` of MGCA 680fe4a and GLoRIA 416466a.
    """
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    logits = logits.to(wide)
    target = target.to(wide)
    losses = [
        focal_weight * focal_loss(logits[:, c], target[:, c], gamma)
        - soft_dice(logits[:, c].sigmoid(), target[:, c]).log()
        for c in range(logits.shape[1])
    ]
    return torch.stack(losses).mean()


def cross_entropy_loss(logits: Tensor, target: Tensor, dice_weight: float = 0.0) -> Tensor:
    """Return the binary cross-entropy of logits and targets [B, C, H, W] + dice_weight * (1 -
    dice), the mean over classes.

    For one class this is the softmax cross-entropy of background and foreground (BenchX), whose
    logit is the difference of two.
    """
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    logits = logits.to(wide)
    target = target.to(wide)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
    if not dice_weight:
        return loss
    dice = [soft_dice(logits[:, c].sigmoid(), target[:, c]) for c in range(logits.shape[1])]
    return loss + dice_weight * (1 - torch.stack(dice).mean())


class MaskLoss(nn.Module):
    """A loss by name with the interface of an mmsegmentation loss: focal_dice, ce or ce_dice, times
    `loss_weight`."""

    def __init__(
        self, kind: str = "focal_dice", focal_weight: float = 10.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.kind = kind
        self.focal_weight = focal_weight
        self.loss_weight = loss_weight
        self.loss_name = f"loss_{kind}"

    def forward(self, logits: Tensor, target: Tensor, **_unused: object) -> Tensor:
        """Return the loss of logits and masks [B, C, H, W]."""
        if self.kind == "focal_dice":
            return self.loss_weight * focal_dice_loss(logits, target, self.focal_weight)
        return self.loss_weight * cross_entropy_loss(
            logits, target, dice_weight=float(self.kind == "ce_dice")
        )
