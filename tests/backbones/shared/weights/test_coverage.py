"""Every weight comes from the file: what is missing, of a wrong type or damaged is named."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from backbones.shared.weights.coverage import expected_state, fill, idle_weights
from backbones.shared.weights.reading import state_dict_of
from bench.core.errors import CheckpointError

FILE = Path("file")


def network() -> torch.nn.modules.container.Sequential:
    torch.manual_seed(0)
    layers = (nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    return nn.Sequential(*layers).eval()


def state(**changes: Any) -> dict[str, torch.Tensor]:
    return {**network().state_dict(), **changes}


class Masked(nn.Module):
    """A layer with an index and a mask it computes itself, and a token only pre-training uses."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.mask_token = nn.Parameter(torch.rand(2))
        self.register_buffer("relative_position_index", torch.arange(4))
        self.register_buffer("attn_mask", torch.zeros(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images)


def test_buffers_that_are_computed_need_not_be_in_the_file() -> None:
    assert set(expected_state(Masked())) == {"layer.weight", "layer.bias", "mask_token"}


def test_a_weight_no_forward_pass_uses_counts_for_nothing_and_is_not_random() -> None:
    module = Masked()
    weights = {k: v for k, v in module.state_dict().items() if k != "mask_token"}
    inputs = torch.zeros(1, 2)

    def idle(names: Collection[str]) -> set[str]:
        return idle_weights(module, names, lambda: [module(inputs)])

    coverage = fill(module, weights, FILE, "it", idle=idle)
    assert coverage.fraction == 1.0
    assert coverage.idle == ("mask_token",)
    assert not module.mask_token.any()


def test_a_weight_the_forward_pass_uses_is_never_idle() -> None:
    module = Masked()
    with pytest.raises(CheckpointError, match=r"layer\.bias"):
        fill(
            module,
            {"layer.weight": torch.ones(2, 2)},
            FILE,
            "it",
            idle=lambda names: idle_weights(module, names, lambda: [module(torch.zeros(1, 2))]),
        )


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, torch.bool, torch.int64])
def test_weights_of_another_kind_of_number_are_refused_by_name(dtype: torch.dtype) -> None:
    with pytest.raises(
        CheckpointError, match=r"file: 0\.weight holds (int|complex|bool)\d* numbers"
    ):
        fill(network(), state(**{"0.weight": torch.ones(4, 4).to(dtype)}), FILE, "it")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read(dtype: torch.dtype) -> None:
    module = network()
    fill(module, {k: v.to(dtype) for k, v in state().items()}, FILE, "it")
    assert module[0].weight.dtype == torch.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(value: float) -> None:
    broken = torch.ones(4)
    broken[2] = value
    with pytest.raises(CheckpointError, match=r"not finite in 1\.running_mean"):
        fill(network(), state(**{"1.running_mean": broken}), FILE, "it")


@pytest.mark.parametrize(("name", "shape"), [("2.weight", (2, 4)), ("1.running_var", (4,))])
def test_weights_of_nothing_but_zeros_are_refused_by_name(
    name: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(CheckpointError, match=rf"{name} is all zero"):
        fill(network(), state(**{name: torch.zeros(shape)}), FILE, "it")


def test_zero_biases_and_scales_are_right() -> None:
    zeros = {"0.bias": torch.zeros(4), "1.weight": torch.zeros(4)}
    assert fill(network(), state(**zeros), FILE, "it").fraction == 1.0


PLAIN = {
    "sparse": lambda: torch.ones(4, 4).to_sparse(),
    "meta": lambda: torch.empty(4, 4, device="meta"),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(4, 4), 0.1, 0, torch.qint8),
    r"\[1048576, 1048576\]": lambda: torch.ones(1).expand(1 << 20, 1 << 20),
}


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_that_hold_no_plain_numbers_are_refused_by_name(kind: str) -> None:
    with pytest.raises(CheckpointError, match=rf"0\.weight is a {kind}"):
        state_dict_of({"0.weight": PLAIN[kind]()}, FILE)


def test_what_is_left_over_is_named_in_the_account() -> None:
    coverage = fill(network(), state(**{"head.weight": torch.ones(3, 2)}), FILE, "it")
    account = coverage.account()
    assert (account["coverage"], account["unused"]) == (1.0, ["head.weight"])
    assert (account["unused_tensors"], account["weights"]) == (1, "file")
