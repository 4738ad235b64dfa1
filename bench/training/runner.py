"""mmengine's Runner made quiet and device-explicit, and what it runs: adapted models, optimisers,
mixed precision."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from torch import nn

from bench.core.errors import SettingError
from bench.training import processes
from bench.training.plan import TrainingError, TrainPlan


class NotFiniteError(Exception):
    """A step whose loss is not finite, before it changed any weight: the losses, and what is known
    of its samples."""

    def __init__(self, values: dict[str, float], samples: str) -> None:
        super().__init__(str(values))
        self.values = values
        self.samples = samples


class Trainable(nn.Module):
    """A module with `losses(batch)` as the Runner's model."""

    def __init__(self, inner: Any, device: str) -> None:
        super().__init__()
        self.inner = inner
        self.device = device

    def forward(self, data: Any) -> dict[str, torch.Tensor]:
        """Return the losses of a batch, which is moved to the device."""
        return self.inner.losses(_to(data, self.device))

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, torch.Tensor]:
        """Run one batch; return the losses with their sum under `loss`."""
        return _train_step(self, self, data, optim_wrapper)

    def samples(self, data: Any) -> str:
        """Return what the model can say of the samples of a batch whose loss is not finite."""
        describe = getattr(self.inner, "describe_bad_batch", None)
        return describe(_to(data, self.device)) if describe else ""


class Parallel(nn.parallel.DistributedDataParallel):
    """A Trainable on several processes, gradients averaged over them."""

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, torch.Tensor]:
        """Run this process's part of one batch; return the losses as means over the processes, with
        their sum under `loss`."""
        return _train_step(self, self.module, data, optim_wrapper)


def _train_step(
    model: nn.Module, trainable: Trainable, data: Any, optim_wrapper: OptimWrapper
) -> dict[str, torch.Tensor]:
    with optim_wrapper.optim_context(model):
        losses = model(data)
    total = torch.stack([value for name, value in losses.items() if "loss" in name]).sum()
    named = {**losses, "loss": total}
    names = ["loss", *(name for name in losses if name != "loss")]
    means = processes.mean(torch.stack([named[name].detach().float() for name in names]))
    if not bool(means[0].isfinite()):
        values = dict(zip(names, means.tolist(), strict=True))
        raise NotFiniteError(values, trainable.samples(data))
    optim_wrapper.update_params(total)
    return dict(zip(names, means, strict=True))


def _to(data: Any, device: str) -> Any:
    if isinstance(data, torch.Tensor):
        return data.to(device, non_blocking=True)
    if isinstance(data, Mapping):
        return {key: _to(value, device) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return type(data)(_to(value, device) for value in data)
    return data


class _Bf16(OptimWrapper):
    """bfloat16 autocast on any device: needs no loss scaling (mmengine's own wrapper wants a
    GPU)."""

    def __init__(self, *args: Any, device_type: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.device_type = device_type

    def optim_context(self, model: nn.Module) -> Any:
        """Enter autocast around the forward pass."""
        return torch.autocast(self.device_type, dtype=torch.bfloat16)


def build_optimizer(model: nn.Module, plan: TrainPlan, device: str) -> OptimWrapper:
    """Return the plan's optimiser over what is trained, wrapped for accumulation, clipping and
    mixed precision."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise TrainingError(
            "the model has no parameter that is trained.", "Unfreeze something, or do not train."
        )
    common: dict[str, Any] = {"lr": plan.lr, "weight_decay": plan.weight_decay}
    if plan.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            trained, momentum=plan.momentum, **common
        )
    else:
        kind = torch.optim.AdamW if plan.optimizer == "adamw" else torch.optim.Adam
        optimizer = kind(
            trained, betas=(plan.betas[0], plan.betas[1]), amsgrad=plan.amsgrad, **common
        )
    options = {
        "accumulative_counts": plan.accumulate,
        "clip_grad": {"max_norm": plan.clip} if plan.clip else None,
    }
    return _wrap(optimizer, plan, torch.device(device).type, options)


def _wrap(
    optimizer: torch.optim.Optimizer, plan: TrainPlan, device_type: str, options: dict[str, Any]
) -> OptimWrapper:
    if plan.amp == "bf16":
        return _Bf16(optimizer, device_type=device_type, **options)
    if plan.amp == "fp16" and device_type != "cuda":
        raise SettingError(
            f"amp=fp16 on device '{device_type}'.", "fp16 needs a GPU; choose bf16 or off."
        )
    return (
        AmpOptimWrapper(optimizer=optimizer, **options)
        if plan.amp == "fp16"
        else OptimWrapper(optimizer, **options)
    )


class QuietRunner(Runner):
    """mmengine's Runner without what a library must not do: no console output, no environment scan,
    the device it is told."""

    def __init__(self, device: str, **kwargs: Any) -> None:
        self._device = device
        super().__init__(**kwargs)

    def setup_env(self, env_cfg: dict) -> None:
        """Keep the process's start method, and one log folder per work folder."""
        super().setup_env(
            env_cfg | {"mp_cfg": {"mp_start_method": torch.multiprocessing.get_start_method()}}
        )
        self._timestamp = "log"

    def build_logger(
        self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any
    ) -> Any:
        """Log to the file only."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        logger.handlers = [
            handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)
        ]
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Put the model on the device asked for (mmengine takes the first GPU it sees), and among
        several processes share it."""
        model = model.to(self._device)
        if processes.world_size() == 1:
            return model
        ids = [torch.device(self._device)] if self._device.startswith("cuda") else None
        return Parallel(
            model, device_ids=ids, find_unused_parameters=True
        )  # a loss of weight 0 leaves its parameters unused

    def dump_config(self) -> None:
        """Write nothing: settings are recorded by the caller."""

    def _log_env(self, env_cfg: dict) -> None:
        """Skip the scan (it starts compilers to ask for their versions)."""

    def close_logs(self) -> None:
        """Close and forget the log file of this run."""
        for handler in self.logger.handlers:
            handler.close()
        self.logger.handlers = []
