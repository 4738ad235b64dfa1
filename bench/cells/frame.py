"""What frames a table: the encoders that stand in every one, and the settings of the one that is
trained on the labels of the task. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from bench.contracts import BACKBONES, BackboneRequest, BackboneSpec, Profile, TaskKind
from bench.core.errors import NotApplicableError, SettingError
from bench.core.hashing import flatten
from bench.core.settings import override
from bench.training.settings import TrainingSettings


def framing() -> list[str]:
    """Return the encoders that frame every table: the floor, the ceiling, and an outsider where its
    weights are on this machine."""
    return [name for name, spec in BACKBONES.items() if spec.frame and is_here(spec)]


def ceilings() -> list[str]:
    """Return the rows whose encoder is trained with the head."""
    return [name for name, spec in BACKBONES.items() if spec.frame == "ceiling"]


def is_here(spec: BackboneSpec) -> bool:
    """Say whether the weights of an encoder are on this machine, or it reads none."""
    if spec.weights_file is None:
        return True
    weights = spec.weights_file(BackboneRequest("demo"))
    return weights is not None and weights.is_file()


def end_to_end_settings(
    kind: TaskKind, of_table: Any, protocol: str, profile: Profile, changes: Mapping[str, str]
) -> Any:
    """Return the settings of a row whose encoder is trained with the head: the kind's for a table
    of the settings `of_table`, then `changes`.

    Raise NotApplicableError where there is no such row, and SettingError for a change of what
    decides more than training.
    """
    if protocol != "default":
        raise NotApplicableError(f"protocol {protocol} prescribes how everything is trained.")
    settings = kind.end_to_end(of_table, profile)
    able = changeable(settings, of_table)
    for key in changes:
        if hasattr(settings, key) and key not in able:
            raise SettingError(
                f"setting '{key}' is one of the whole table.",
                f"One row alone can have another {', '.join(able)}.",
            )
    return override(settings, changes)


def changeable(settings: Any, of_table: Any) -> list[str]:
    """Return the settings that one row alone can have: those of training, and what its recipe
    sets."""
    of_training = {entry.name for entry in fields(TrainingSettings)}
    return sorted(of_training | set(recipe_of(settings, of_table)))


def recipe_of(settings: Any, of_table: Any) -> dict[str, Any]:
    """Return the settings of one row that are not those of its table."""
    common = flatten(of_table)
    return {
        name: value
        for name, value in flatten(settings).items()
        if name not in common or common[name] != value
    }
