"""Settings of a zero-shot cell and the protocol presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.contracts import Profile, TaskSpec
from bench.core.choices import settings_of
from bench.core.errors import SettingError
from bench.core.settings import (
    CheckedSettings,
    Count,
    Scale,
    Seed,
    Side,
    later,
    override,
    preset_of,
)
from tasks.labelling.policies import expand_policies, task_values
from tasks.labelling.settings import Mode, Strict, Threshold


@dataclass(frozen=True)
class ZeroShotSettings(CheckedSettings):
    """How images are scored against prompts. Labels, uncertain policy, views and thresholds are
    those of classification."""

    prompts: Literal["single", "ensemble", "pairs", "sets"] = "ensemble"
    """What a class is asked by: single, one sentence; ensemble, six; pairs, these and their
    negations, whose score is subtracted (the default where classes are not exclusive); sets, every
    severity, subtype and location of it, as GLoRIA does for five findings."""
    prompts_per_class: Count | None = None
    """How many prompts of a set are drawn for each class; none: all of them."""
    prompt_file: str | None = None
    """A file with sets of prompts that are taken in place of ours, e.g. GLoRIA's constants.py,
    which is read and never run; needs prompts=sets."""
    prompt_seed: Seed = 6
    """Seed by which prompts are drawn from `prompt_file`, in the way of the published code: 6 in
    GLoRIA, 42 in BenchX. Ours are drawn by the seed of the run."""
    prompt_hash: str = ""
    """What stands for the contents of `prompt_file` in a result; it is computed, not given."""
    similarity: Literal["method", "global", "local"] = "method"
    """The score of an image and a prompt: the encoder's own, the cosine of its two global
    embeddings, or its part over words (or sentences) and regions alone."""
    aggregate: Literal["mean", "max"] = "mean"
    """How the scores of a class's prompts become one; GLoRIA and BenchX take the maximum."""
    normalise_per_class: bool = False
    """Whether the scores of each class are made z-scores over all images scored together, as GLoRIA
    does: a prediction then depends on which other images are tested."""
    scale: Scale = 10.0
    """Factor by which scores become logits, before the softmax of exclusive classes and the
    temperature."""
    image_size: Side = 256
    """Side in pixels of the square that images are kept at; from it they are brought to the size
    that the encoder takes."""
    mode: Mode = "multiclass"
    """What the labels are to each other: binary for one label, multiclass where every image has
    exactly one, multilabel where it may have several. The task sets it; under benchx every class is
    decided by itself."""
    labels: tuple[str, ...] = ()
    """The labels that are scored, in their order. The task sets them: its own choice, else all of
    the dataset."""
    uncertain: tuple[str, ...] = ("zeros",)
    """What a label of -1 (uncertain) is taken for, as `label=policy`, or one policy for all: ones,
    zeros, or ignore, which leaves it out."""
    blank: Literal["zeros", "ignore"] = "zeros"
    """What a missing label is taken for: negative, or left out."""
    views: tuple[str, ...] = ()
    """Projections that are kept, e.g. PA,AP; nothing: all."""
    threshold: Threshold = "validation"
    """Where a score is cut to a decision: chosen per class on validation by `threshold_by`; half:
    at probability 0.5, which is also used where there are no validation images; test: at the one
    score for all classes with the best F1 on the test images themselves; test_per_class: the same
    for each class (BenchX). Exclusive classes are decided by the highest score whatever this
    says."""
    strict: Strict = "none"
    """Where a threshold chosen on the test images is itself the score of an image, whether that
    image is positive (none), negative in all decisions (all), or negative for accuracy alone
    (accuracy, BenchX)."""
    threshold_by: Literal["f1", "youden"] = "f1"
    """What a threshold chosen on validation makes highest: F1, or sensitivity + specificity - 1
    (Youden's J)."""
    calibration: Literal["temperature", "none"] = "temperature"
    """Whether scores are divided by a temperature fitted on validation (Guo et al. 2017) before
    they are called probabilities; ranking and decisions stay the same."""
    inference: str = later("whole")
    """How an image is looked at: whole, or multi_resolution, which encodes random crops beside it
    and has settings of its own (docs/zero_shot.md); a plug-in may add strategies."""
    subgroups: bool = True
    """Whether metrics are also given by sex, age band, view and scanner, where the dataset has
    them."""


def _gloria(settings: ZeroShotSettings) -> ZeroShotSettings:
    """GLoRIA 416466a. Its prompts are those of `prompt_file`; without one the words are ours, drawn
    by the cell's seed."""
    return dataclasses.replace(
        settings,
        prompts="sets",
        prompts_per_class=5,
        aggregate="max",
        normalise_per_class=True,
        calibration="none",
    )


def _benchx(settings: ZeroShotSettings) -> ZeroShotSettings:
    """BenchX b874fa6 develop, which decides every class by itself, at a threshold chosen on the
    images it scores.

    Its z-scores and thresholds are those of a batch (by default of 1,000 images, all of a 5x200
    set), ours of the whole test set. For its prompts see `_gloria`.
    """
    return dataclasses.replace(
        _gloria(settings),
        prompt_seed=42,
        similarity="global",
        mode="multilabel" if settings.mode == "multiclass" else settings.mode,
        threshold="test_per_class",
        strict="accuracy",
    )


def _default(settings: ZeroShotSettings) -> ZeroShotSettings:
    """Exclusive classes are compared with each other, others with their absence: a sentence on a
    finding is near many reports without it, which name it to deny it."""
    return (
        settings
        if settings.mode == "multiclass"
        else dataclasses.replace(settings, prompts="pairs")
    )


PRESETS: Mapping[str, Callable[[ZeroShotSettings], ZeroShotSettings]] = {
    "default": _default,
    "gloria": _gloria,
    "benchx": _benchx,
}
"""What each protocol changes in the settings of a task."""


def resolve(
    task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
) -> ZeroShotSettings:
    """Return the settings of `protocol` and `profile` for `task` with `overrides`; raise
    UnknownNameError on another protocol."""
    preset = preset_of(PRESETS, protocol, "zero_shot")(_settings_of(overrides)(**task_values(task)))
    if profile == "demo":
        preset = dataclasses.replace(preset, image_size=144)
    settings = override(preset, overrides)
    return dataclasses.replace(
        settings,
        uncertain=expand_policies(settings.uncertain, settings.labels),
        prompt_hash=_prompt_hash(settings),
    )


def _settings_of(overrides: Mapping[str, str]) -> type[ZeroShotSettings]:
    """Return the settings of the inference strategy; raise UnknownNameError where there is none of
    that name, and SettingError for a setting that another one has."""
    from tasks.zero_shot.inference import INFERENCES

    chosen = overrides.get("inference", "whole")
    settings: type[ZeroShotSettings] = settings_of("inference", INFERENCES, chosen, overrides)
    return settings


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
