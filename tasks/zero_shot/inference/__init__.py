"""Inference strategies: how an image is looked at when it is scored against the prompts of classes.

Each is one file: a module of this folder, or a plug-in, that calls `INFERENCES.add`. Modules here
import nothing heavy at their top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bench.contracts.strategies import strategy_faults
from bench.core.errors import PlaceBenchError
from bench.core.registry import Registry
from tasks.zero_shot.settings import ZeroShotSettings

Strategy = Callable[..., Any]


@dataclass(frozen=True)
class Inference:
    """Declaration of one strategy, chosen by `inference=NAME`.

    `scores(encoder, prompts, subset, context)` returns the score [n, C] of every image and class
    before `normalise_per_class` and `scale`; a function, or a `Body` where its import is heavy.
    `choose(encoder, prompts, validation, context)` returns the settings with what is chosen on the
    labelled validation images (`tasks.labelling.targets.Labelled`), None where there are none.
    `settings` are the kind's with those of the strategy beside.
    """

    title: str
    scores: Strategy
    settings: type[ZeroShotSettings] = ZeroShotSettings
    choose: Strategy | None = None


def _faults(name: str, inference: Inference) -> Iterable[PlaceBenchError]:
    return strategy_faults(
        f"inference strategy '{name}'",
        inference,
        Inference,
        "Write Inference(title, scores).",
        settings=ZeroShotSettings,
        functions=("scores", "choose"),
        optional=("choose",),
    )


INFERENCES: Registry[Inference] = Registry("inference strategy", check=_faults)
