"""The element-wise half of the chunked pooling, in torch: softmaxes over a tile of dot products,
and their gradient.

A tile is [J, L, I, S]: J captions of L units, I images of S regions. Row values are [J, L, I].
"""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.shared.alignment.kernels.options import Pooling

_ABSENT = -1e30
"""Score of a padded unit: nothing of it is left in a softmax over units, and its own results stay
finite (they are dropped)."""


def attend(
    dots: Tensor, text_mask: Tensor | None, region_mask: Tensor | None, pooling: Pooling
) -> tuple[Tensor, Tensor]:
    """Return the attention weights over regions [J, L, I, S] and <context, unit> [J, L, I].

    Writes into the rows of `dots` of padded units, for itself and for `attend_backward`.
    """
    if pooling.words_first and text_mask is not None and not bool(text_mask.all()):
        dots[~text_mask] = _ABSENT
    logits = (
        dots.softmax(dim=1).mul_(pooling.attention_scale)
        if pooling.words_first
        else dots * pooling.attention_scale
    )
    if region_mask is not None:
        logits.masked_fill_(~region_mask, torch.finfo(dots.dtype).min)
    weights = logits.softmax(dim=-1)
    return weights, torch.mul(weights, dots, out=logits).sum(dim=-1)


def attend_backward(
    dots: Tensor,
    weights: Tensor,
    pulled: Tensor,
    rows: tuple[Tensor, Tensor, Tensor],
    text_mask: Tensor | None,
    pooling: Pooling,
) -> Tensor:
    """Return d loss / d dots [J, L, I, S].

    `pulled` is context . region for every region. `rows` are, per unit and image: d loss / d
    <context, unit>, twice d loss / d |context|^2, and the weighted mean of d loss / d weights (the
    term a softmax gradient subtracts).
    """
    by_dot, by_norm, mean = (row.unsqueeze(-1) for row in rows)
    scale = pooling.attention_scale  # on the rows, which are small
    by_logit = (
        torch.addcmul(-scale * mean, dots, scale * by_dot)
        .addcmul_(pulled, scale * by_norm)
        .mul_(weights)
    )
    if pooling.words_first:
        words = dots.softmax(dim=1)
        inner = (words * by_logit).sum(dim=1, keepdim=True)
        by_logit = by_logit.sub_(inner).mul_(words)
    return by_logit.addcmul_(weights, by_dot)
