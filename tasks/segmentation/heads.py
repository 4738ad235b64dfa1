"""The decoders, registered in mmsegmentation: U-Net, SETR-PUP, UPerNet with its auxiliary head, and
a linear one on patches."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from bench.mm import prepare

prepare("mmseg")

from mmcv.cnn import ConvModule  # noqa: E402 - mmcv and mmseg import only after `prepare`
from mmseg.models.decode_heads.decode_head import BaseDecodeHead  # noqa: E402
from mmseg.models.decode_heads.fcn_head import FCNHead  # noqa: E402
from mmseg.models.decode_heads.setr_up_head import SETRUPHead  # noqa: E402
from mmseg.models.decode_heads.uper_head import UPerHead  # noqa: E402
from mmseg.models.utils import resize  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402

from tasks.segmentation.losses import MaskLoss  # noqa: E402

MODELS.register_module(module=MaskLoss, force=True)


class _OverlappingMasks:
    """One sigmoid per class: targets [B, C, H, W] of 0/1 masks that may overlap (mmseg's own heads
    know one class per pixel)."""

    loss_decode: MaskLoss
    align_corners: bool

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list[Any]) -> dict[str, Tensor]:
        """Return the loss of logits, brought to the size of the masks."""
        target = self._stack_batch_gt(batch_data_samples)  # type: ignore[attr-defined]
        logits = resize(
            seg_logits,
            size=target.shape[2:],
            mode="bilinear",
            align_corners=self.align_corners,
            warning=False,
        )
        return {self.loss_decode.loss_name: self.loss_decode(logits, target)}


def _convolutions(before: int, after: int, norm_cfg: dict[str, Any], depth: int) -> nn.Sequential:
    widths = [before, *[after] * depth]
    pairs = itertools.pairwise(widths)
    return nn.Sequential(*(ConvModule(a, b, 3, padding=1, norm_cfg=norm_cfg) for a, b in pairs))


@MODELS.register_module(force=True)
class UNetHead(_OverlappingMasks, BaseDecodeHead):
    """U-Net decoder: per step x2 nearest, the encoder map of that stride beside it where there is
    one, two 3x3 conv-BN-ReLU.

    The structure of segmentation_models_pytorch's decoder, which MGCA and GLoRIA use, but for the
    skip connection at stride 2, which a pyramid of strides 4, 8, 16, 32 does not have. `widths`:
    channels after each step, down to stride 1.
    """

    def __init__(self, widths: tuple[int, ...], strides: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(input_transform="multiple_select", channels=widths[-1], **kwargs)
        by_stride = dict(zip(strides, self.in_channels, strict=True))
        self.skip_levels: list[int | None] = []
        self.steps = nn.ModuleList()
        before = by_stride[max(strides)]
        stride = max(strides)
        for width in widths:
            stride //= 2
            self.skip_levels.append(strides.index(stride) if stride in by_stride else None)
            self.steps.append(
                _convolutions(before + by_stride.get(stride, 0), width, self.norm_cfg, depth=2)
            )
            before = width
        self.conv_seg = nn.Conv2d(widths[-1], self.out_channels, 3, padding=1)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return logits [B, C, H, W] at stride 1."""
        maps = self._transform_inputs(inputs)
        x = maps[-1]
        for step, level in zip(self.steps, self.skip_levels, strict=True):
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = step(x if level is None else torch.cat([x, maps[level]], dim=1))
        return self.cls_seg(x)


@MODELS.register_module(force=True)
class SETRMaskHead(_OverlappingMasks, SETRUPHead):
    """mmseg's SETR-PUP with its own width after each of the x2 steps (MGCA: 512, 256, 128, 64) and
    a 3x3 output.

    `projection` linear replaces the LayerNorm before the convolutions by MGCA's Linear(D, D).
    """

    def __init__(self, widths: tuple[int, ...], projection: str = "norm", **kwargs: Any) -> None:
        super().__init__(num_convs=0, up_scale=2, channels=widths[-1], align_corners=True, **kwargs)
        before = self.in_channels
        for width in widths:
            up = nn.Upsample(
                scale_factor=2, mode="bilinear", align_corners=True
            )  # mmseg's own warns at every step
            self.up_convs.append(
                nn.Sequential(_convolutions(before, width, self.norm_cfg, depth=1), up)
            )
            before = width
        if projection == "linear":
            self.norm = nn.Linear(self.in_channels, self.in_channels)
        self.conv_seg = nn.Conv2d(widths[-1], self.out_channels, 3, padding=1)


@MODELS.register_module(force=True)
class UPerMaskHead(_OverlappingMasks, UPerHead):
    """mmseg's UPerNet (Xiao et al. 2018) with a sigmoid per class."""


@MODELS.register_module(force=True)
class FCNMaskHead(_OverlappingMasks, FCNHead):
    """mmseg's FCN head with a sigmoid per class: UPerNet's auxiliary head."""


@MODELS.register_module(force=True)
class LinearMaskHead(_OverlappingMasks, BaseDecodeHead):
    """One linear layer on every patch after a BatchNorm, as DINOv2 compares frozen encoders;
    upsampled bilinearly."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(channels=kwargs["in_channels"], **kwargs)
        self.norm = nn.BatchNorm2d(self.in_channels)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return logits [B, C, h, w] at the stride of the map."""
        return self.cls_seg(self.norm(self._transform_inputs(inputs)))
