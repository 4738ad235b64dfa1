"""Settings of a zero-shot cell and the protocol presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.contracts import Profile, TaskSpec
from bench.errors import UnknownNameError
from bench.registry import suggest
from bench.settings import CheckedSettings, Count, Scale, Side, override
from tasks.classification.settings import (
    ClassificationSettings,
    Mode,
    Strict,
    Threshold,
    expand_policies,
    task_values,
)


@dataclass(frozen=True)
class ZeroShotSettings(CheckedSettings):
    """How images are scored against prompts.

    `prompts`: single sentence, ensemble of templates, pairs (score = positive minus negative), sets
    (severity x subtype x location; `prompts_per_class` of them). `similarity`: method is the
    backbone's own score, global the cosine of the embeddings, local its part over words and
    regions. `aggregate`: how the prompts of a class become one score. `normalise_per_class` takes
    the z-score of every class over all test images: transductive, a prediction then depends on what
    else is tested. `scale` turns scores into logits before calibration. Labels, uncertain policy,
    views and thresholds are those of classification.
    """

    prompts: Literal["single", "ensemble", "pairs", "sets"] = "ensemble"
    prompts_per_class: Count | None = None
    similarity: Literal["method", "global", "local"] = "method"
    aggregate: Literal["mean", "max"] = "mean"
    normalise_per_class: bool = False
    scale: Scale = 10.0
    image_size: Side = 256
    mode: Mode = "multiclass"
    labels: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ("zeros",)
    blank: Literal["zeros", "ignore"] = "zeros"
    views: tuple[str, ...] = ()
    threshold: Threshold = "validation"
    strict: Strict = "none"
    threshold_by: Literal["f1", "youden"] = "f1"
    calibration: Literal["temperature", "none"] = "temperature"
    subgroups: bool = True

    def labelling(self) -> ClassificationSettings:
        """Return the part of the settings that classification shares."""
        names = (
            "mode",
            "labels",
            "uncertain",
            "blank",
            "views",
            "threshold",
            "strict",
            "threshold_by",
            "calibration",
            "subgroups",
        )
        return ClassificationSettings(**{name: getattr(self, name) for name in names})


_GLORIA: dict[str, Any] = {
    "prompts": "sets",
    "prompts_per_class": 5,
    "aggregate": "max",
    "normalise_per_class": True,
    "calibration": "none",
}
_BENCHX: dict[str, Any] = {
    "prompts": "sets",
    "prompts_per_class": 5,
    "similarity": "global",
    "aggregate": "max",
    "normalise_per_class": True,
    "threshold": "test_per_class",
    "strict": "accuracy",
    "calibration": "none",
}
PRESETS: dict[str, dict[str, Any]] = {"default": {}, "gloria": _GLORIA, "benchx": _BENCHX}
"""Per protocol, what differs from the class defaults. `gloria`: GLoRIA 416466a (its prompts are
drawn by Python's random, seed 6; ours by the cell's seed). `benchx`: b874fa6 develop, which decides
every class by itself, at a threshold chosen on the images it scores; its z-scores and thresholds are
those of a batch (by default of 1,000 images, all of a 5x200 set), ours of the whole test set."""


def resolve(
    task: TaskSpec, protocol: str, profile: Profile, changes: Mapping[str, str]
) -> ZeroShotSettings:
    """Return the settings of `protocol` and `profile` for `task` with `changes`; raise
    UnknownNameError on another protocol."""
    if protocol not in PRESETS:
        raise UnknownNameError(
            f"unknown protocol '{protocol}' of zero_shot.", suggest(protocol, PRESETS)
        )
    values = {
        **task_values(task),
        **PRESETS[protocol],
        **({"image_size": 144} if profile == "demo" else {}),
    }
    if protocol == "benchx" and values["mode"] == "multiclass":
        values["mode"] = "multilabel"  # every class is decided by itself
    settings = override(dataclasses.replace(ZeroShotSettings(), **values), changes)
    return dataclasses.replace(
        settings, uncertain=expand_policies(settings.uncertain, settings.labels)
    )
