"""Salient and random pixels are masked while a classifier is trained (after arXiv 2012.03369, whose
code is not public; see docs/classification.md for what differs)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bench.contracts import Body
from bench.core.errors import SettingError
from bench.core.settings import Inside, Range, Share, Weight
from tasks.classification.regularizers import REGULARIZERS, Regularizer
from tasks.classification.settings import ClassificationSettings


@dataclass(frozen=True)
class PpiSettings(ClassificationSettings):
    """What `regularizer=ppi` has beside the settings of the kind."""

    ppi_salient: Weight = 0.2
    """Weight of the loss by which an image without its salient pixels is to be taken for one
    without the finding. It makes a shortcut that is itself salient stronger."""
    ppi_random: Weight = 1.0
    """Weight of the loss of the labels on an image with random squares masked."""
    ppi_sparse: Weight = 0.001
    """Weight of the sum of the saliency over the pixels, whose largest value is 1."""
    omega: Annotated[float, Range(0, 1e6)] = 20.0
    """How steep the mask is: sigmoid(omega * (saliency - delta))."""
    delta: Inside = 0.3
    """Saliency at which a pixel is masked by half."""
    ppi_after: Share = 0.2
    """Share of the training steps that are over before anything is masked."""
    detach: bool = True
    """Whether the mask of salient pixels counts as given: no gradient flows through it. The sparse
    term has its gradient either way."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.detach and self.head == "linear":
            raise SettingError(
                "detach is false and head is linear, whose encoder has no gradient.",
                "Use head=finetune, or leave detach out.",
            )


REGULARIZERS.add(
    "ppi",
    Regularizer(
        "salient and random pixels masked", Body("tasks.classification.masking:losses"), PpiSettings
    ),
)
