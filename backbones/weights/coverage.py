"""Fill a network with a state dict and account for it: what was loaded, what is missing, what did
not fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from backbones.weights.reading import State
from bench.errors import CheckpointError
from bench.progress import default_progress

MINIMUM = 0.95
_SHOWN = 12


@dataclass(frozen=True)
class Coverage:
    """How much of a network a checkpoint filled: tensors and single numbers; `unused` counts the
    file's tensors left over."""

    tensors: int
    all_tensors: int
    numbers: int
    all_numbers: int
    missing: tuple[str, ...] = ()
    unused: int = 0

    @property
    def fraction(self) -> float:
        """Return the smaller of the two shares: of tensors and of numbers."""
        return min(self.tensors / max(1, self.all_tensors), self.numbers / max(1, self.all_numbers))

    def __str__(self) -> str:
        text = f"{self.tensors} of {self.all_tensors} tensors, {self.fraction:.1%} of the encoder"
        return f"{text}; missing {_some(self.missing)}" if self.missing else text


def take_prefix(
    state: State, prefixes: Sequence[str], expected: Mapping[str, object] | None = None
) -> State:
    """Return the keys under the first prefix that has any (of `expected`, where given), the prefix
    taken off."""
    for prefix in prefixes:
        found = {
            key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)
        }
        if found and (expected is None or any(key in expected for key in found)):
            return found
    return {}


def expected_state(module: nn.Module) -> State:
    """Return the tensors a checkpoint has to fill: all but BatchNorm's batch counters."""
    return {
        key: value
        for key, value in module.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def fill(
    module: nn.Module,
    state: State,
    path: Path,
    what: str,
    *,
    minimum: float = MINIMUM,
    silent: bool = False,
) -> Coverage:
    """Load `state` (keys of `module`) into `module`, print (unless `silent`) and return the
    coverage.

    Position embeddings of another size are interpolated. Raises CheckpointError, listing what is
    missing, where less than `minimum` is covered, and for weights that are not finite.
    """
    wanted = expected_state(module)
    state = resize_positions(state, wanted)
    fitting = {
        key: state[key]
        for key, value in wanted.items()
        if key in state and state[key].shape == value.shape
    }
    coverage = _account(wanted, state, fitting)
    if coverage.fraction < minimum:
        raise CheckpointError(
            f"checkpoint {path} fills {coverage.fraction:.0%} of {what}: "
            f"{_some(coverage.missing)}.",
            f"It is of another architecture, renamed or damaged; at least {minimum:.0%} is needed.",
        )
    _check_finite(fitting, path)
    module.load_state_dict(fitting, strict=False)
    if not silent:
        default_progress().say(f"{what}: {coverage} from {path}")
    return coverage


def _account(wanted: State, state: State, fitting: State) -> Coverage:
    wrong = {
        key: f"{key} {_shape(state[key])} instead of {_shape(wanted[key])}"
        for key in wanted
        if key in state
    }
    return Coverage(
        tensors=len(fitting),
        all_tensors=len(wanted),
        numbers=sum(value.numel() for value in fitting.values()),
        all_numbers=sum(value.numel() for value in wanted.values()),
        missing=tuple(wrong.get(key, key) for key in wanted if key not in fitting),
        unused=len(state) - len(fitting),
    )


def _shape(tensor: torch.Tensor) -> str:
    return str(list(tensor.shape))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} tensor(s): {', '.join(names[:_SHOWN])}{more}"


def _check_finite(state: State, path: Path) -> None:
    for key, value in state.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(
                f"checkpoint {path} has values that are not finite in {key}.",
                "Copy or download it again.",
            )


def resize_positions(state: State, wanted: State, key: str = "pos_embed") -> State:
    """Return `state` with its position embeddings [1, 1 + n, D] interpolated (bicubic) to the grid
    that is wanted."""
    old, new = state.get(key), wanted.get(key)
    if (
        old is None
        or new is None
        or old.shape == new.shape
        or old.ndim != 3
        or old.shape[-1] != new.shape[-1]
    ):
        return state
    before, after = math.isqrt(old.shape[1] - 1), math.isqrt(new.shape[1] - 1)
    if before**2 != old.shape[1] - 1 or after**2 != new.shape[1] - 1:
        return state  # no square grid behind one class token: reported as a tensor of another shape
    grid = old[:, 1:].float().reshape(1, before, before, -1).permute(0, 3, 1, 2)
    grid = nn.functional.interpolate(
        grid, size=(after, after), mode="bicubic", align_corners=False, antialias=True
    )
    return {**state, key: torch.cat([old[:, :1].float(), grid.flatten(2).transpose(1, 2)], dim=1)}
