"""mmengine behind `bench.training.plan`: one hook that seeds, schedules, validates and
checkpoints."""

from __future__ import annotations

import itertools
import json
import logging
import os
import pickle
import random
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import nn

from bench.contracts import Progress
from bench.core.errors import SettingError
from bench.core.machine import use_threads
from bench.core.storage import atomic_path, write_atomically, writing
from bench.training import processes
from bench.training.plan import (
    Evaluate,
    Loader,
    TrainingError,
    TrainPlan,
    TrainSummary,
    fingerprint,
    learning_rate,
)
from bench.training.runner import NotFiniteError, QuietRunner, Trainable, build_optimizer

_logger = logging.getLogger(__name__)
_run_number = itertools.count()
_UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    NotImplementedError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)


def run(
    model: nn.Module,
    loader: Loader,
    plan: TrainPlan,
    work_dir: Path,
    progress: Progress,
    title: str,
    evaluate: Evaluate | None,
    device: str,
) -> TrainSummary:
    """Carry out `bench.training.plan.train`."""
    with writing(work_dir):
        work_dir.mkdir(parents=True, exist_ok=True)
    use_threads()
    batches = _Epochs(loader, plan)
    hook = _EpochHook(model, batches, plan, work_dir, title, evaluate)
    last = hook.newest_checkpoint()
    runner = _build(model, batches, plan, work_dir, device, hook, last)
    if last:
        progress.say(f"{title}: going on after epoch {_epoch_of(last)} of {plan.epochs}")
    try:
        with progress.track(title, total=plan.epochs * len(batches)) as advance:
            hook.advance = advance
            runner.train()
        return hook.finish(runner)
    except NotFiniteError as error:
        raise hook.not_finite(runner.epoch, runner.iter, error.values, error.samples) from error
    finally:
        runner.close_logs()


class _Epochs:
    """The loader as mmengine wants it: one epoch per iteration, drawn from (seed, epoch)."""

    dataset: tuple[()] = ()

    def __init__(self, loader: Loader, plan: TrainPlan) -> None:
        self.loader = loader
        self.seed = plan.seed
        self.steps = plan.steps_per_epoch or len(loader)
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        generator = np.random.default_rng([self.seed, self.epoch])
        passes = itertools.chain.from_iterable(
            self.loader.batches(generator) for _ in itertools.count()
        )
        return itertools.islice(passes, self.steps)


def _build(
    model: nn.Module,
    batches: _Epochs,
    plan: TrainPlan,
    work_dir: Path,
    device: str,
    hook: _EpochHook,
    last: Path | None,
) -> QuietRunner:
    trainable = model if hasattr(model, "train_step") else Trainable(model, device)
    trainable.to(device)
    off = dict.fromkeys(
        ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")
    )
    return QuietRunner(
        device,
        model=trainable,
        work_dir=str(work_dir),
        train_dataloader=batches,
        train_cfg={"by_epoch": True, "max_epochs": plan.epochs},
        optim_wrapper=build_optimizer(trainable, plan, device),
        default_hooks=off,
        custom_hooks=[hook, *hook.ema_hooks],
        randomness={"seed": plan.seed},
        experiment_name=f"place_bench_{os.getpid()}_{next(_run_number)}",
        visualizer={"type": "Visualizer", "vis_backends": None},
        resume=last is not None,
        load_from=str(last) if last else None,
    )


