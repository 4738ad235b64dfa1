"""Both operations as loops over single items in float64: what every fast form is compared with."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor


def pooled(
    text: Tensor,
    regions: Tensor,
    text_mask: Tensor,
    region_mask: Tensor,
    words_first: bool,
    scale: float,
) -> Tensor:
    """Return cos(context, unit) [J, L, I], one (caption, image) at a time, over the real units and
    regions only."""
    out = text.new_zeros(*text.shape[:2], len(regions))
    for caption, words in enumerate(text):
        for image, places in enumerate(regions):
            w, r = words[text_mask[caption]], places[region_mask[image]]
            dots = r @ w.T
            logits = dots.softmax(dim=1) if words_first else dots
            for unit, position in enumerate(text_mask[caption].nonzero().flatten().tolist()):
                context = ((scale * logits[:, unit]).softmax(dim=0)[:, None] * r).sum(dim=0)
                out[caption, position, image] = torch.dot(context, w[unit]) / (
                    context.norm() * w[unit].norm()
                )
    return out


def contrast(logits: Tensor, query_ids: Tensor, key_ids: Tensor, ignore: Tensor) -> Tensor:
    """Return the mean over queries with a positive of -log(sum over positives / sum over all that
    are not ignored)."""
    losses = []
    for row, values in enumerate(logits):
        positive = [col for col in range(len(values)) if key_ids[col] == query_ids[row]]
        known = [col for col in range(len(values)) if col in positive or not ignore[row, col]]
        if positive:
            losses.append(values[known].exp().sum().log() - values[positive].exp().sum().log())
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def value_and_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """Return the output and the gradients of an uneven weighting of it, as float64."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    out = function(*leaves)
    weights = torch.linspace(0.3, 1.7, out.numel(), device=out.device, dtype=out.dtype).view(
        out.shape
    )
    return [
        tensor.double()
        for tensor in (out.detach(), *torch.autograd.grad((out * weights).sum(), leaves))
    ]


def assert_same(mine: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    """Compare two results of `value_and_gradients`; the tolerance is relative to the largest entry
    where that exceeds 1."""
    for name, got, want in zip(
        ("value", "first gradient", "second gradient"), mine, expected, strict=True
    ):
        bound = tolerance * max(1.0, float(want.abs().max()))
        torch.testing.assert_close(
            got, want, rtol=0, atol=bound, msg=functools.partial("{}: {}".format, name)
        )


def info_nce(
    queries: torch.Tensor,
    keys: torch.Tensor,
    query_ids: torch.Tensor,
    key_ids: torch.Tensor,
    ignore: torch.Tensor,
) -> torch.Tensor:
    return contrast(queries @ keys.T / 0.07, query_ids, key_ids, ignore)


def symmetric_info_nce(
    queries: torch.Tensor,
    keys: torch.Tensor,
    query_ids: torch.Tensor,
    key_ids: torch.Tensor,
    ignore: torch.Tensor,
) -> torch.Tensor:
    back = contrast(keys @ queries.T / 0.07, key_ids, query_ids, ignore.T)
    return info_nce(queries, keys, query_ids, key_ids, ignore) + back
