"""Settings of a report generation cell and the protocol presets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from bench.contracts import Profile, TaskSpec
from bench.core.choices import settings_of
from bench.core.errors import NotApplicableError, SettingError
from bench.core.settings import (
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
    preset_of,
)
from bench.training.plan import TrainPlan
from bench.training.settings import HeadSettings

Cleaning = Literal["plain", "iu", "mimic"]
Text = Literal["findings", "impression", "report"]
Images = Annotated[int, Range(1, 100)]


@dataclass(frozen=True)
class ReportOptions:
    """What `TaskSpec.options` of a report generation task may hold."""

    text: Text = "findings"
    images: Images = 1


@dataclass(frozen=True)
class ReportSettings(HeadSettings):
    """How reports are written and scored; a decoder's own settings derive from these."""

    moved: ClassVar[Mapping[str, Any]] = {
        "causal_lm": "",
        "causal_lm_trained": False,
        "memory_slots": 3,
    }
    bare_patches: ClassVar[bool] = False
    """Whether the projected patches are what the decoder sees, without where they lie, which image
    they are of, or a norm before."""
    counts_begin: ClassVar[bool] = False
    """Whether the begin counts as one of `max_words`."""

    text: Text = "findings"
    """The part of the report that is written; the task sets it. Studies without it are left out and
    counted."""
    images: Images = 1
    """How many images of a study are seen, the first of the table; the task sets it."""
    cleaning: Cleaning = "plain"
    """How text becomes words: plain is ours (lower case, numbers whole, no punctuation but the full
    stop); iu and mimic are R2Gen's for IU X-Ray and MIMIC-CXR."""
    reference: Literal["full", "decoded"] = "full"
    """What is scored against: the full cleaned text, or (decoded, as R2Gen) what is left of it
    after the vocabulary, rare words as <unk>, and the cut at `max_words`."""
    decoder: str = "transformer"
    """Who writes: a transformer trained from scratch, that of R2Gen with its relational memory
    (Chen et al. 2020), a language model that gets the image as a prefix, or another one of
    `place-bench list choices`. Some have settings of their own; a plug-in may add others."""
    observations: Literal["auto", "no"] = "auto"
    """Whether the decoder also sees the tokens that an encoder has beside its patches, such as
    those of PLACE: auto where there are some."""
    encoder: Literal["frozen", "finetune"] = "frozen"
    """Whether the encoder stays as it was pre-trained and its features are kept, or a copy of it is
    trained with the decoder."""
    vocabulary: Literal["word", "wordpiece"] = "word"
    """What is written: whole words of the training reports, or WordPieces learned from them; a
    language model has its own."""
    min_count: Count = 3
    """How often a word must occur in the training reports to belong to the vocabulary word."""
    pieces: Count = 3000
    """Size of the vocabulary wordpiece."""
    width: Annotated[int, Range(4, 65_536, multiple_of=4)] = 512
    """Width of the decoder and of the image tokens it attends to; a multiple of `heads`."""
    layers: Layers = 3
    """Layers of the decoder."""
    encoder_layers: Annotated[int, Range(0, 128)] = 0
    """Transformer layers over the image tokens before the decoder; R2Gen has 3."""
    heads: Annotated[int, Range(1, 1024)] = 8
    """Attention heads of every layer."""
    feedforward: Width = 2048
    """Units between the two linear layers of a transformer block."""
    dropout: Dropout = 0.1
    """Share of units dropped in the layers of the decoder while it is trained."""
    visual_dropout: Dropout = 0.0
    """Share of units dropped in the projected image tokens while the decoder is trained; R2Gen has
    0.5."""
    max_words: Annotated[int, Range(1, 10_000)] = 100
    """Longest report in words (or pieces), in training and in writing; with decoder=r2gen the begin
    counts as one."""
    beam: Annotated[int, Range(1, 1000)] = 3
    """Hypotheses of the beam search; 1 is greedy."""
    length_penalty: Annotated[float, Range(0, 10)] = 1.0
    """Power of the length by which the log-probability of a finished report is divided: 0 prefers
    short reports, 1 compares means per word."""
    no_repeat_ngram: Annotated[int, Range(0, 1000)] = 0
    """Length of the word sequences that a report may not have twice; 0 for no such rule."""
    decode_batch: Count = 32
    """Studies written, or validated, together: it decides memory and speed alone."""
    epochs: Count = 30
    updates: Count | None = None
    """Training steps in all, shared out among the `epochs`, so that any amount of data gets as much
    work; none: every epoch is one pass over the studies."""
    lr: Rate = 3e-4
    min_lr: Annotated[float, Range(0, 10)] = 0.0
    """The learning rate that the schedule does not fall below."""
    weight_decay: Decay = 0.01
    optimizer: Literal["adamw", "adam"] = "adamw"
    """The optimiser, AdamW or Adam."""
    amsgrad: bool = False
    """Whether the optimiser keeps the largest second moment seen (AMSGrad, Reddi et al. 2018), as
    R2Gen does."""
    schedule: Literal["constant", "linear", "cosine", "plateau"] = "cosine"
    """How the learning rate goes on after the warm-up: constant; down to `min_lr` at the last step
    in a straight line or along a half cosine; or times 0.8 after two validations without a better
    `monitor` (plateau)."""
    warmup: Share = 0.1
    clip: Norm = 1.0
    """Norm at which the gradient of all weights together is cut."""
    label_smoothing: Annotated[float, Range(0, 1, high_open=True)] = 0.0
    """Share of the target probability that is spread over the whole vocabulary in the training
    loss."""
    monitor: Literal["bleu4", "loss", "none"] = "bleu4"
    """The validation figure whose best epoch is kept: BLEU-4 of written reports, or the loss; none
    keeps the last epoch."""
    val_every: Count = 1
    """Epochs from one validation to the next."""
    tokenizer: Literal["ptb", "cleaned"] = "ptb"
    """How texts are cut for BLEU, METEOR, ROUGE-L and CIDEr: by the Penn Treebank tokenizer, as the
    captioning field does (needs Java), or at the blanks of the cleaned text, as R2Gen does."""
    uncertain: Literal["positive", "negative"] = "positive"
    """Whether a finding that a report calls possible counts as named in the clinical scores."""
    labeler: Literal["rules", "chexbert"] = "rules"
    """What finds the 14 observations of a report: rules of our own, or CheXbert (Smit et al. 2020)
    with the weights in `chexbert`."""
    chexbert: str = ""
    """CheXbert's weights file (chexbert.pth), with BERT's vocab.txt beside it."""
    java_timeout: Annotated[int, Range(1, 1_000_000)] = 300
    """Seconds that the Java programs (tokenizer, METEOR) may take."""
    show_text: bool = False
    """Whether texts of licensed reports are kept with the predictions and drawn; those of rendered
    data always are."""
    image_size: Side = 256
    """Side in pixels of the square that images are kept at; from it they are brought to the size
    that the encoder takes."""

    def plan(self, seed: int) -> TrainPlan:
        """Return what the trainer carries out."""
        return dataclasses.replace(
            super().plan(seed),
            steps_per_epoch=math.ceil(self.updates / self.epochs) if self.updates else None,
            optimizer=self.optimizer,
            min_lr=self.min_lr,
            amsgrad=self.amsgrad,
            schedule=self.schedule,
            clip=self.clip,
            monitor=None if self.monitor == "none" else self.monitor,
            mode="min" if self.monitor == "loss" else "max",
            val_every=self.val_every,
        )

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
                f"max_words is {self.max_words} with decoder={self.decoder}, which counts begin "
                "among them.",
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
        return self.max_words - self.counts_begin

    def _check_files(self) -> None:
        if self.labeler == "chexbert" and not Path(self.chexbert).is_file():
            raise SettingError(
                f"chexbert is '{self.chexbert}', not a file.",
                "Name CheXbert's checkpoint (chexbert.pth).",
            )


