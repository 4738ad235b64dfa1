"""Settings of a retrieval cell and the protocol presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from bench.contracts import Profile, TaskSpec
from bench.core.errors import UnknownNameError
from bench.core.registry import suggest
from bench.core.settings import CheckedSettings, Count, Length, Range, Side, override
from tasks.classification.settings import expand_policies


@dataclass(frozen=True)
class RetrievalSettings(CheckedSettings):
    """How images and reports are matched.

    `text`: which part of the report is used. `similarity`: method is the backbone's own score,
    global the cosine of its global embeddings, local its part over words and regions. `ks`: the
    cut-offs. `labels`: those by which an image counts as relevant (all equal) or as similar
    (overlap); without labels only an image's own report counts. `identical_as_one`: equal reports
    are one candidate. `batch` ranks within shuffled groups of that many images (BenchX) instead of
    the whole test set.
    """

    text: Literal["report", "impression", "findings"] = "report"
    similarity: Literal["method", "global", "local"] = "method"
    ks: Annotated[tuple[Count, ...], Length(1, 100)] = (1, 5, 10, 100)
    labels: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    identical_as_one: bool = True
    batch: Annotated[int, Range(2, 1_000_000)] | None = None
    image_size: Side = 256


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "gloria": {"text": "impression", "ks": (5, 10, 100)},
    "benchx": {"similarity": "global", "ks": (1, 5, 10), "batch": 8, "identical_as_one": False},
}
"""Per protocol, what differs from the class defaults. `gloria`: the paper's definition (its code
has none). `benchx`: b874fa6 develop, within batches of 8."""


def resolve(
    task: TaskSpec, protocol: str, profile: Profile, changes: Mapping[str, str]
) -> RetrievalSettings:
    """Return the settings of `protocol` and `profile` for `task` with `changes`; raise
    UnknownNameError on another protocol.

    `task.options`: `labels`, `uncertain`, `views`, `text`, `ks`.
    """
    if protocol not in PRESETS:
        raise UnknownNameError(
            f"unknown protocol '{protocol}' of retrieval.", suggest(protocol, PRESETS)
        )
    options = {key: task.options[key] for key in ("text", "ks") if key in task.options}
    options |= {key: tuple(task.options.get(key, ())) for key in ("labels", "views")}
    values = {**options, **PRESETS[protocol], **({"image_size": 144} if profile == "demo" else {})}
    settings = override(dataclasses.replace(RetrievalSettings(), **values), changes)
    words = settings.uncertain or _policies(task)
    return dataclasses.replace(
        settings, uncertain=expand_policies(words, settings.labels) if settings.labels else ()
    )


def _policies(task: TaskSpec) -> tuple[str, ...]:
    uncertain = task.options.get("uncertain", "zeros")
    return (
        (uncertain,)
        if isinstance(uncertain, str)
        else tuple(f"{name}={rule}" for name, rule in uncertain.items())
    )
