"""A regulariser of one's own: images that differ by noise are to get the same scores."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.core.settings import Scale, Weight
from tasks.classification.regularizers import REGULARIZERS, Moment, Regularizer
from tasks.classification.settings import ClassificationSettings
from tasks.classification.trained import Regularized


@dataclass(frozen=True)
class NoiseSettings(ClassificationSettings):
    """What `--set` takes beside the settings of classification."""

    noise: Scale = 0.1
    """Deviation of the noise, in that of the encoder's normalised images."""
    noise_weight: Weight = 1.0
    """Weight of the squared difference of the scores; 0 leaves it out."""


def losses(network: Regularized, batch: Mapping[str, Tensor], moment: Moment) -> dict[str, Tensor]:
    """Return the loss of the labels, and that of the scores of noisy images."""
    settings: NoiseSettings = moment.settings
    images = batch["inputs"]
    logits = network(images)
    terms = {"loss": network.loss(logits, batch["values"])}
    if settings.noise_weight > 0:
        noise = torch.from_numpy(moment.generator.standard_normal(images.shape)).to(images)
        noisy = network(images + settings.noise * noise)
        terms["noise_loss"] = settings.noise_weight * (noisy - logits).square().mean()
    return terms


REGULARIZERS.add("noise", Regularizer("the same scores under noise", losses, NoiseSettings))
