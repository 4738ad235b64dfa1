"""Maps of the test images are encoded once for all heads on an encoder, and change no number."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from bench.contracts import TASKS, CellContext, InputSpec, Subset
from bench.core.progress import Silent
from bench.mm import maps as kept
from bench.mm.maps import MapSource, with_test_maps


class Counting(nn.Module):
    """One strided convolution that counts the images it has seen."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 4, 4, stride=4)
        self.seen = 0

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        self.seen += len(images)
        return (self.convolution(images),)


def subset(n: int = 10, seed: int = 0) -> Subset:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 16, 16)).astype(np.uint8)
    index = pd.DataFrame({"image_id": [f"{seed}_{row}" for row in range(n)]})
    return Subset(index, np.arange(n), pixels)


@pytest.fixture
def context(tmp_path: Path) -> CellContext:
    task = TASKS.get("siim_seg")
    return CellContext(task, SimpleNamespace(), tmp_path, "cpu", 0, "demo", Silent())


def model() -> SimpleNamespace:
    backbone = Counting()
    return SimpleNamespace(backbone=backbone, eval=backbone.eval)


def test_maps_are_those_that_are_computed_in_batches_to_the_last_bit(context: CellContext) -> None:
    encoder = model()
    source = MapSource(subset(), InputSpec(16, 16))
    whole = with_test_maps(source, encoder, 4, context)
    for rows in source.chunks(4):
        (maps,) = whole.inputs(rows)
        (computed,) = encoder.backbone(source.inputs(rows))
        assert torch.equal(maps, computed)


def test_a_second_head_encodes_nothing_and_other_images_replace_the_maps(
    context: CellContext,
) -> None:
    encoder = model()
    for seed, seen in ((0, 10), (0, 10), (1, 20), (0, 30)):
        with_test_maps(MapSource(subset(seed=seed), InputSpec(16, 16)), encoder, 4, context)
        assert encoder.backbone.seen == seen
        assert len(context.test_maps) == 1


def test_maps_beyond_the_limit_are_not_kept(
    context: CellContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_image = 4 * 4 * 4 * 4  # channels, height, width, bytes
    encoder = model()
    source = MapSource(subset(), InputSpec(16, 16))
    monkeypatch.setattr(kept, "MOST_KEPT", 10 * of_image - 1)
    assert with_test_maps(source, encoder, 4, context).maps == ()
    assert encoder.backbone.seen == 4, "the first batch tells"
    monkeypatch.setattr(kept, "MOST_KEPT", 10 * of_image)
    context.test_maps.clear()
    assert with_test_maps(source, encoder, 4, context).maps[0].shape == (10, 4, 4, 4)
