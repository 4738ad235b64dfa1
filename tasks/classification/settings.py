"""Settings of a classification cell and the protocol presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from bench.contracts import Profile, TaskSpec
from bench.core.choices import settings_of
from bench.core.errors import NotApplicableError, SettingError
from bench.core.settings import (
    Betas,
    Count,
    Decay,
    Length,
    Norm,
    Range,
    Side,
    later,
    override,
    preset_of,
)
from bench.training.plan import TrainPlan
from bench.training.settings import HeadSettings
from tasks.labelling.policies import expand_policies, task_values
from tasks.labelling.settings import Mode, Strict, Threshold

Penalties = Annotated[tuple[Annotated[float, Range(0, 1e12, low_open=True)], ...], Length(1, 1000)]
PENALTIES = tuple(10.0 ** (power / 2) for power in range(-10, 7))
BY_STEPS = ("linear", "finetune")
"""Heads that are trained by gradient steps."""


@dataclass(frozen=True)
class ClassificationSettings(HeadSettings):
    """How a classifier is trained and read out."""

    head: Literal["logistic", "ridge", "knn", "linear", "finetune"] = "logistic"
    """The classifier: logistic or ridge regression or k nearest neighbours on the kept features of
    the frozen encoder, solved exactly with a penalty or k chosen on validation; linear is one layer
    trained by gradient steps, as the published probes are; finetune trains a copy of the encoder
    with it, under the protocol default by a recipe of its own."""
    image_size: Side = 256
    """Side in pixels of the square that images are kept at; from it they are brought to the size
    that the encoder takes."""
    mode: Mode = "binary"
    """What the labels are to each other: binary for one label, multiclass where every image has
    exactly one, multilabel where it may have several. The task sets it."""
    labels: tuple[str, ...] = ()
    """The labels that are learned and scored, in their order. The task sets them: its own choice,
    else all of the dataset."""
    uncertain: tuple[str, ...] = ("zeros",)
    """What a label of -1 (uncertain) is taken for, as `label=policy`, or one policy for all: ones,
    zeros, or ignore, which neither trains on it nor scores it."""
    blank: Literal["zeros", "ignore"] = "zeros"
    """What a missing label is taken for: negative, or neither trained on nor scored."""
    views: tuple[str, ...] = ()
    """Projections that are kept, e.g. PA,AP, in training, validation and test; nothing: all."""
    shots: Count | None = None
    """Training images kept per class (few-shot), drawn by the seed, of several labels also of the
    images without any; none: all of the label fraction."""
    penalties: Penalties = PENALTIES
    """L2 penalties that logistic and ridge choose from; the loss is a mean over images, so that one
    value means the same for any number of them."""
    selection: Literal["best", "one_se"] = "best"
    """How penalty or k is chosen on validation, for each class: the highest AUROC, or the strongest
    penalty within one standard error of it (Breiman et al. 1984)."""
    neighbours: Annotated[tuple[Count, ...], Length(1, 1000)] = (1, 5, 10, 20, 50)
    """Numbers of neighbours that knn chooses from."""
    threshold: Threshold = "validation"
    """Where a score is cut to a decision: chosen per class on validation by `threshold_by`; half:
    at probability 0.5; test: at the one score for all classes with the best F1 on the test images
    themselves (BenchX); test_per_class: the same for each class. Exclusive classes are decided by
    the highest score whatever this says."""
    strict: Strict = "none"
    """Where a threshold chosen on the test images is itself the score of an image, whether that
    image is positive (none), negative in all decisions (all, BenchX), or negative for accuracy
    alone (accuracy, BenchX's zero-shot)."""
    threshold_by: Literal["f1", "youden"] = "f1"
    """What a threshold chosen on validation makes highest: F1, or sensitivity + specificity - 1
    (Youden's J)."""
    calibration: Literal["temperature", "none"] = "temperature"
    """Whether scores are divided by a temperature fitted on validation (Guo et al. 2017) before
    they are called probabilities; ranking and decisions stay the same."""
    subgroups: bool = True
    """Whether metrics are also given by sex, age band, view and scanner, where the dataset has
    them."""
    augment: Literal["none", "crop", "jitter", "resized_crop"] = "none"
    """How training images are changed where the head is linear or finetune: crop cuts a window of
    the encoder's size at random (MGCA, GLoRIA); jitter also changes brightness and contrast, blurs
    and mirrors (MGCA on CheXpert); resized_crop cuts 8% to 100% of the area, scales it and mirrors
    (BenchX)."""
    batchnorm: Literal["eval", "train"] = "eval"
    """How the BatchNorm layers of a frozen encoder run while a linear head is trained: with their
    kept statistics, or with those of each batch (train, GLoRIA). A fine-tuned encoder always runs
    them in training mode."""
    batch_size: Count = 48
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """The optimiser of linear and finetune: AdamW, Adam, or SGD with momentum 0.9."""
    betas: Betas = (0.9, 0.999)
    """Decay rates of the two running means of Adam and AdamW; GLoRIA's first is 0.5."""
    weight_decay: Decay = 1e-6
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate goes on after the warm-up: constant, or down to 0 at the last step in a
    straight line or along a half cosine."""
    warmup_from_zero: bool = False
    """Whether the first step of the warm-up has learning rate 0 (BenchX) rather than the first
    fraction of `lr`."""
    clip: Norm | None = None
    """Norm at which the gradient of all weights together is cut; none: it is not."""
    monitor: Literal["loss", "auroc", "none"] = "loss"
    """The validation figure whose best epoch is kept, loss or mean AUROC; none keeps the last
    epoch."""
    steps_per_epoch: Count | None = later(None)  # noqa: RUF009 - a field, made once
    """Training steps of one epoch of linear and finetune; none: one pass over the training
    images."""
    val_every: Count = 1
    """Epochs from one validation to the next."""
    drop_last_val: bool = False
    """Whether the validation loss leaves out an incomplete last batch, as MGCA's does."""
    regularizer: str = later("none")
    """What is added to the loss of linear and finetune: none, or ppi, which masks salient and
    random pixels and has settings of its own (docs/classification.md); a plug-in may add others."""
    saliency: Literal["gradx", "cam"] = later("gradx")
    """How it is said which pixels a score of linear or finetune hangs on: gradx, its gradient times
    the pixel; cam, Grad-CAM on the last map of the encoder that the score depends on."""
    saliency_metrics: bool = later(False)
    """Whether the saliency of linear and finetune is measured on the test images: deletion and
    insertion, and where it lies, which needs masks or boxes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head in BY_STEPS:
            return
        for name, unset in (("regularizer", "none"), ("saliency_metrics", False)):
            value = getattr(self, name)
            if value != unset:
                raise SettingError(
                    f"{name} is {str(value).lower()} and head is {self.head}, which sees no "
                    "pixels.",
                    f"Use head=finetune or head=linear, or leave {name} out.",
                )

    def plan(self, seed: int) -> TrainPlan:
        """Return what the trainer carries out."""
        return dataclasses.replace(
            super().plan(seed),
            steps_per_epoch=self.steps_per_epoch,
            optimizer=self.optimizer,
            betas=self.betas,
            schedule=self.schedule,
            warmup_from_zero=self.warmup_from_zero,
            clip=self.clip,
            monitor=None if self.monitor == "none" else self.monitor,
            mode="min" if self.monitor == "loss" else "max",
            val_every=self.val_every,
        )

    @property
    def cached(self) -> bool:
        """Return whether the head sees kept features only: nothing of the encoder or of its input
        changes while it is trained."""
        changes = self.augment != "none" or self.batchnorm == "train" or self.regularizer != "none"
        return self.head != "finetune" and not (self.head == "linear" and changes)


def _finetuned(settings: ClassificationSettings) -> ClassificationSettings:
    """What `head=finetune` changes under the protocol default."""
    return dataclasses.replace(
        settings,
        augment="crop",
        lr=1e-4,
        weight_decay=0.05,
        schedule="cosine",
        warmup=0.1,
        clip=1.0,
        epochs=30,
        batch_size=64,
        monitor="auroc",
    )


def end_to_end(settings: ClassificationSettings, profile: Profile) -> ClassificationSettings:
    """Return the recipe of the row that is trained end to end, in a table of `settings`: that of
    head=finetune with the higher rate that random weights need. Raise NotApplicableError where
    every encoder is fine-tuned."""
    if settings.head == "finetune":
        raise NotApplicableError(
            "head=finetune trains every encoder, and `random` is the one without pre-training."
        )
    recipe = dataclasses.replace(_finetuned(settings), head="finetune", lr=1e-3, amp="off")
    if profile == "paper":
        return dataclasses.replace(recipe, epochs=60)
    return dataclasses.replace(recipe, epochs=12, steps_per_epoch=30, patience=4)


def _mgca(settings: ClassificationSettings) -> ClassificationSettings:
    """MGCA 680fe4a; its validation loss leaves out the last batch where it is incomplete."""
    return dataclasses.replace(
        settings, head="linear", augment="crop", monitor="loss", drop_last_val=True
    )


def _gloria(settings: ClassificationSettings) -> ClassificationSettings:
    """GLoRIA 416466a: BatchNorm of the frozen encoder runs in training mode, and the last weights
    are tested."""
    return dataclasses.replace(
        settings,
        head="linear",
        augment="crop",
        batchnorm="train",
        optimizer="adam",
        betas=(0.5, 0.999),
        lr=1e-4,
        batch_size=64,
        clip=0.25,
        amp="fp16",
        monitor="none",
        patience=None,
    )


def _benchx(settings: ClassificationSettings) -> ClassificationSettings:
    """BenchX b874fa6.

    A task names its own rate, optimiser and batch in `TaskSpec.presets` (tuned by hand per method
    and dataset). Several labels are cut at one threshold chosen on the test images, one label and
    exclusive classes at the higher of the two or more outputs; the cosine ends at 0 with the last
    epoch, where the reference's rises again.
    """
    return dataclasses.replace(
        settings,
        head="finetune",
        uncertain=("zeros",),
        augment="resized_crop",
        optimizer="adam",
        lr=1e-4,
        weight_decay=0.0,
        schedule="cosine",
        warmup=0.017,
        warmup_from_zero=True,
        threshold="test" if settings.mode == "multilabel" else "half",
        strict="all",
        clip=1.0,
        amp="fp16",
        batch_size=64,
        epochs=200,
        val_every=5,
        monitor="auroc",
    )


def _short(settings: ClassificationSettings) -> ClassificationSettings:
    """A training by gradient steps made short for the demo."""
    return dataclasses.replace(settings, image_size=144, epochs=5, amp="off", val_every=1)


def _as_it_is(settings: ClassificationSettings) -> ClassificationSettings:
    return settings


PRESETS: Mapping[str, Callable[[ClassificationSettings], ClassificationSettings]] = {
    "default": _as_it_is,
    "mgca": _mgca,
    "gloria": _gloria,
    "benchx": _benchx,
}
"""What each protocol changes in the settings of a task, in the paper profile; `resolve` adds what
the demo profile changes."""


def resolve(
    task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
) -> ClassificationSettings:
    """Return the settings of `protocol` and `profile` for `task` with `overrides`; raise
    UnknownNameError on another protocol.

    `task.options`: `labels` (default: the dataset's), `mode`, `uncertain` ({class: policy} or one
    policy), `views`.
    """
    change = preset_of(PRESETS, protocol, "classification")
    stated = _settings_of(overrides)(**task_values(task))
    if "mode" in overrides:  # what a protocol does may depend on it
        stated = override(stated, {"mode": overrides["mode"]})
    preset = change(stated)
    finetuned = protocol == "default" and overrides.get("head") == "finetune"
    if finetuned:
        preset = _finetuned(preset)
    if profile == "demo":
        by_steps = finetuned or protocol != "default"
        preset = _short(preset) if by_steps else dataclasses.replace(preset, image_size=144)
    settings = override(preset, overrides)
    if settings.saliency_metrics:
        from tasks.classification.areas import check_marked

        check_marked(task, settings.labels)
    return dataclasses.replace(
        settings, uncertain=expand_policies(settings.uncertain, settings.labels)
    )


def _settings_of(overrides: Mapping[str, str]) -> type[ClassificationSettings]:
    """Return the settings of the regulariser; raise UnknownNameError where there is none of that
    name, and SettingError for a setting that another one has."""
    from tasks.classification.regularizers import REGULARIZERS

    chosen = overrides.get("regularizer", "none")
    settings: type[ClassificationSettings] = settings_of(
        "regularizer", REGULARIZERS, chosen, overrides
    )
    return settings
