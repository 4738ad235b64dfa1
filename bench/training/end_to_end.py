"""The recipe of the row whose encoder is trained with its head, for heads that predict maps or
boxes. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from bench.contracts import Profile
from bench.core.errors import NotApplicableError
from bench.training.settings import HeadSettings

S = TypeVar("S", bound=HeadSettings)
EVERYTHING: Mapping[str, Any] = {
    "frozen": False,
    "batchnorm": "train",
    "cache_features": False,
    "cached_views": 1,
    "augment": True,
}
STEPS: Mapping[str, Any] = {"epochs": 8, "steps_per_epoch": 20, "lr": 2e-3}
"""In the demo profile; fixed in steps, so that the row's time does not grow with the dataset."""


def end_to_end(settings: S, profile: Profile) -> S:
    """Return the recipe in a table of `settings` (with a field `frozen`). Raise NotApplicableError
    where every encoder of the table is trained."""
    if not vars(settings)["frozen"]:
        raise NotApplicableError(
            "frozen=false trains every encoder, and `random` is the one without pre-training."
        )
    recipe = {**EVERYTHING, **(STEPS if profile == "demo" else {})}
    return dataclasses.replace(settings, **recipe)