def end_to_end(settings: ReportSettings, profile: Profile) -> ReportSettings:
    """Return the recipe of the row that is trained end to end, in a table of `settings`. Raise
    NotApplicableError where every encoder is trained."""
    if settings.encoder == "finetune":
        raise NotApplicableError(
            "encoder=finetune trains every encoder, and `random` is the one without pre-training."
        )
    return dataclasses.replace(settings, encoder="finetune")


def _r2gen(settings: ReportSettings) -> ReportSettings:
    """BenchX b874fa6, its R2Gen head on a frozen encoder (Chen et al. 2020).

    Trigram blocking is off: the reference configures it and its beam search does not use it. What
    differs from the reference is listed in docs/protocols.md.
    """
    return dataclasses.replace(
        settings,
        reference="decoded",
        decoder="r2gen",
        observations="no",
        encoder_layers=3,
        feedforward=512,
        visual_dropout=0.5,
        max_words=60,
        length_penalty=0.0,
        epochs=100,
        lr=1e-3,
        min_lr=1e-6,
        weight_decay=5e-5,
        optimizer="adam",
        amsgrad=True,
        schedule="plateau",
        warmup=0.0,
        tokenizer="cleaned",
    )


def _demo(settings: ReportSettings) -> ReportSettings:
    """A small decoder for the demo.

    It first learns the language, then to look: the validation loss is best before it does, when
    nearly all reports are the same. So the length of the training is fixed and nothing is watched.
    """
    return dataclasses.replace(
        settings,
        width=128,
        layers=2,
        heads=4,
        feedforward=256,
        dropout=0.0,
        epochs=12,
        lr=2e-3,
        image_size=144,
        max_words=70,
        monitor="none",
    )


def _r2gen_demo(settings: ReportSettings) -> ReportSettings:
    """R2Gen made small and short for the demo."""
    return dataclasses.replace(
        _r2gen(settings),
        width=128,
        encoder_layers=1,
        layers=2,
        feedforward=128,
        epochs=12,
        image_size=144,
    )


def _as_it_is(settings: ReportSettings) -> ReportSettings:
    return settings


PRESETS: Mapping[str, Mapping[Profile, Callable[[ReportSettings], ReportSettings]]] = {
    "default": {"paper": _as_it_is, "demo": _demo},
    "r2gen": {"paper": _r2gen, "demo": _r2gen_demo},
}
"""What each protocol and profile changes in the settings of a task."""


def resolve(
    task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
) -> ReportSettings:
    """Return the settings of `protocol` and `profile` for `task` with `overrides`; raise
    UnknownNameError on another protocol.

    `task.options`: `text`, `images`.
    """
    options = {key: task.options[key] for key in ("text", "images") if key in task.options}
    preset = preset_of(PRESETS, protocol, "report generation")[profile]
    chosen = overrides.get("decoder", preset(ReportSettings(**options)).decoder)
    return override(preset(_settings_of(chosen, overrides)(**options)), overrides)


def _settings_of(chosen: str, overrides: Mapping[str, str]) -> type[ReportSettings]:
    """Return the settings of a decoder; raise UnknownNameError where there is none of that name,
    and SettingError for a setting that another one has."""
    from tasks.report_generation.decoders import DECODERS

    settings: type[ReportSettings] = settings_of("decoder", DECODERS, chosen, overrides)
    return settings
