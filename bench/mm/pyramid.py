"""ViTDet's simple feature pyramid, a neck mmdetection has only in its projects folder."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.functional import max_pool2d


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(1, channels)  # LayerNorm over channels and places, for maps


class SimplePyramid(BaseModule):
    """Make levels at `scales` times the resolution of the last map (a power of two each), all of
    width `out_channels`.

    Li et al. 2022, section 3: transposed convolutions up, max pooling down, then 1x1 and 3x3
    convolutions with a norm. `extra_levels` more are the coarsest one subsampled by 2.
    """

    def __init__(
        self, in_channels: int, out_channels: int, scales: Sequence[float], extra_levels: int = 0
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            self._level(in_channels, out_channels, scale) for scale in scales
        )
        self.extra_levels = extra_levels

    @staticmethod
    def _level(before: int, after: int, scale: float) -> nn.Sequential:
        layers: list[nn.Module] = []
        steps = round(math.log2(scale))
        for _ in range(steps):
            layers += [
                nn.ConvTranspose2d(before, before // 2, 2, stride=2),
                _norm(before // 2),
                nn.GELU(),
            ]
            before //= 2
        if steps < 0:
            layers.append(nn.MaxPool2d(2**-steps))
        layers += [nn.Conv2d(before, after, 1, bias=False), _norm(after)]
        return nn.Sequential(
            *layers, nn.Conv2d(after, after, 3, padding=1, bias=False), _norm(after)
        )

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the levels from fine to coarse, of the last of `inputs` [B, C, h, w]."""
        maps = [level(inputs[-1]) for level in self.levels]
        for _ in range(self.extra_levels):
            maps.append(max_pool2d(maps[-1], 1, stride=2))
        return tuple(maps)
