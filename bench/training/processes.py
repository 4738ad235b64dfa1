"""One training on several processes (`torchrun`), each with its part of every batch; alone, nothing
of this does anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def join(device: str) -> str:
    """Join the processes that `torchrun` announces in the environment and return this one's device;
    alone, return `device`."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    import torch
    import torch.distributed as dist

    cuda = device.startswith("cuda")
    if cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    return device


def world_size() -> int:
    """Return the number of processes that train together."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    import torch.distributed as dist

    return dist.get_rank() if world_size() > 1 else 0


def agree(value: T) -> T:
    """Return the value of process 0 (any picklable one), once every process has come here."""
    if world_size() == 1:
        return value
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def mean(values: torch.Tensor) -> torch.Tensor:
    """Return the mean of a tensor over the processes."""
    if world_size() == 1:
        return values
    import torch.distributed as dist

    total = values.clone()
    dist.all_reduce(total)
    return total / world_size()
