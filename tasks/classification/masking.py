"""The losses of `regularizer=ppi`: an image without its salient pixels, and one without random
ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.classification.regularizers import Moment
from tasks.classification.saliency import look

if TYPE_CHECKING:
    from tasks.classification.regularizers.ppi import PpiSettings
    from tasks.classification.trained import Regularized

SQUARES = 6
"""Squares along a side of an image, each of which is hidden or not."""
HIDDEN = 0.25
"""The chance that a square is hidden."""


def losses(network: Regularized, batch: Mapping[str, Tensor], moment: Moment) -> dict[str, Tensor]:
    """Return the loss of the labels and the terms whose weight is above 0: `salient_loss`,
    `sparse_loss` and `random_loss`, each the mean over the images of the batch."""
    settings: PpiSettings = moment.settings
    looks = settings.ppi_salient > 0 or settings.ppi_sparse > 0
    if moment.share < settings.ppi_after or not (looks or settings.ppi_random > 0):
        return network.plain_losses(batch)
    images = batch["inputs"]
    values = batch["values"]
    terms = (
        _salient_terms(network, images, values, moment) if looks else network.plain_losses(batch)
    )
    if settings.ppi_random > 0:
        hidden = random_mask(moment.generator, len(images), images.shape[-1]).to(images)
        with steady(network):
            masked = network(masked_by(images, hidden))
        terms["random_loss"] = settings.ppi_random * network.loss(masked, values)
    return terms


def _salient_terms(
    network: Regularized, images: Tensor, values: Tensor, moment: Moment
) -> dict[str, Tensor]:
    """Return the loss of the labels and the two terms of the saliency of one positive label per
    image; an image without any adds nothing to these."""
    settings: PpiSettings = moment.settings
    classes, positive = drawn_labels(values, moment.generator)
    sparse = settings.ppi_sparse > 0
    through = settings.ppi_salient > 0 and not settings.detach
    seen = look(network, images, classes, settings.saliency, graph=sparse or through)
    terms = {"loss": network.loss(seen.logits, values)}
    if sparse:
        total = seen.saliency.sum(dim=(1, 2))
        terms["sparse_loss"] = settings.ppi_sparse * (total * positive).mean()
    if settings.ppi_salient > 0:
        saliency = seen.saliency.detach() if settings.detach else seen.saliency
        mask = torch.sigmoid(settings.omega * (saliency - settings.delta))
        with steady(network):
            logits = network(masked_by(images, mask * positive[:, None, None]))
        absent = absence_loss(logits, classes, network.exclusive)
        terms["salient_loss"] = settings.ppi_salient * (absent * positive).mean()
    return terms


def drawn_labels(values: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return one positive label [B] of each row of `values` [B, C], drawn with the same chance, and
    1 for a row that has one, else 0 (its label is then 0)."""
    positive = (values == 1).cpu().numpy()
    drawn = np.where(positive, generator.random(positive.shape), -1.0).argmax(axis=1)
    classes = torch.from_numpy(drawn).to(values.device)
    return classes, torch.from_numpy(positive.any(axis=1)).to(values)


def absence_loss(logits: Tensor, classes: Tensor, exclusive: bool) -> Tensor:
    """Return -log(1 - p) [B] of the probability p of each row's class, a softmax where classes
    exclude each other, else a sigmoid."""
    score = logits.gather(1, classes[:, None])[:, 0]
    if exclusive:
        others = torch.ones_like(logits, dtype=torch.bool).scatter(1, classes[:, None], False)
        score = score - logits.masked_fill(~others, -torch.inf).logsumexp(dim=1)
    return functional.softplus(score)


def masked_by(images: Tensor, mask: Tensor) -> Tensor:
    """Return images [B, C, H, W] whose pixels are replaced by the image's mean as far as `mask`
    [B, H, W] is 1."""
    means = images.mean(dim=(2, 3), keepdim=True)
    return images + mask[:, None] * (means - images)


def random_mask(generator: np.random.Generator, count: int, side: int) -> Tensor:
    """Return masks [count, side, side] of a grid of squares, 1 where a square is hidden."""
    hidden = generator.random((count, SQUARES, SQUARES)) < HIDDEN
    square = np.arange(side) * SQUARES // side
    return torch.from_numpy(hidden[:, square][:, :, square].astype(np.float32))


@contextmanager
def steady(network: nn.Module) -> Iterator[None]:
    """Keep the running statistics of BatchNorm layers as they are: images that are masked are none
    that will be asked about."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
