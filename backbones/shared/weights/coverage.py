"""Fill a network with a state dict and account for it: every weight comes from the file, or the
file is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backbones.shared.weights.adapting import Adaptations, adapt
from backbones.shared.weights.reading import State
from backbones.shared.weights.values import check_values
from bench.core.errors import CheckpointError
from bench.core.progress import default_progress

_SHOWN = 12
_COMPUTED = (
    "num_batches_tracked",
    "relative_position_index",
    "relative_coords_table",
    "attn_mask",
    "position_ids",
)
"""Buffers that a network computes or counts by itself."""


@dataclass(frozen=True)
class Coverage:
    """How much of a network a checkpoint filled: tensors and single numbers.

    `missing`: weights that the file did not give; `idle`: the same of those that no forward pass
    uses, which count for nothing; `unused` and `unused_names`: the file's tensors left over;
    `adaptations`: what was changed to fit, in words.
    """

    tensors: int
    all_tensors: int
    numbers: int
    all_numbers: int
    missing: tuple[str, ...] = ()
    unused: int = 0
    unused_names: tuple[str, ...] = ()
    adaptations: tuple[str, ...] = ()
    source: str = ""
    idle: tuple[str, ...] = ()

    @property
    def fraction(self) -> float:
        """Return the smaller of the two shares: of tensors and of numbers."""
        return min(self.tensors / max(1, self.all_tensors), self.numbers / max(1, self.all_numbers))

    def __str__(self) -> str:
        text = f"{self.tensors} of {self.all_tensors} tensors, {self.fraction:.1%} of the encoder"
        parts = [f"missing {_some(self.missing)}"] if self.missing else []
        return "; ".join([text, *parts, *self.adaptations])

    def account(self) -> dict[str, Any]:
        """Return what stands in a result: the share that was filled, what was left over, what was
        changed."""
        return {
            "coverage": self.fraction,
            "missing": list(self.missing),
            "idle": list(self.idle),
            "unused": list(self.unused_names[:_SHOWN]),
            "unused_tensors": self.unused,
            "adaptations": list(self.adaptations),
            "weights": self.source,
        }


def take_prefix(
    state: State, prefixes: Sequence[str], expected: Mapping[str, object] | None = None
) -> State:
    """Return the keys under the first prefix that has any (of `expected`, where given), the prefix
    taken off."""
    for prefix in prefixes:
        inner = {
            key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)
        }
        if inner and (expected is None or any(key in expected for key in inner)):
            return inner
    return {}


def expected_state(module: nn.Module) -> State:
    """Return the tensors a checkpoint has to fill: all but the buffers that are computed."""
    return {key: value for key, value in module.state_dict().items() if not is_computed(key, value)}


def is_computed(name: str, tensor: torch.Tensor) -> bool:
    """Tell whether an entry of a state dict is computed by its network: a counter, an index or a
    mask."""
    return name.endswith(_COMPUTED) or not (tensor.is_floating_point() or tensor.is_complex())


def _none_idle(names: Collection[str]) -> set[str]:
    return set()


def fill(
    module: nn.Module,
    state: State,
    path: Path,
    what: str,
    *,
    idle: Callable[[Collection[str]], set[str]] = _none_idle,
    leaves: Sequence[str] = (),
    zeros: Sequence[str] = (),
    adaptations: Adaptations = (),
    silent: bool = False,
) -> Coverage:
    """Load `state` (keys of `module`) into `module`, print (unless `silent`) and return the
    coverage.

    Position embeddings of another size are interpolated, a stem of one channel is repeated.
    `idle(names)` returns those of the missing weights that no forward pass uses; `leaves` are
    patterns of further layers that the file may have, `zeros` endings of weights that may be zero.
    Raises CheckpointError naming every weight that is missing, of another shape, of a wrong type,
    not finite or all zero, and layers that the network has not.
    """
    expected = expected_state(module)
    state, fitted = adapt(state, expected)
    fitting = {
        key: state[key]
        for key, value in expected.items()
        if key in state and state[key].shape == value.shape
    }
    absent = {key for key in expected if key not in fitting}
    spared = idle(absent) if absent else set()
    used = {key: value for key, value in expected.items() if key not in spared}
    coverage = _account(used, state, fitting, path, (*adaptations, *fitted), tuple(sorted(spared)))
    _check_complete(coverage, path, what)
    check_depth(coverage.unused_names, expected, leaves, path, what)
    check_values(fitting, path, zeros=tuple(zeros))
    module.load_state_dict(fitting, strict=False)
    if not silent:
        default_progress().say(f"{what}: {coverage} from {path}")
    return coverage


def whole(state: State, source: str) -> Coverage:
    """Return the coverage of a network that a library filled in whole by its own strict check."""
    numbers = sum(value.numel() for value in state.values())
    return Coverage(len(state), len(state), numbers, numbers, source=source)


def check_shapes(module: nn.Module, state: State, path: Path, what: str) -> None:
    """Raise CheckpointError naming the weights of `module`, which may lie on the meta device, that
    `state` lacks or holds in another shape."""
    expected = expected_state(module)
    fitting = {
        key: state[key]
        for key, value in expected.items()
        if key in state and state[key].shape == value.shape
    }
    _check_complete(_account(expected, state, fitting, path, (), ()), path, what)


def _check_complete(coverage: Coverage, path: Path, what: str) -> None:
    if coverage.missing:
        raise CheckpointError(
            f"checkpoint {path} fills {math.floor(100 * coverage.fraction)}% of {what}: "
            f"{_some(coverage.missing)}.",
            "It is of another architecture, renamed or damaged; every weight must come from it.",
        )


def check_depth(
    unused: Sequence[str], wanted: Collection[str], leaves: Sequence[str], path: object, what: str
) -> None:
    """Raise CheckpointError where left-over tensors are further layers of those the network has:
    the file is of a deeper network, whose first layers alone would be another encoder."""
    layers = {_numbered(key) for key in wanted}
    deeper = [
        key
        for key in unused
        if re.search(r"\d", key)
        and _numbered(key) in layers
        and not any(fnmatch(key, pattern) for pattern in leaves)
    ]
    if deeper:
        raise CheckpointError(
            f"checkpoint {path} has layers that {what} has not: {_some(deeper)}.",
            "It is of a deeper network: name that one.",
        )


def _numbered(key: str) -> str:
    """Return a key with its numbers left out, the same for all layers of a kind."""
    return re.sub(r"\d+", "#", key)


@torch.no_grad()
def idle_weights(
    module: nn.Module, names: Collection[str], outputs: Callable[[], Sequence[torch.Tensor]]
) -> set[str]:
    """Return `names`, set to zero, where none of the module's `outputs()` depends on them; else an
    empty set.

    They are set to NaN for one forward pass, which reaches everything that depends on them.
    """
    entries = module.state_dict()
    for name in names:
        entries[name].fill_(torch.nan)
    if not all(bool(torch.isfinite(output).all()) for output in outputs()):
        return set()
    for name in names:
        entries[name].zero_()
    return set(names)


def _account(
    wanted: State,
    state: State,
    fitting: State,
    path: Path,
    adaptations: Adaptations,
    idle: tuple[str, ...],
) -> Coverage:
    wrong = {
        key: f"{key} {_shape(state[key])} instead of {_shape(wanted[key])}"
        for key in wanted
        if key in state
    }
    unused = tuple(
        key for key, value in state.items() if key not in wanted and not is_computed(key, value)
    )
    return Coverage(
        tensors=len(fitting),
        all_tensors=len(wanted),
        numbers=sum(value.numel() for value in fitting.values()),
        all_numbers=sum(value.numel() for value in wanted.values()),
        missing=tuple(wrong.get(key, key) for key in wanted if key not in fitting),
        unused=len(unused),
        unused_names=unused,
        adaptations=adaptations,
        source=str(path),
        idle=idle,
    )


def _shape(tensor: torch.Tensor) -> str:
    return str(list(tensor.shape))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} tensor(s): {', '.join(names[:_SHOWN])}{more}"
