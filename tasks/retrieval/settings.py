"""Settings of a retrieval cell and the protocol presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from bench.contracts import Profile, TaskSpec
from bench.core.settings import (
    CheckedSettings,
    Count,
    Length,
    Range,
    Side,
    later,
    override,
    preset_of,
)
from tasks.labelling.policies import expand_policies
from tasks.labelling.settings import Policy

Text = Literal["report", "impression", "findings"]
Cuts = Annotated[tuple[Count, ...], Length(1, 100)]


@dataclass(frozen=True)
class RetrievalOptions:
    """What `TaskSpec.options` of a retrieval task may hold; `uncertain` is one policy for labels of
    -1, or {class: policy}."""

    labels: tuple[str, ...] = ()
    uncertain: Policy | Mapping[str, Policy] = "zeros"
    views: tuple[str, ...] = ()
    text: Text = "report"
    ks: Cuts = (1, 5, 10, 100)


@dataclass(frozen=True)
class RetrievalSettings(CheckedSettings):
    """How images and reports are matched."""

    text: Text = "report"
    """The part of the report that images are matched with; images without it are left out and
    counted."""
    similarity: Literal["method", "global", "local"] = "method"
    """The score of an image and a report: the encoder's own, the cosine of its two global
    embeddings, or its part over words (or sentences) and regions alone."""
    ks: Cuts = (1, 5, 10, 100)
    """How many of the first candidates the metrics look at: the K of r@K, p@K, hit@K and ndcg@K."""
    labels: tuple[str, ...] = ()
    """Labels by which a candidate counts as relevant (all equal: p@K, hit@K) or as similar (their
    overlap: ndcg@K); nothing: an image's own report alone counts. The task sets them."""
    uncertain: tuple[str, ...] = ()
    """What a label of -1 (uncertain) is taken for, as `label=policy`, or one policy for all: ones
    or zeros, and ignore, which is zeros here; nothing: what the task says, else zeros."""
    views: tuple[str, ...] = ()
    """Projections that are kept, e.g. PA,AP; nothing: all."""
    identical_as_one: bool = True
    """Whether reports that are equal but for capitals and blanks are one candidate, which belongs
    to all their images; false: each is a candidate of its own (BenchX)."""
    batch: Annotated[int, Range(2, 1_000_000)] | None = None
    """Rank within groups of that many images, shuffled by the seed, as BenchX does (8); none: among
    the whole test set."""
    attributes: bool = later(False)
    """Whether metrics are added that ask if the score follows what two studies have in common:
    findings, severity and side (`attr_rho`, `attr_ndcg@10`, `attr_rho_within`)."""
    image_size: Side = 256
    """Side in pixels of the square that images are kept at; from it they are brought to the size
    that the encoder takes."""


def _gloria(settings: RetrievalSettings) -> RetrievalSettings:
    """GLoRIA's paper; its code has no retrieval."""
    return dataclasses.replace(settings, text="impression", ks=(5, 10, 100))


def _benchx(settings: RetrievalSettings) -> RetrievalSettings:
    """BenchX b874fa6 develop, within batches of 8."""
    return dataclasses.replace(
        settings, similarity="global", ks=(1, 5, 10), batch=8, identical_as_one=False
    )


def _as_it_is(settings: RetrievalSettings) -> RetrievalSettings:
    return settings


PRESETS: Mapping[str, Callable[[RetrievalSettings], RetrievalSettings]] = {
    "default": _as_it_is,
    "gloria": _gloria,
    "benchx": _benchx,
}
"""What each protocol changes in the settings of a task."""


def resolve(
    task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
) -> RetrievalSettings:
    """Return the settings of `protocol` and `profile` for `task` with `overrides`; raise
    UnknownNameError on another protocol.

    `task.options`: `labels`, `uncertain`, `views`, `text`, `ks`.
    """
    preset = preset_of(PRESETS, protocol, "retrieval")(RetrievalSettings(**_task_values(task)))
    if profile == "demo":
        preset = dataclasses.replace(preset, image_size=144)
    settings = override(preset, overrides)
    words = settings.uncertain or _policies(task)
    return dataclasses.replace(
        settings, uncertain=expand_policies(words, settings.labels) if settings.labels else ()
    )


def _task_values(task: TaskSpec) -> dict[str, Any]:
    """Return what the options of a task set."""
    options = {key: task.options[key] for key in ("text", "ks") if key in task.options}
    return options | {key: tuple(task.options.get(key, ())) for key in ("labels", "views")}


def _policies(task: TaskSpec) -> tuple[str, ...]:
    uncertain = task.options.get("uncertain", "zeros")
    return (
        (uncertain,)
        if isinstance(uncertain, str)
        else tuple(f"{name}={rule}" for name, rule in uncertain.items())
    )
