"""What a tensor of a checkpoint must be before it is used: plain numbers, finite, not all zero."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from bench.core.errors import CheckpointError

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LARGEST = 1 << 34
"""Bytes of one tensor: a few numbers can be declared as any size."""
_AGAIN = "Copy or download it again."


def check_layout(tensors: Mapping[str, torch.Tensor], source: Path | str) -> None:
    """Raise CheckpointError for a tensor that does not hold its numbers plainly: sparse, quantized,
    nested, without numbers (meta), or larger than any weight is."""
    for name, tensor in tensors.items():
        kind = _kind(tensor)
        if kind:
            raise CheckpointError(
                f"checkpoint {source}: {name} is a {kind} tensor, plain numbers are needed.",
                "Save a state dict of dense tensors.",
            )


def _kind(tensor: torch.Tensor) -> str:
    if tensor.is_meta:
        return "meta (empty)"
    if tensor.is_quantized:
        return "quantized"
    if tensor.is_nested:
        return "nested"
    if tensor.layout is not torch.strided:
        return "sparse"
    if tensor.numel() * tensor.element_size() > _LARGEST:
        return f"{list(tensor.shape)}"
    return ""


def check_values(
    tensors: Mapping[str, torch.Tensor], source: Path | str, *, zeros: tuple[str, ...] = ()
) -> None:
    """Raise CheckpointError naming the first tensor that is no floating-point number, not finite,
    or a weight matrix or a variance of nothing but zeros.

    Biases, scales and means may be zero, and so may names that end with one of `zeros`.
    """
    check_types(tensors, source)
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"checkpoint {source} has values that are not finite in {name}.", _AGAIN
            )
        if _must_differ_from_zero(name, tensor) and not name.endswith(zeros) and not tensor.any():
            raise CheckpointError(f"checkpoint {source}: {name} is all zero.", _AGAIN)


def check_types(tensors: Mapping[str, torch.Tensor], source: Path | str) -> None:
    """Raise CheckpointError naming the first tensor that holds no floating-point numbers."""
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            raise CheckpointError(
                f"checkpoint {source}: {name} holds {str(tensor.dtype).removeprefix('torch.')} "
                "numbers, floating-point weights are needed.",
                "Quantized and complex weights are not read: save them as float32.",
            )


def _must_differ_from_zero(name: str, tensor: torch.Tensor) -> bool:
    if name.endswith("running_var"):
        return True
    return tensor.ndim > 1 and name.endswith("weight")
