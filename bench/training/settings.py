"""What every training by batches is set by. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.core.settings import CheckedSettings, Count, Decay, Rate, Share, later
from bench.training.plan import TrainPlan


@dataclass(frozen=True)
class TrainingSettings(CheckedSettings):
    """Base of the settings of whatever is trained by batches, be it a head or an encoder."""

    epochs: Count = 50
    """How many epochs are trained: passes over the training images, or, where `steps_per_epoch` or
    `updates` is set, stretches of so many steps."""
    batch_size: Count = 16
    """Images per training step."""
    lr: Rate = 5e-4
    """The highest learning rate: what the warm-up rises to and the schedule starts from."""
    weight_decay: Decay = 0.05
    """Weight decay of the optimiser: decoupled from the gradient with adamw (Loshchilov & Hutter
    2019), an L2 penalty in the gradient with adam and sgd."""
    warmup: Share = 0.0
    """The share of all steps in which the learning rate rises linearly to `lr`; 0 for none."""
    amp: Literal["off", "bf16", "fp16"] = "off"
    """Mixed precision of the forward pass: off computes in float32, bf16 in bfloat16 on any device,
    fp16 in half precision with a scaled loss, which needs a GPU."""
    patience: Count | None = 10
    """Validations in a row without a better `monitor` after which training stops; none: it never
    stops early."""

    def plan(self, seed: int) -> TrainPlan:
        """Return what the trainer carries out; a subclass replaces in it what it sets beside."""
        return TrainPlan(
            epochs=self.epochs,
            lr=self.lr,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            amp=self.amp,
            patience=self.patience,
            seed=seed,
        )


@dataclass(frozen=True)
class HeadSettings(TrainingSettings):
    """Base of the settings of a head that is trained on a share of the labels."""

    validation: Literal["all", "fraction"] = later("all")
    """Which validation images epochs, penalties and thresholds are chosen on: all, whatever the
    label fraction, or (fraction) those of the same share of the validation patients."""
