"""Settings that every pre-training method has: sizes and recipe, per profile. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, TypeVar

from bench.contracts import Annotation, Profile
from bench.core.errors import SettingError
from bench.core.settings import (
    Count,
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
from bench.data.annotations import Reports
from bench.training.plan import TrainPlan
from bench.training.settings import TrainingSettings

S = TypeVar("S", bound="MethodSettings")


@dataclass(frozen=True)
class MethodSettings(TrainingSettings):
    """What every method is trained with. The values are the recipe of the paper profile, that of
    MGCA's code (680fe4a); `DEMO` holds what the demo profile changes."""

    batch_size: Annotated[int, Range(2, 1_000_000)] = 144
    """Pairs of one training step over all processes together; each pair's negatives are the others
    of its batch."""
    lr: Rate = 2e-5
    warmup: Share = 0.4
    clip: Norm | None = None
    """Norm at which the gradient of all weights together is cut; none: it is not."""
    amp: Literal["off", "bf16", "fp16"] = "bf16"
    accumulate: Count = 1
    """Batches whose gradients make one update of the weights; each has its own negatives."""
    ema: Inside | None = None
    """Decay of a moving average of the weights, which then is what is validated and kept; none: the
    weights themselves."""
    monitor: str | None = None
    """The retrieval figure on validation studies whose best epoch is kept: rank, recall_1 or
    recall_5; none keeps the last epoch."""
    patience: Count | None = None
    recompute: bool = False
    """Whether activations inside blocks are computed again in the backward pass: less memory, more
    time, the same gradients (BatchNorm's statistics still move once)."""
    compile: bool = False
    """Whether both encoders go through torch.compile: minutes at the start, then faster; needs a
    C++ compiler."""
    embed_dim: Width = 128
    """Dimensions of the space in which images and texts are compared."""
    projection_hidden: Width = 2048
    """Units of the hidden layer of the projection heads that lead there."""
    tau1: Scale = 0.07
    """Temperature of the contrast of whole images with whole reports (InfoNCE)."""
    text_model: str | None = "Bio_ClinicalBERT"
    """Folder of the BERT that reads the reports (Hugging Face: config.json, vocab.txt, weights);
    none: a small encoder is trained from the reports."""
    text_layers: Layers = 6
    """Layers of the text encoder; of a BERT the first so many."""
    text_width: Annotated[int, Range(32, 8192, multiple_of=32)] = 768
    """Width of a text encoder trained from the reports; a BERT has its own."""
    text_dropout: Dropout = 0.1
    """Share of units dropped in a text encoder trained from the reports; a BERT has its own."""
    text_pooling: Literal["mean", "cls"] = "mean"
    """What stands for the whole report: the mean of its token states, or the state of [CLS]. GLoRIA
    takes the mean of its words whatever this says."""
    vocabulary: Annotated[int, Range(10, 1_000_000)] = 4000
    """Most pieces of the WordPiece vocabulary that is learned from the reports where there is no
    `text_model`."""
    max_tokens: Annotated[int, Range(3, 512)] = 112
    """Tokens at which a report is cut."""
    max_sentences: Annotated[int, Range(1, 512)] = 12
    """Sentences of a report that are units of their own; the text of later ones is still read."""
    min_words: Annotated[int, Range(0, 512)] = 2
    """Words that a sentence must have to be a unit of its own; the text of shorter ones is still
    read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = {field.name: getattr(self, field.name) for field in fields(self)}
        shares = {name: value for name, value in weights.items() if name.startswith("lambda_")}
        if shares and not any(shares.values()):
            raise SettingError(
                f"{', '.join(shares)} are all 0: nothing is learnt.",
                "Give one of them a value above 0.",
            )

    def needs(self) -> tuple[Annotation[Any], ...]:
        """Return the annotations that a method learns from beside images: reports, unless its
        settings say more, such as `(Reports(), Regions())`."""
        return (Reports(),)

    def reads(self) -> Any:
        """Return what a training reads beside data and settings, as JSON values, e.g. the content
        of a file that a setting names: it is part of the checkpoint's key. None, as by default:
        nothing. Raise PlaceBenchError for what cannot be read."""
        return None

    def saw(self, declared: tuple[str, ...]) -> tuple[str, ...]:
        """Return which of the `supervision` in the method's declaration a training with these
        settings has; by default all."""
        return declared

    @property
    def region_fraction(self) -> float:
        """Share of the images that keep their regions, where the method needs these."""
        return 1.0

    def plan(self, seed: int) -> TrainPlan:
        """Return what the trainer carries out. A method whose settings say more about the training,
        such as a schedule, replaces that in it."""
        return replace(
            super().plan(seed),
            clip=self.clip,
            accumulate=self.accumulate,
            ema=self.ema,
            monitor=self.monitor,
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
    "text_layers": 2,
    "text_width": 128,
    "text_dropout": 0.0,
    "vocabulary": 2000,
}
"""What the demo profile changes for every method: two cores, small encoders, a text encoder trained
from the reports."""
override(MethodSettings(), DEMO)  # a wrong name or value stops here, not in somebody's training


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
