"""Which pixels the score of a class hangs on, for any classifier with gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.contracts import Features
from bench.core.errors import SettingError

if TYPE_CHECKING:
    from tasks.classification.trained import Network


@dataclass(frozen=True)
class Look:
    """Images [B, 3, H, W] as a network sees them: their logits [B, C] and, for one class each, the
    saliency of the pixels [B, H, W], at least 0 and 1 at its largest."""

    logits: Tensor
    saliency: Tensor


def look(network: Network, images: Tensor, classes: Tensor, kind: str, graph: bool = False) -> Look:
    """Return logits and the saliency of the logit of `classes` [B]; with `graph` a gradient can be
    taken through the saliency too.

    Raise SettingError where `kind` is cam and the score depends on no map of the encoder.
    """
    with torch.enable_grad(), _still(network), sdpa_kernel(SDPBackend.MATH):
        pixels = images.detach().requires_grad_()
        features = network.features(pixels)
        pooled = features.pooled if network.tuned else features.pooled.detach()
        scores = network.head(features.pooled).gather(1, classes[:, None]).sum()
        raw = _SALIENCIES[kind](pixels, features, scores, graph)
        least = torch.finfo(raw.dtype).tiny  # what the largest of a map without any is taken for
        saliency = raw / raw.amax(dim=(1, 2), keepdim=True).clamp(min=least)
        return Look(network.head(pooled), saliency if graph else saliency.detach())


def _times_gradient(pixels: Tensor, features: Features, scores: Tensor, graph: bool) -> Tensor:
    """Return |x * ds/dx| [B, H, W], summed over the channels of a pixel before the sign is lost."""
    (gradient,) = torch.autograd.grad(scores, pixels, create_graph=graph, retain_graph=True)
    return (pixels * gradient).sum(dim=1).abs()


def _class_activation(pixels: Tensor, features: Features, scores: Tensor, graph: bool) -> Tensor:
    """Return Grad-CAM [B, H, W] (Selvaraju et al. 2017): the channels of a map weighted by their
    mean gradient, the negative cut, brought to the size of the images."""
    maps = features.pyramid
    gradients = torch.autograd.grad(
        scores, maps, create_graph=graph, retain_graph=True, allow_unused=True
    )
    used = [pair for pair in zip(maps, gradients, strict=True) if pair[1] is not None]
    if not used:
        raise SettingError(
            "saliency is cam, and the score depends on no map of the encoder.",
            "Use saliency=gradx.",
        )
    last, gradient = used[-1]
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    activation = (weights * last).sum(dim=1, keepdim=True).relu()
    side = pixels.shape[-2:]
    return functional.interpolate(activation, size=side, mode="bilinear", align_corners=False)[:, 0]


_SALIENCIES: Mapping[str, Callable[[Tensor, Features, Tensor, bool], Tensor]] = {
    "gradx": _times_gradient,
    "cam": _class_activation,
}


@contextmanager
def _still(network: Network) -> Iterator[None]:
    """Take no gradient of the weights of an encoder that is not trained: others use it too."""
    module = network.beside.encoder.module
    frozen = [] if network.tuned else [p for p in module.parameters() if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
