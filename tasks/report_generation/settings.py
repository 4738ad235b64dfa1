"""Settings of a report generation cell and the protocol presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from bench.contracts import Profile, TaskSpec
from bench.core.errors import SettingError, UnknownNameError
from bench.core.registry import suggest
from bench.core.settings import (
    CheckedSettings,
    Count,
    Decay,
    Dropout,
    Layers,
    Norm,
    Range,
    Rate,
    Share,
    Side,
    Width,
    override,
)

Cleaning = Literal["plain", "iu", "mimic"]


@dataclass(frozen=True)
class ReportSettings(CheckedSettings):
    """How reports are written and scored.

    Data: `text` is the part of the report that is generated, `images` how many images of a study
    are seen, `cleaning` how text becomes words (`cleaning.py`), `reference`: what is scored
    against, the *full* cleaned text, or as R2Gen does what is left of it after the vocabulary
    (`<unk>`) and the cut at `max_words` (with decoder=r2gen begin is one of them).

    Model: `decoder` transformer (pre-norm, positions on the patches), r2gen (Chen et al. 2020) or
    causal_lm (a prefix on the model in the folder `causal_lm`); `observations`: also the encoder's
    own extra tokens (PLACE's V-PORs): auto uses them where there are some. `encoder`: frozen
    (features are kept) or finetune. `vocabulary`: words of the training split that occur
    `min_count` times, or WordPiece with `pieces` pieces.

    Training: `epochs` passes, or with `updates` that many batches in all, validated `epochs` times:
    as much work for any amount of data.

    Decoding: `beam` 1 is greedy; a finished report's log-probability is divided by its length to
    the power `length_penalty`; `no_repeat_ngram` forbids an n-gram twice (0: off). Scores:
    `tokenizer` ptb (Java, as the captioning field) or cleaned (blanks of the cleaned text, as
    R2Gen); `uncertain`: whether an uncertain finding counts as named; `labeler` rules or chexbert
    (weights in `chexbert`). `show_text` keeps the texts of licensed data with the predictions and
    draws them.
    """

    text: Literal["findings", "impression", "report"] = "findings"
    images: Annotated[int, Range(1, 100)] = 1
    cleaning: Cleaning = "plain"
    reference: Literal["full", "decoded"] = "full"
    decoder: Literal["transformer", "r2gen", "causal_lm"] = "transformer"
    causal_lm: str = ""
    causal_lm_trained: bool = False
    observations: Literal["auto", "no"] = "auto"
    encoder: Literal["frozen", "finetune"] = "frozen"
    vocabulary: Literal["word", "wordpiece"] = "word"
    min_count: Count = 3
    pieces: Count = 3000
    width: Annotated[int, Range(4, 65_536, multiple_of=4)] = 512
    layers: Layers = 3
    encoder_layers: Annotated[int, Range(0, 128)] = 0
    heads: Annotated[int, Range(1, 1024)] = 8
    feedforward: Width = 2048
    dropout: Dropout = 0.1
    visual_dropout: Dropout = 0.0
    memory_slots: Annotated[int, Range(1, 1024)] = 3
    max_words: Annotated[int, Range(1, 10_000)] = 100
    beam: Annotated[int, Range(1, 1000)] = 3
    length_penalty: Annotated[float, Range(0, 10)] = 1.0
    no_repeat_ngram: Annotated[int, Range(0, 1000)] = 0
    decode_batch: Count = 32
    epochs: Count = 30
    updates: Count | None = None
    batch_size: Count = 16
    lr: Rate = 3e-4
    min_lr: Annotated[float, Range(0, 10)] = 0.0
    weight_decay: Decay = 0.01
    optimizer: Literal["adamw", "adam"] = "adamw"
    amsgrad: bool = False
    schedule: Literal["constant", "linear", "cosine", "plateau"] = "cosine"
    warmup: Share = 0.1
    clip: Norm = 1.0
    label_smoothing: Annotated[float, Range(0, 1, high_open=True)] = 0.0
    amp: Literal["off", "bf16", "fp16"] = "off"
    monitor: Literal["bleu4", "loss", "none"] = "bleu4"
    patience: Count | None = 10
    val_every: Count = 1
    tokenizer: Literal["ptb", "cleaned"] = "ptb"
    uncertain: Literal["positive", "negative"] = "positive"
    labeler: Literal["rules", "chexbert"] = "rules"
    chexbert: str = ""
    java_timeout: Annotated[int, Range(1, 1_000_000)] = 300
    show_text: bool = False
    image_size: Side = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise SettingError(
                f"width {self.width}, heads {self.heads}.", "width must be a multiple of heads."
            )
        if self.min_lr > self.lr:
            raise SettingError(
                f"min_lr {self.min_lr:g}, lr {self.lr:g}.", "The rate falls from lr to min_lr."
            )
        if self.no_repeat_ngram == 1:
            raise SettingError(
                f"no_repeat_ngram is {self.no_repeat_ngram}.",
                "0 turns it off; the shortest n-gram is 2.",
            )
        if self.words_read < 1:
            raise SettingError(
                f"max_words is {self.max_words} with decoder=r2gen, which counts begin among them.",
                "It must be at least 2.",
            )
        if self.schedule == "plateau" and self.monitor == "none":
            raise SettingError(
                "schedule=plateau with monitor=none.", "Name a monitor, or choose another schedule."
            )
        self._check_files()

    @property
    def words_read(self) -> int:
        """Return how many words of a report are read: R2Gen counts begin among `max_words`."""
        return self.max_words - (self.decoder == "r2gen")

    def _check_files(self) -> None:
        if self.decoder == "causal_lm" and not (self.causal_lm and Path(self.causal_lm).is_dir()):
            raise SettingError(
                f"causal_lm is '{self.causal_lm}', not a folder.",
                "Name a folder with config.json and weights.",
            )
        if self.labeler == "chexbert" and not Path(self.chexbert).is_file():
            raise SettingError(
                f"chexbert is '{self.chexbert}', not a file.",
                "Name CheXbert's checkpoint (chexbert.pth).",
            )
        if self.decoder == "causal_lm" and self.reference == "decoded":
            raise SettingError(
                "reference=decoded needs a vocabulary of the training split.", "Use reference=full."
            )


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "r2gen": {
        "reference": "decoded",
        "decoder": "r2gen",
        "observations": "no",
        "encoder_layers": 3,
        "feedforward": 512,
        "visual_dropout": 0.5,
        "max_words": 60,
        "length_penalty": 0.0,
        "epochs": 100,
        "lr": 1e-3,
        "min_lr": 1e-6,
        "weight_decay": 5e-5,
        "optimizer": "adam",
        "amsgrad": True,
        "schedule": "plateau",
        "warmup": 0.0,
        "tokenizer": "cleaned",
    },
}
"""Per protocol, what differs from the class defaults. `r2gen`: BenchX b874fa6, its R2Gen head
on a frozen encoder. Trigram blocking is off: the reference configures it and its beam search
does not use it. What differs from the reference stands in docs/protocols.md."""

DEMO: dict[str, Any] = {
    "width": 128, "layers": 2, "heads": 4, "feedforward": 256, "dropout": 0.0, "epochs": 12,
    "lr": 2e-3,
    "image_size": 144, "max_words": 70, "monitor": "none",
}  # fmt: skip
"""A small decoder first learns the language, then to look: the validation loss is best before it
does, when nearly all reports are the same. So the length of the training is fixed and nothing is
watched."""
DEMO_R2GEN: dict[str, Any] = {
    "width": 128,
    "encoder_layers": 1,
    "layers": 2,
    "feedforward": 128,
    "epochs": 12,
    "image_size": 144,
}


def resolve(
    task: TaskSpec, protocol: str, profile: Profile, changes: Mapping[str, str]
) -> ReportSettings:
    """Return the settings of `protocol` and `profile` for `task` with `changes`; raise
    UnknownNameError on another protocol.

    `task.options`: `text`, `images`.
    """
    if protocol not in PRESETS:
        raise UnknownNameError(
            f"unknown protocol '{protocol}' of report generation.", suggest(protocol, PRESETS)
        )
    options = {key: task.options[key] for key in ("text", "images") if key in task.options}
    small = (DEMO if protocol == "default" else DEMO_R2GEN) if profile == "demo" else {}
    return override(
        dataclasses.replace(ReportSettings(), **{**options, **PRESETS[protocol], **small}), changes
    )
