"""Regularisers: what is added to the loss of a classifier that is trained by gradient steps.

Each is one file: a module of this folder, or a plug-in, that calls `REGULARIZERS.add`. Modules here
import nothing heavy at their top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.contracts.strategies import strategy_faults
from bench.core.errors import PlaceBenchError
from bench.core.registry import Registry
from tasks.classification.settings import ClassificationSettings

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Moment:
    """A step of a training: the settings, how much of the training is over (0..1), and what the
    step draws from, the same in a training that is resumed."""

    settings: Any
    share: float
    generator: np.random.Generator


@dataclass(frozen=True)
class Regularizer:
    """Declaration of one regulariser, chosen by `regularizer=NAME`.

    `losses(network, batch, moment)` returns the losses of a batch of `inputs` and `values`, which
    are added up: those of `network.plain_losses(batch)` and its own, each named with `loss` in its
    name. A function, or a `Body` where its import is heavy. `settings` are the kind's with those of
    the regulariser beside.
    """

    title: str
    losses: Callable[..., Any]
    settings: type[ClassificationSettings] = ClassificationSettings


def _faults(name: str, regularizer: Regularizer) -> Iterable[PlaceBenchError]:
    return strategy_faults(
        f"regulariser '{name}'",
        regularizer,
        Regularizer,
        "Write Regularizer(title, losses).",
        settings=ClassificationSettings,
        functions=("losses",),
    )


REGULARIZERS: Registry[Regularizer] = Registry("regulariser", check=_faults)
