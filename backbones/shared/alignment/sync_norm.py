"""BatchNorm whose statistics are those of the batches of all processes, so that several processes
train what one would."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.training.processes import world_size

M = TypeVar("M", bound=nn.Module)


class _Total(torch.autograd.Function):
    """Sum over the processes; the gradient is the sum of every process's."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        """Return the sum of all processes' values."""
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the sum of all processes' gradients."""
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


class SyncedNorm(_BatchNorm):
    """A BatchNorm in place of another, with its parameters and statistics: means and variances in
    training are over all processes, whatever each one's number of rows."""

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        self.weight = norm.weight
        self.bias = norm.bias
        self.running_mean = norm.running_mean
        self.running_var = norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [B, C, ...]."""
        if not self.training or world_size() == 1:
            return super().forward(input)
        wide = input.float()
        dims = [0, *range(2, input.dim())]
        shape = (1, -1, *[1] * (input.dim() - 2))
        rows = wide.new_tensor([wide.numel() / wide.shape[1]])
        sums = _Total.apply(torch.cat([wide.sum(dims), rows]))
        count = sums[-1].detach()
        centred = wide - (sums[:-1] / count).view(shape)
        variance = _Total.apply(centred.square().sum(dims)) / count
        self._follow(sums[:-1] / count, variance * count / (count - 1).clamp(min=1))
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics."""
        if (
            self.running_mean is not None
            and self.running_var is not None
            and self.momentum is not None
        ):
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions."""


def synchronise_norms(module: M) -> M:
    """Return the module with every BatchNorm inside synchronised: torch's own on a GPU, this one
    elsewhere. Alone: as it is."""
    if world_size() == 1:
        return module
    if next(module.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and type(child) in (nn.BatchNorm1d, nn.BatchNorm2d):
                setattr(parent, name, SyncedNorm(child))
    return module
