"""Settings of a grounding cell and its presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench.contracts import DATASETS, Profile, RegionSource, TaskSpec
from bench.core.settings import CheckedSettings, Side, override, preset_of

Target = Literal["label", "sentence", "phrase"]


@dataclass(frozen=True)
class GroundingOptions:
    """What `TaskSpec.options` of a grounding task may hold."""

    target: Target = "label"
    source: RegionSource = "box"
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroundingSettings(CheckedSettings):
    """What is asked for, and which regions answer."""

    target: Target = "label"
    """What is asked for: label, a finding, said as `prompts` has it; sentence, the sentences of the
    report; phrase, the words that a region comes with. The task sets it."""
    source: RegionSource = "box"
    """Which regions answer: boxes, masks or gaze. The task sets it."""
    labels: tuple[str, ...] = ()
    """The labels whose regions count. The task sets them: its own choice, else all that the dataset
    names boxes or masks of; nothing: every label that regions have."""
    prompts: Literal["single", "ensemble"] = "single"
    """What a label is asked by: single, one sentence; ensemble, six, whose maps are averaged."""
    image_size: Side = 256
    """Side in pixels of the square that images are kept at; from it they are brought to the size
    that the encoder takes."""


PRESETS: Mapping[str, GroundingSettings] = {"default": GroundingSettings()}


def resolve(
    task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
) -> GroundingSettings:
    """Return the settings of `protocol` and `profile` for `task` with `overrides`; raise
    UnknownNameError on another protocol."""
    preset = dataclasses.replace(preset_of(PRESETS, protocol, "grounding"), **task.options)
    if profile == "demo":
        preset = dataclasses.replace(preset, image_size=144)
    if preset.target == "label" and not preset.labels:
        preset = dataclasses.replace(preset, labels=_labels(task, preset.source))
    return override(preset, overrides)


def _labels(task: TaskSpec, source: RegionSource) -> tuple[str, ...]:
    dataset = DATASETS.get(task.dataset)
    return dataset.mask_classes if source == "mask" else dataset.box_classes
