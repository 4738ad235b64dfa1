"""Which form of an operation runs: by device, overridable, never replaced in silence."""

from __future__ import annotations

import importlib.util
import os

from torch import Tensor

from bench.core.errors import MissingDependencyError, SettingError


def choose(implementation: str, known: tuple[str, ...], tensor: Tensor, fits_triton: bool) -> str:
    """Return the form to run: `known` is (plain, memory-bounded, "triton").

    "auto" takes Triton on a CUDA device where it is installed and the shape fits its kernels, else
    the memory-bounded form. Raises SettingError for an unknown name and for Triton where it cannot
    run, MissingDependencyError where it is not installed.
    """
    if implementation == "auto":
        triton = tensor.is_cuda and fits_triton and importlib.util.find_spec("triton") is not None
        return "triton" if triton else known[1]
    if implementation not in known:
        raise SettingError(
            f"no implementation '{implementation}'.", f"Known: auto, {', '.join(known)}."
        )
    if implementation == "triton":
        _check_triton(tensor, fits_triton)
    return implementation


def _check_triton(tensor: Tensor, fits: bool) -> None:
    if importlib.util.find_spec("triton") is None:
        raise MissingDependencyError(
            "the Triton kernels need the package triton.",
            f"Install it, or take another implementation ({tensor.device}).",
        )
    if not tensor.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
        raise SettingError(
            f"Triton runs on a CUDA device, not on '{tensor.device}'.",
            "Leave implementation at auto.",
        )
    if not fits:
        raise SettingError(
            f"a tensor of shape {tuple(tensor.shape)} is too wide for the Triton kernels.",
            "Leave implementation at auto.",
        )
