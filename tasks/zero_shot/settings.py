"""Settings of a zero-shot cell and the protocol presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.contracts import Profile, TaskSpec
from bench.core.errors import SettingError, UnknownNameError
from bench.core.registry import suggest
from bench.core.settings import CheckedSettings, Count, Scale, Seed, Side, override
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
    (severity x subtype x location; `prompts_per_class` of them). `prompt_file`: a file whose sets
    are taken instead of ours, e.g. GLoRIA's own constants.py, and drawn as its code draws them,
    from `prompt_seed`; `prompt_hash` stands for what it holds and is found, not given.
    `similarity`: method is the backbone's own score, global the cosine of the embeddings, local its
    part over words and regions. `aggregate`: how the prompts of a class become one score.
    `normalise_per_class` takes the z-score of every class over all test images: transductive, a
    prediction then depends on what else is tested. `scale` turns scores into logits before
    calibration. Labels, uncertain policy, views and thresholds are those of classification.
    """

    prompts: Literal["single", "ensemble", "pairs", "sets"] = "ensemble"
    prompts_per_class: Count | None = None
    prompt_file: str | None = None
    prompt_seed: Seed = 6
    prompt_hash: str = ""
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
    "prompt_seed": 42,
    "similarity": "global",
    "aggregate": "max",
    "normalise_per_class": True,
    "threshold": "test_per_class",
    "strict": "accuracy",
    "calibration": "none",
}
PRESETS: dict[str, dict[str, Any]] = {"default": {}, "gloria": _GLORIA, "benchx": _BENCHX}
"""Per protocol, what differs from the class defaults. `gloria`: GLoRIA 416466a. Its prompts, and
BenchX's, are those of `prompt_file`; without one the words are ours, drawn by the cell's seed.
`benchx`: b874fa6 develop, which decides every class by itself, at a threshold chosen on the images
it scores; its z-scores and thresholds are those of a batch (by default of 1,000 images, all of a
5x200 set), ours of the whole test set."""


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
        settings,
        uncertain=expand_policies(settings.uncertain, settings.labels),
        prompt_hash=_prompt_hash(settings),
    )


def _prompt_hash(settings: ZeroShotSettings) -> str:
    """Return a hash of the prompts of `prompt_file`; nothing without one."""
    if settings.prompt_file is None:
        return ""
    if settings.prompts != "sets":
        raise SettingError(
            f"prompt_file is {settings.prompt_file} and prompts is {settings.prompts}.",
            "Add prompts=sets.",
        )
    from bench.core.hashing import digest
    from tasks.zero_shot.prompt_file import read_prompt_sets

    return digest(read_prompt_sets(Path(settings.prompt_file).expanduser(), settings.labels))
