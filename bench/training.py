"""The one trainer: everything that trains with batches goes through mmengine's Runner here."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.compat import torchvision_on_cpu
from bench.errors import MissingDependencyError, PlaceBenchError, SettingError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bench.contracts import Progress

Evaluate = Callable[["torch.nn.Module"], Mapping[str, float]]


class Loader(Protocol):
    """What training iterates over: `len` batches per pass, their order and augmentation drawn from `generator` alone."""

    def __len__(self) -> int:
        """Return the number of batches of one pass."""
        ...

    def batches(self, generator: np.random.Generator) -> Iterator[Any]:
        """Yield the batches of one pass; the same generator state gives the same batches."""
        ...


class TrainingError(PlaceBenchError):
    """A training that cannot go on (a loss that is not finite, a work folder of another run)."""


@dataclass(frozen=True)
class TrainPlan:
    """How one model is trained.

    An epoch is one pass over the loader, or exactly `steps_per_epoch` batches (the loader is repeated as needed).
    `warmup` is the fraction of all steps in which the rate rises linearly; the schedule then falls to `min_lr`.
    With `monitor`, the weights of the best validation are restored at the end, and `patience` validations without
    improvement stop the run. `ema` is the decay of the weights' moving average, which then is what is validated and kept.
    """

    epochs: int = 10
    steps_per_epoch: int | None = None
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 1e-3
    min_lr: float = 0.0
    weight_decay: float = 0.05
    betas: tuple[float, ...] = (0.9, 0.999)
    momentum: float = 0.9
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: float = 0.0
    clip: float | None = None
    accumulate: int = 1
    amp: Literal["off", "bf16", "fp16"] = "off"
    ema: float | None = None
    monitor: str | None = None
    mode: Literal["min", "max"] = "max"
    patience: int | None = None
    val_every: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("accumulate", 1), ("val_every", 1)):
            if getattr(self, name) < low:
                raise SettingError(f"{name} is {getattr(self, name)}.", f"It must be at least {low}.")
        if self.steps_per_epoch is not None and self.steps_per_epoch < 1:
            raise SettingError(f"steps_per_epoch is {self.steps_per_epoch}.", "It must be at least 1, or none.")
        if not 0 <= self.warmup <= 1 or self.lr <= 0:
            raise SettingError(f"lr={self.lr}, warmup={self.warmup}.", "lr must be positive and warmup within 0..1.")


@dataclass(frozen=True)
class TrainSummary:
    """What a training did: one row of `curve` per epoch (mean losses `train/...`, validation `val/...`)."""

    epochs: int
    curve: tuple[dict[str, float], ...]
    best_epoch: int
    best_metric: float | None
    resumed: bool
    stopped_early: bool


def learning_rate(plan: TrainPlan, step: int, total: int) -> float:
    """Return the learning rate of batch `step` (from 0) of `total`: a closed form, so that a resumed run needs no state."""
    rising = round(plan.warmup * total)
    if step < rising:
        return plan.lr * (step + 1) / rising
    done = (step - rising) / max(1, total - rising)
    fall = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[plan.schedule]
    return plan.min_lr + (plan.lr - plan.min_lr) * fall if plan.schedule != "constant" else plan.lr


def train(
    model: torch.nn.Module,
    loader: Loader,
    plan: TrainPlan,
    work_dir: Path,
    *,
    progress: Progress,
    title: str = "training",
    evaluate: Evaluate | None = None,
    device: str = "cpu",
) -> TrainSummary:
    """Train `model` in place and return the summary; a killed run goes on from the last whole epoch found in `work_dir`.

    `model` is a mmengine BaseModel, or any module with `losses(batch) -> dict` of scalar tensors: those whose name contains
    "loss" are summed and minimised, the others logged. Batches are moved to `device` for the latter. `work_dir` gets
    `epoch_N.pth` (the last two), `best.pth`, `curve.jsonl` and mmengine's log. A resumed run equals an uninterrupted one: random
    numbers and batch order are drawn from (seed, epoch).

    Raises TrainingError for a loss that is not finite and for a work folder that holds another run.
    """
    if plan.monitor and evaluate is None:
        raise SettingError(f"monitor '{plan.monitor}' needs a validation.", "Pass evaluate=, or set monitor to none.")
    if len(loader) == 0:
        raise TrainingError(f"{title}: the loader has no batch.", "Use more images or a smaller batch size.")
    trainer = _mm_trainer()
    return trainer.run(model, loader, plan, Path(work_dir), progress, title, evaluate, device)


def _mm_trainer() -> Any:
    torchvision_on_cpu()
    try:
        from bench import _mm_trainer
    except ImportError as error:
        raise MissingDependencyError(f"mmengine does not import: {error}.", "Run `make setup`.") from error
    return _mm_trainer


def fingerprint(plan: TrainPlan, loader: Loader, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return a short hash of plan, passes and parameter shapes: what must be equal for a checkpoint to be resumed."""
    text = json.dumps([asdict(plan), len(loader), sorted((k, list(v)) for k, v in shapes.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
