"""The simple pyramid and the kept maps."""

from __future__ import annotations

import pytest
import torch

from bench.mm import prepare
from bench.mm.maps import take_maps

prepare("mmdet")

from bench.mm.pyramid import SimplePyramid  # noqa: E402


@pytest.mark.parametrize(("scales", "extra"), [((4, 2, 1, 0.5), 1), ((2, 1, 0.5), 0), ((1,), 0)])
def test_simple_pyramid_has_the_sizes_asked_for(scales: tuple[float, ...], extra: int) -> None:
    neck = SimplePyramid(16, 8, scales, extra)
    levels = neck((torch.zeros(2, 16, 8, 8), torch.randn(2, 16, 8, 8)))
    sizes = [int(8 * scale) for scale in scales] + [int(8 * scales[-1]) // 2] * extra
    assert [tuple(level.shape) for level in levels] == [(2, 8, size, size) for size in sizes]
    sum(level.sum() for level in levels).backward()
    assert all(parameter.grad is not None for parameter in neck.parameters())


def test_kept_maps_come_back_in_single_precision() -> None:
    maps = (torch.arange(12.0).reshape(3, 4).half(), torch.ones(3, 1).half())
    found = take_maps(maps, [2, 0])
    assert found[0].dtype == torch.float32 and found[0][:, 0].tolist() == [8.0, 0.0]
