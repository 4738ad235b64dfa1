"""Settings that every pre-training method has: sizes and recipe, per profile. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, TypeVar

from bench.contracts import Profile
from bench.core.errors import SettingError
from bench.core.settings import (
    CheckedSettings,
    Count,
    Decay,
    Dropout,
    Inside,
    Layers,
    Norm,
    Range,
    Rate,
    Scale,
    Share,
    Width,
    override,
)

S = TypeVar("S", bound="MethodSettings")


@dataclass(frozen=True)
class MethodSettings(CheckedSettings):
    """The recipe of the paper profile, that of MGCA's code (680fe4a); `DEMO` holds what the
    demo profile changes.

    `text_model` is the folder of a BERT whose first `text_layers` layers are used; none trains an
    encoder of `text_width` from the reports, with a vocabulary of `vocabulary` pieces learnt from
    them.

    `batch_size` is the batch of one step over all processes; `accumulate` such batches make one
    update, each with its own negatives. `ema` is the decay of the weights' moving average, which
    then is what is validated and kept. `monitor` names the validation figure (rank, recall_1,
    recall_5) whose best weights are kept (none: the last), `patience` how many validations without
    improvement end the training. `recompute` trades time for memory: the activations of blocks are
    computed again in the backward pass. `compile` passes both encoders through torch.compile
    (minutes at the start; a C++ compiler is needed).
    """

    epochs: Count = 50
    batch_size: Annotated[int, Range(2, 1_000_000)] = 144
    lr: Rate = 2e-5
    weight_decay: Decay = 0.05
    warmup: Share = 0.4
    clip: Norm | None = None
    amp: Literal["off", "bf16", "fp16"] = "bf16"
    accumulate: Count = 1
    ema: Inside | None = None
    monitor: str | None = None
    patience: Count | None = None
    recompute: bool = False
    compile: bool = False
    embed_dim: Width = 128
    projection_hidden: Width = 2048
    tau1: Scale = 0.07
    text_model: str | None = "Bio_ClinicalBERT"
    text_layers: Layers = 6
    text_width: Annotated[int, Range(32, 8192, multiple_of=32)] = 768
    text_dropout: Dropout = 0.1
    text_pooling: Literal["mean", "cls"] = "mean"
    vocabulary: Annotated[int, Range(10, 1_000_000)] = 4000
    max_tokens: Annotated[int, Range(3, 512)] = 112
    max_sentences: Annotated[int, Range(1, 512)] = 12
    min_words: Annotated[int, Range(0, 512)] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = {each.name: getattr(self, each.name) for each in fields(self)}
        shares = {name: value for name, value in weights.items() if name.startswith("lambda_")}
        if shares and not any(shares.values()):
            raise SettingError(
                f"{', '.join(shares)} are all 0: nothing is learnt.",
                "Give one of them a value above 0.",
            )


DEMO: Mapping[str, Any] = {
    "epochs": 6,
    "batch_size": 64,
    "lr": 1e-3,
    "warmup": 0.1,
    "clip": 1.0,
    "amp": "off",
    "projection_hidden": 512,
    "text_model": None,
    "text_layers": 3,
    "text_width": 128,
    "text_dropout": 0.0,
    "vocabulary": 2000,
}


def resolve_settings(
    settings_type: type[S],
    profile: Profile,
    changes: Mapping[str, str],
    demo: Mapping[str, Any] | None = None,
) -> S:
    """Return settings in a profile with `key=value` changes; raise SettingError on an unknown key.

    `demo` is what the method changes in the demo profile beside `DEMO`; None: what stands in the
    class attribute `demo`, as in settings of before there was `@method`.
    """
    names = {field.name for field in fields(settings_type)}
    of_method = getattr(settings_type, "demo", {}) if demo is None else demo
    values = {**DEMO, **of_method} if profile == "demo" else {}
    base = {key: value for key, value in values.items() if key in names}
    return override(settings_type(**base), changes)
