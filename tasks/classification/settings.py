"""Settings of a classification cell and the protocol presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from bench.contracts import DATASETS, Profile, TaskSpec
from bench.core.errors import SettingError, UnknownNameError
from bench.core.registry import suggest
from bench.core.settings import (
    Betas,
    CheckedSettings,
    Count,
    Decay,
    Length,
    Norm,
    Range,
    Rate,
    Share,
    Side,
    override,
)

Penalties = Annotated[tuple[Annotated[float, Range(0, 1e12, low_open=True)], ...], Length(1, 1000)]
Mode = Literal["binary", "multiclass", "multilabel"]
Threshold = Literal["validation", "half", "test", "test_per_class"]
Strict = Literal["none", "accuracy", "all"]
MODES = ("binary", "multiclass", "multilabel")
POLICIES = ("ones", "zeros", "ignore")
PENALTIES = tuple(10.0 ** (power / 2) for power in range(-10, 7))


@dataclass(frozen=True)
class ClassificationSettings(CheckedSettings):
    """How a classifier is trained and read out.

    `head`: logistic and ridge are linear probes on kept features whose penalty is chosen on
    validation by AUROC per class (`selection` best: the highest; one_se: the strongest penalty
    within one standard error of it); knn chooses k likewise; linear is the references' probe
    trained by gradient steps; finetune trains the encoder too. `uncertain` holds `class=policy` for
    labels of -1 (ones, zeros or ignore: not trained on, not scored), one policy alone is for all;
    `blank` is the same for missing labels. `views` are the projections kept (none named: all).
    `shots` keeps that many images per class. `threshold`: where decisions are cut - validation
    (`threshold_by`), half (probability 0.5, argmax), test (one for all classes, with the best micro
    F1 on the test images themselves, as BenchX), test_per_class (one for each class, with its best
    F1 on the test images, as BenchX's zero-shot); exclusive classes are always decided by argmax.
    `strict`: where a test threshold is a score itself, the image that has it is positive (none) or
    lost, to all decisions (all, as BenchX) or to accuracy alone (accuracy, as BenchX's zero-shot).
    `warmup_from_zero`: the first step of the warm-up has rate 0 (BenchX).
    """

    head: Literal["logistic", "ridge", "knn", "linear", "finetune"] = "logistic"
    image_size: Side = 256
    mode: Mode = "binary"
    labels: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ("zeros",)
    blank: Literal["zeros", "ignore"] = "zeros"
    views: tuple[str, ...] = ()
    shots: Count | None = None
    penalties: Penalties = PENALTIES
    selection: Literal["best", "one_se"] = "best"
    neighbours: Annotated[tuple[Count, ...], Length(1, 1000)] = (1, 5, 10, 20, 50)
    threshold: Threshold = "validation"
    strict: Strict = "none"
    threshold_by: Literal["f1", "youden"] = "f1"
    calibration: Literal["temperature", "none"] = "temperature"
    subgroups: bool = True
    augment: Literal["none", "crop", "jitter", "resized_crop"] = "none"
    batchnorm: Literal["eval", "train"] = "eval"
    batch_size: Count = 48
    epochs: Count = 50
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    betas: Betas = (0.9, 0.999)
    lr: Rate = 5e-4
    weight_decay: Decay = 1e-6
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Share = 0.0
    warmup_from_zero: bool = False
    clip: Norm | None = None
    amp: Literal["off", "bf16", "fp16"] = "off"
    monitor: Literal["loss", "auroc", "none"] = "loss"
    patience: Count | None = 10
    val_every: Count = 1
    drop_last_val: bool = False

    @property
    def cached(self) -> bool:
        """Return whether the head sees kept features only: nothing of the encoder or of its input
        changes while it is trained."""
        return self.head != "finetune" and not (
            self.head == "linear" and (self.augment != "none" or self.batchnorm == "train")
        )


_DEMO: dict[str, Any] = {"image_size": 144}
_FINETUNE: dict[str, Any] = {
    "augment": "crop",
    "lr": 1e-4,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "warmup": 0.1,
    "clip": 1.0,
    "epochs": 30,
    "batch_size": 64,
    "monitor": "auroc",
}
_MGCA: dict[str, Any] = {
    "head": "linear",
    "augment": "crop",
    "monitor": "loss",
    "drop_last_val": True,
}
_GLORIA: dict[str, Any] = {
    "head": "linear",
    "augment": "crop",
    "batchnorm": "train",
    "optimizer": "adam",
    "betas": (0.5, 0.999),
    "lr": 1e-4,
    "batch_size": 64,
    "clip": 0.25,
    "amp": "fp16",
    "monitor": "none",
    "patience": None,
}
_BENCHX: dict[str, Any] = {
    "head": "finetune",
    "uncertain": ("zeros",),
    "augment": "resized_crop",
    "optimizer": "adam",
    "lr": 1e-4,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "warmup": 0.017,
    "warmup_from_zero": True,
    "strict": "all",
    "clip": 1.0,
    "amp": "fp16",
    "batch_size": 64,
    "epochs": 200,
    "val_every": 5,
    "monitor": "auroc",
}
_SHORT: dict[str, Any] = {**_DEMO, "epochs": 5, "amp": "off", "val_every": 1}
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {"paper": {}, "demo": _DEMO},
    "mgca": {"paper": _MGCA, "demo": {**_MGCA, **_SHORT}},
    "gloria": {"paper": _GLORIA, "demo": {**_GLORIA, **_SHORT}},
    "benchx": {"paper": _BENCHX, "demo": {**_BENCHX, **_SHORT}},
}
"""Per protocol and profile, what differs from the class defaults. Sources: MGCA 680fe4a, GLoRIA
416466a, BenchX b874fa6.

`benchx`: a task names its own rate, optimiser and batch in `TaskSpec.presets` (tuned by hand per
method and dataset); several labels are cut at one threshold chosen on the test images, one label
and exclusive classes at the higher of the two or more outputs; the cosine ends at 0 with the last
epoch, where the reference's rises again.
`gloria`: BatchNorm of the frozen encoder runs in train mode and the last weights are tested.
`mgca`: the validation loss leaves out the last batch where it is incomplete.
"""
_HEADS: dict[str, dict[str, Any]] = {"demo": {**_FINETUNE, "epochs": 5}, "paper": _FINETUNE}


def resolve(
    task: TaskSpec, protocol: str, profile: Profile, changes: Mapping[str, str]
) -> ClassificationSettings:
    """Return the settings of `protocol` and `profile` for `task` with `changes`; raise
    UnknownNameError on another protocol.

    `task.options`: `labels` (default: the dataset's), `mode`, `uncertain` ({class: policy} or one
    policy), `views`.
    """
    if protocol not in PRESETS:
        raise UnknownNameError(
            f"unknown protocol '{protocol}' of classification.", suggest(protocol, PRESETS)
        )
    values = {**task_values(task), **PRESETS[protocol][profile]}
    if protocol == "benchx":
        several = changes.get("mode", values["mode"]) == "multilabel"
        values["threshold"] = "test" if several else "half"
    if protocol == "default" and changes.get("head") == "finetune":
        values |= _HEADS[profile]
    settings = override(dataclasses.replace(ClassificationSettings(), **values), changes)
    return dataclasses.replace(
        settings, uncertain=expand_policies(settings.uncertain, settings.labels)
    )


def task_values(task: TaskSpec) -> dict[str, Any]:
    """Return what the options of a task set: labels, mode, uncertain policy, views."""
    options, labels = task.options, task_labels(task)
    mode = options.get("mode", "binary" if len(labels) == 1 else "multilabel")
    if mode not in MODES or (mode == "binary") != (len(labels) == 1):
        raise SettingError(
            f"task '{task.name}' has mode '{mode}' and {len(labels)} labels.",
            f"Modes: {', '.join(MODES)}.",
        )
    uncertain = options.get("uncertain", "zeros")
    words = (
        (uncertain,)
        if isinstance(uncertain, str)
        else tuple(f"{name}={rule}" for name, rule in uncertain.items())
    )
    return {
        "labels": labels,
        "mode": mode,
        "uncertain": words,
        "views": tuple(options.get("views", ())),
    }


def task_labels(task: TaskSpec) -> tuple[str, ...]:
    """Return the labels of a task: its option `labels`, else all of its dataset; raise SettingError
    where there are none."""
    labels = tuple(task.options.get("labels", ())) or DATASETS.get(task.dataset).label_names
    if not labels:
        raise SettingError(
            f"task '{task.name}' has no labels.", "Name them in TaskSpec.options['labels']."
        )
    return labels


def expand_policies(words: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Return one `class=policy` per label; a policy alone is for all, a class not named gets
    zeros."""
    chosen = dict.fromkeys(labels, "zeros")
    for word in words:
        name, _, policy = word.rpartition("=")
        if policy not in POLICIES or (name and name not in chosen):
            raise SettingError(
                f"uncertain policy '{word}'.",
                f"Write class=policy, policies {', '.join(POLICIES)}, classes {', '.join(labels)}.",
            )
        chosen |= {name: policy} if name else dict.fromkeys(labels, policy)
    return tuple(f"{name}={policy}" for name, policy in chosen.items())
