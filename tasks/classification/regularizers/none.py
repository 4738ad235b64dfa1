"""No regulariser: the loss of the labels alone, which is what a head has unless asked otherwise."""

from __future__ import annotations

from bench.contracts import Body
from tasks.classification.regularizers import REGULARIZERS, Regularizer

REGULARIZERS.add(
    "none",
    Regularizer("the loss of the labels alone", Body("tasks.classification.trained:plain_losses")),
)