class _EpochHook(Hook):
    """Seeds and schedules every step; after every epoch validates, keeps the best weights and
    writes a whole checkpoint."""

    priority = "VERY_LOW"

    def __init__(
        self,
        model: nn.Module,
        batches: _Epochs,
        plan: TrainPlan,
        work_dir: Path,
        title: str,
        evaluate: Evaluate | None,
    ) -> None:
        self.model = model
        self.batches = batches
        self.plan = plan
        self.work_dir = work_dir
        self.title = title
        self.evaluate = evaluate
        self.ema_hooks = [EMAHook(momentum=1 - plan.ema)] if plan.ema else []
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        self.fingerprint = fingerprint(plan, batches.loader, shapes)
        self.advance: Any = lambda n=1: None
        self.curve: list[dict[str, float]] = []
        self.sums: dict[str, float] = {}
        self.resumed = False

    # ------------------------------------------------------------------------------------- resuming
    def newest_checkpoint(self) -> Path | None:
        """Return the newest checkpoint that reads whole; one that is damaged is passed over for the
        one before.

        None where there is none, or where the best weights that it speaks of are lost: then the
        training begins again.
        """
        paths = self._checkpoints()
        for path in sorted(paths, key=_epoch_of, reverse=True):
            state = _read(path, self._is_whole)
            if state is None:
                continue
            self._own(path, state)
            self.curve = state["meta"]["curve"]
            lost = self._best() is not None and self._best_weights() is None
            self.curve = []
            if not lost:
                return path
            _logger.warning("%s is lost: the training begins again", self.work_dir / "best.pth")
            break
        if processes.rank() == 0:
            for path in paths:  # a later resume must not mix them with what is trained now
                path.unlink(missing_ok=True)
        return None

    def _checkpoints(self) -> list[Path]:
        return [path for path in self.work_dir.glob("epoch_*.pth") if path.stem[6:].isdecimal()]

    def _is_whole(self, state: dict[str, Any]) -> bool:
        """Say whether a checkpoint has all the parts that a resumed run reads."""
        parts = ["state_dict", "optimizer", "meta"]
        if self.ema_hooks:
            parts.append("ema_state_dict")
        if not all(isinstance(state.get(name), dict) for name in parts):
            return False
        meta = state["meta"]
        if not all(isinstance(meta.get(name), int) for name in ("epoch", "iter")):
            return False
        curve = meta.get("curve")
        if not isinstance(curve, list):
            return False
        return all(isinstance(row, dict) and "epoch" in row for row in curve)

    def _best_weights(self) -> dict[str, Any] | None:
        """Return the weights of the best validation; None where they are lost or of another
        model."""
        state = _read(self.work_dir / "best.pth", _has_weights)
        if state is None:
            return None
        weights = state["state_dict"]
        expected = {name: value.shape for name, value in self.model.state_dict().items()}
        shapes = {name: getattr(value, "shape", None) for name, value in weights.items()}
        return weights if shapes == expected else None

    def _own(self, path: Path, state: dict[str, Any]) -> None:
        if state["meta"].get("fingerprint") != self.fingerprint:
            raise TrainingError(
                f"{path} belongs to a training with other settings, data size or model.",
                f"Delete {self.work_dir}, or choose another folder.",
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take the curve over from the checkpoint."""
        self.curve = checkpoint["meta"]["curve"]
        self.resumed = True
        self.advance(len(self.curve) * len(self.batches))

    # ------------------------------------------------------------------------------------- training
    def before_train(self, runner: Runner) -> None:
        """Stop at once where the resumed run had stopped early."""
        runner.train_loop.stop_training = self._patience_is_over()

    def before_train_epoch(self, runner: Runner) -> None:
        """Draw everything of this epoch from (seed, epoch), so that a resumed run continues as if
        never stopped."""
        self.sums = {}
        self.batches.epoch = runner.epoch
        _seed_everything(self.plan.seed, runner.epoch)
        start = getattr(self.model, "start_epoch", None)
        if callable(start):
            start(runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the learning rate of this step."""
        rate = learning_rate(
            self.plan, runner.iter, runner.max_iters, [value for _, value in self._history()]
        )
        for group in runner.optim_wrapper.param_groups:
            group["lr"] = rate

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Sum the losses; refuse one that is not finite."""
        values = {name: float(torch.as_tensor(value).detach()) for name, value in outputs.items()}
        if not np.isfinite(values["loss"]):
            raise self.not_finite(runner.epoch, runner.iter, values, "")
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.advance()

    def not_finite(
        self, epoch: int, step: int, values: dict[str, float], samples: str
    ) -> TrainingError:
        """Return the error that ends a training whose loss is not finite, naming step and
        samples."""
        message = (
            f"{self.title}: the loss is {values} in epoch {epoch + 1}, step "
            f"{step % len(self.batches) + 1}"
        )
        if samples:
            message += f", samples {samples}"
        message += "."
        if self.curve:
            message += f" The weights of epoch {epoch} are kept in {self.work_dir}."
        return TrainingError(message, "Lower lr, set clip, or look at the data of that step.")

    def after_train_epoch(self, runner: Runner) -> None:
        """Validate, keep the best weights, write the checkpoint and the curve."""
        epoch = runner.epoch + 1
        row: dict[str, float] = {"epoch": epoch}
        for name, total in self.sums.items():
            row[f"train/{name}"] = total / len(self.batches)
        if self.evaluate and (epoch % self.plan.val_every == 0 or epoch == self.plan.epochs):
            values = self._validate(runner) if processes.rank() == 0 else {}
            row.update(processes.agree(values))
        self.curve.append(row)
        runner.train_loop.stop_training = self._patience_is_over()
        self._save(runner)

    def _validate(self, runner: Runner) -> dict[str, float]:
        for hook in self.ema_hooks:
            hook.before_val_epoch(runner)
        row = {f"val/{name}": float(value) for name, value in self._scores().items()}
        if self.plan.monitor and self._improves(row[f"val/{self.plan.monitor}"]):
            _write(self.work_dir / "best.pth", {"state_dict": self.model.state_dict()})
        for hook in self.ema_hooks:
            hook.after_val_epoch(runner)
        return row

    def _scores(self) -> Mapping[str, float]:
        training = self.model.training
        self.model.eval()
        with torch.no_grad():
            scores = self.evaluate(self.model) if self.evaluate else {}
        self.model.train(training)
        if self.plan.monitor and self.plan.monitor not in scores:
            raise SettingError(
                f"monitor '{self.plan.monitor}' is not among {sorted(scores)}.",
                "Name one of these.",
            )
        return scores

    # -------------------------------------------------------------------------------- best and stop
    def _history(self) -> list[tuple[int, float]]:
        """Return the epochs with a monitored value, and that value."""
        if not self.plan.monitor:
            return []
        key = f"val/{self.plan.monitor}"
        return [(int(row["epoch"]), row[key]) for row in self.curve if key in row]

    def _best(self) -> tuple[int, float] | None:
        """Return the epoch of the best finite value, the earliest of equal ones, and that value."""
        finite = [(epoch, value) for epoch, value in self._history() if np.isfinite(value)]
        sign = 1 if self.plan.mode == "max" else -1
        return max(finite, key=lambda item: (sign * item[1], -item[0]), default=None)

    def _improves(self, value: float) -> bool:
        best = self._best()
        if not np.isfinite(value):
            return False
        return best is None or (value > best[1] if self.plan.mode == "max" else value < best[1])

    def _patience_is_over(self) -> bool:
        history = self._history()
        if self.plan.patience is None or not history:
            return False
        best = self._best()
        best_epoch = best[0] if best else 0
        epochs_since = sum(epoch > best_epoch for epoch, _ in history)
        return epochs_since >= self.plan.patience

    # -------------------------------------------------------------------------------------- writing
    def _save(self, runner: Runner) -> None:
        """Write beside, then rename: a kill leaves the previous checkpoint whole. The last two are
        kept."""
        epoch = runner.epoch + 1
        if processes.rank() > 0:
            return
        meta = {"fingerprint": self.fingerprint, "curve": self.curve}
        with atomic_path(self.work_dir / f"epoch_{epoch}.pth") as temporary:
            runner.save_checkpoint(
                str(self.work_dir), temporary.name, meta=meta, save_param_scheduler=False
            )
        for path in self._checkpoints():
            if _epoch_of(path) < epoch - 1:
                path.unlink()
        _write_lines(self.work_dir / "curve.jsonl", self.curve)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the file free of anything that `weights_only` would refuse."""
        checkpoint["message_hub"] = {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}}

    def _kept_best(self) -> dict[str, Any]:
        weights = self._best_weights()
        if weights is None:
            raise TrainingError(
                f"{self.title}: the best weights in {self.work_dir / 'best.pth'} are lost.",
                "Run the same command again; the training begins again.",
            )
        return weights

    def finish(self, runner: Runner) -> TrainSummary:
        """Leave the best (or averaged) weights in the model and say what was done."""
        if processes.rank() == 0:
            _write_lines(self.work_dir / "curve.jsonl", self.curve)
        processes.agree(None)  # nobody reads the best weights before they are written
        best = self._best()
        if best:
            self.model.load_state_dict(self._kept_best())
        elif self.ema_hooks:
            self.ema_hooks[0].before_val_epoch(runner)
        self.model.eval()
        return TrainSummary(
            epochs=len(self.curve),
            curve=tuple(self.curve),
            best_epoch=best[0] if best else len(self.curve),
            best_metric=best[1] if best else None,
            resumed=self.resumed,
            stopped_early=self._patience_is_over() and len(self.curve) < self.plan.epochs,
        )


def _has_weights(state: dict[str, Any]) -> bool:
    return isinstance(state.get("state_dict"), dict)


def _seed_everything(seed: int, epoch: int) -> None:
    word = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    random.seed(word)
    np.random.seed(word)  # third-party layers draw from the global generators
    torch.manual_seed(word)


def _epoch_of(path: Path) -> int:
    return int(path.stem.partition("_")[2])


def _read(path: Path, is_whole: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """Return the checkpoint, or None where it is missing, damaged or lacks a part."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not compare its checksums
        state = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE:
        state = None
    if isinstance(state, dict) and is_whole(state):
        return state
    _logger.warning("%s is missing or damaged and is not used", path)
    return None


def _write(path: Path, state: dict[str, Any]) -> None:
    # Through Python's own file: torch's loses the reason where a disk is full.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)


def _write_lines(path: Path, rows: list[dict[str, float]]) -> None:
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
