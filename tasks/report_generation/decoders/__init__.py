"""Decoders: who writes a report.

Each is one file: a module of this folder, or a plug-in, with a function under `@decoder`. Modules
here import nothing heavy at their top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.contracts import Body
from bench.contracts.strategies import strategy_faults
from bench.core.errors import PlaceBenchError
from bench.core.registry import Registry
from tasks.report_generation.settings import ReportSettings

B = TypeVar("B", bound=Callable[..., Any])
LEARNT = Body("tasks.report_generation.vocabulary:learn_vocabulary")
"""The words of the training reports, or WordPieces learnt from them."""


@dataclass(frozen=True)
class Decoder:
    """Declaration of one decoder, chosen by `decoder=NAME`.

    `build(visual, vocabulary, settings)` returns a torch module (`tasks.report_generation.decoding.
    Reporter`): `losses(batch)` for training, `start` and `step` for the search. `visual` is a
    `VisualMemory`: called with a batch, it gives the visual tokens; it is to be a part of the
    module. `vocabulary(texts, settings)` gives the vocabulary; `settings` are the kind's with those
    of the decoder beside.
    """

    title: str
    build: Callable[..., Any]
    settings: type[ReportSettings] = ReportSettings
    vocabulary: Callable[..., Any] = LEARNT


def _faults(name: str, declared: Decoder) -> Iterable[PlaceBenchError]:
    return strategy_faults(
        f"decoder '{name}'",
        declared,
        Decoder,
        "Write @decoder(name, settings, title).",
        settings=ReportSettings,
        functions=("build", "vocabulary"),
    )


DECODERS: Registry[Decoder] = Registry("decoder", check=_faults)


def decoder(
    name: str,
    settings: type[ReportSettings] = ReportSettings,
    *,
    title: str,
    vocabulary: Callable[..., Any] = LEARNT,
) -> Callable[[B], B]:
    """Register the function below as what builds decoder `name`."""

    def register(build: B) -> B:
        DECODERS.add(name, Decoder(title, build, settings, vocabulary))
        return build

    return register
