"""The one trainer: everything that trains with batches goes through mmengine's Runner here."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from bench.core.errors import MissingDependencyError, PlaceBenchError, SettingError
from bench.core.settings import (
    Betas,
    CheckedSettings,
    Count,
    Decay,
    Inside,
    Norm,
    Range,
    Rate,
    Seed,
    Share,
)

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bench.contracts import Progress

Evaluate = Callable[["torch.nn.Module"], Mapping[str, float]]


class Loader(Protocol):
    """What training iterates over: `len` batches per pass, their order and augmentation drawn from
    `generator` alone."""

    def __len__(self) -> int:
        """Return the number of batches of one pass."""
        ...

    def batches(self, generator: np.random.Generator) -> Iterator[Any]:
        """Yield the batches of one pass; the same generator state gives the same batches."""
        ...


class TrainingError(PlaceBenchError):
    """A training that cannot go on (a loss that is not finite, a work folder of another run)."""


@dataclass(frozen=True)
class TrainPlan(CheckedSettings):
    """How one model is trained; `TrainingSettings.plan` makes it from settings."""

    epochs: Count = 10
    """Epochs in all."""
    steps_per_epoch: Count | None = None
    """Batches of an epoch, for which the loader is repeated as needed; none: one pass over it."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """The optimiser."""
    lr: Rate = 1e-3
    """The highest learning rate: what the warm-up rises to and the schedule starts from."""
    min_lr: Annotated[float, Range(0, 10)] = 0.0
    """The learning rate that the schedule does not fall below."""
    weight_decay: Decay = 0.05
    """Weight decay of the optimiser."""
    betas: Betas = (0.9, 0.999)
    """Decay rates of the two running means of Adam and AdamW."""
    momentum: Annotated[float, Range(0, 1, high_open=True)] = 0.9
    """Momentum of SGD."""
    amsgrad: bool = False
    """Whether Adam and AdamW keep the largest second moment seen."""
    schedule: Literal["constant", "linear", "cosine", "plateau"] = "cosine"
    """How the rate goes on after the warm-up."""
    factor: Inside = 0.8
    """With plateau, what the rate is multiplied by (torch's ReduceLROnPlateau)."""
    hold: Annotated[int, Range(0, 1_000_000)] = 1
    """With plateau, validations without a better `monitor` that change nothing yet."""
    warmup: Share = 0.0
    """The share of all steps in which the rate rises linearly."""
    warmup_from_zero: bool = False
    """Whether the first step of the warm-up has rate 0."""
    clip: Norm | None = None
    """Norm at which the gradient of all weights together is cut."""
    accumulate: Count = 1
    """Batches whose gradients make one update."""
    amp: Literal["off", "bf16", "fp16"] = "off"
    """Mixed precision of the forward pass."""
    ema: Inside | None = None
    """Decay of the weights' moving average, which then is what is validated and kept."""
    monitor: str | None = None
    """The validation figure whose best weights are restored at the end."""
    mode: Literal["min", "max"] = "max"
    """Whether the lowest or the highest `monitor` is the best."""
    patience: Count | None = None
    """Validations in a row without a better `monitor` that stop the run."""
    val_every: Count = 1
    """Epochs from one validation to the next."""
    seed: Seed = 0
    """What order, augmentation and dropout are drawn from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule == "plateau" and not self.monitor:
            raise SettingError(
                "schedule plateau watches a validation and monitor is none.", "Name a monitor."
            )


@dataclass(frozen=True)
class TrainSummary:
    """What a training did: one row of `curve` per epoch (mean losses `train/...`, validation
    `val/...`)."""

    epochs: int
    curve: tuple[dict[str, float], ...]
    best_epoch: int
    best_metric: float | None
    resumed: bool
    stopped_early: bool


def learning_rate(plan: TrainPlan, step: int, total: int, history: Sequence[float] = ()) -> float:
    """Return the learning rate of batch `step` (from 0) of `total`: a closed form, so that a
    resumed run needs no state.

    `history` holds the monitored values so far; only the schedule `plateau` looks at it.
    """
    rising = round(plan.warmup * total)
    if step < rising:
        return plan.lr * (step + (not plan.warmup_from_zero)) / rising
    if plan.schedule == "plateau":
        return max(plan.min_lr, plan.lr * plan.factor ** plateaus(history, plan))
    if plan.schedule == "constant":
        return plan.lr
    done = (step - rising) / max(1, total - rising)
    falls = {"linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return plan.min_lr + (plan.lr - plan.min_lr) * falls[plan.schedule]


def plateaus(history: Sequence[float], plan: TrainPlan) -> int:
    """Return how often more than `plan.hold` values in a row were not better than the best before
    (by a ten-thousandth of it)."""
    best = -math.inf
    bad_in_a_row = 0
    drops = 0
    for value in history:
        signed = value if plan.mode == "max" else -value
        if _is_better(signed, best):
            best = signed
            bad_in_a_row = 0
            continue
        bad_in_a_row += 1
        if bad_in_a_row > plan.hold:
            bad_in_a_row = 0
            drops += 1
    return drops


def _is_better(value: float, best: float) -> bool:
    """Say whether a value is above the best before by a ten-thousandth of it; the first finite one
    is."""
    if not math.isfinite(best):
        return math.isfinite(value)
    return value > best + 1e-4 * abs(best)


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
    """Train `model` in place and return the summary; a killed run goes on from the last whole epoch
    found in `work_dir`.

    `model` is a mmengine BaseModel, or any module with `losses(batch) -> dict` of scalar tensors:
    those whose name contains "loss" are summed and minimised, the others logged. Batches are moved
    to `device` for the latter, and its `start_epoch(epoch)`, where it has one, is called before
    each epoch (from 0). `work_dir` gets `epoch_N.pth` (the last two), `best.pth`, `curve.jsonl` and
    mmengine's log. A resumed run equals an uninterrupted one: random numbers and batch order are
    drawn from (seed, epoch).

    Among several processes (`bench.training.processes`), each runs its part of every batch and
    process 0 validates and writes.

    Raises TrainingError for a loss that is not finite, before that step changes a weight (a model's
    `describe_bad_batch(batch)` may name the samples), and for a work folder that holds another run.
    """
    if plan.monitor and evaluate is None:
        raise SettingError(
            f"monitor '{plan.monitor}' needs a validation.",
            "Pass evaluate=, or set monitor to none.",
        )
    if len(loader) == 0:
        raise TrainingError(
            f"{title}: the loader has no batch.", "Use more images or a smaller batch size."
        )
    trainer = _mm_trainer()
    return trainer.run(model, loader, plan, Path(work_dir), progress, title, evaluate, device)


def _mm_trainer() -> Any:
    try:
        from bench.training import trainer as _mm_trainer
    except ImportError as error:
        raise MissingDependencyError(
            f"mmengine does not import: {error}.", "Run `make setup`."
        ) from error
    return _mm_trainer


def batch_slices(count: int, size: int) -> list[slice]:
    """Cut `count` samples into batches of `size`; a last batch of one joins the one before:
    BatchNorm cannot train on one."""
    starts = list(range(0, count, size))
    if size > 1 and count > size and count % size == 1:
        starts.pop()
    return [slice(start, end) for start, end in itertools.pairwise([*starts, count])]


def fingerprint(plan: TrainPlan, loader: Loader, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return a short hash of plan, passes and parameter shapes: what must be equal for a checkpoint
    to be resumed."""
    text = json.dumps([asdict(plan), len(loader), sorted((k, list(v)) for k, v in shapes.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
