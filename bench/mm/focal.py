"""Sigmoid focal loss with integer class targets, forward and backward."""

from __future__ import annotations

import torch
from torch import Tensor


def _terms(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return probability, log p, log(1 - p) and the one-hot target [N, C]; class C is background
    and has no column."""
    log_p = torch.nn.functional.logsigmoid(logits)
    log_q = torch.nn.functional.logsigmoid(-logits)
    hot = target[:, None] == torch.arange(logits.shape[1], device=logits.device)
    return log_p.exp(), log_p, log_q, hot


def _class_weight(weight: Tensor, target: Tensor) -> Tensor:
    """Return the weight of each row's class [N, 1]; background has weight 1."""
    if weight.numel() == 0:
        return weight.new_ones(1, 1)
    padded = torch.cat([weight, weight.new_ones(1)])
    return padded[target.clamp(max=weight.numel())][:, None]


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float, alpha: float
) -> None:
    """Write the focal loss of logits `input` [N, C] and classes `target` [N] into `output` [N, C]
    (Lin et al. 2017, eq. 5)."""
    p, log_p, log_q, hot = _terms(input, target)
    positive = -alpha * (1 - p) ** gamma * log_p
    negative = -(1 - alpha) * p**gamma * log_q
    output.copy_(torch.where(hot, positive, negative) * _class_weight(weight, target))


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    *,
    gamma: float,
    alpha: float,
) -> None:
    """Write d loss / d logits [N, C] into `grad_input`."""
    p, log_p, log_q, hot = _terms(input, target)
    positive = -alpha * (1 - p) ** gamma * (1 - p - gamma * p * log_p)
    negative = -(1 - alpha) * p**gamma * (gamma * (1 - p) * log_q - p)
    grad_input.copy_(torch.where(hot, positive, negative) * _class_weight(weight, target))
