"""ResNet and ViT image encoders (timm) in the form the methods and heads see."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer

from backbones.shared.encoders.architectures import Architecture
from backbones.shared.encoders.base import EncoderNetwork
from bench.contracts import Features


def _tokens(maps: torch.Tensor) -> torch.Tensor:
    """Return maps [B, C, h, w] as tokens [B, h * w, C], row by row."""
    return maps.flatten(2).transpose(1, 2)


class ResNetEncoder(EncoderNetwork):
    """A ResNet: pooled = mean of layer4, patches = layer3, pyramid = layer1..4 (strides 4, 8, 16,
    32)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        options: dict[str, Any] = dict(architecture.options)
        block: Any = {"basic": BasicBlock, "bottleneck": Bottleneck}[options.pop("block")]
        model: Any = ResNet(block, num_classes=0, zero_init_last=False, **options)
        self.model: Any = model.to(
            memory_format=torch.channels_last
        )  # a quarter faster on CPUs, and what GPUs want

    def features(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]."""
        self.check_size(images)
        model = self.model
        pyramid = []
        maps = model.conv1(images.contiguous(memory_format=torch.channels_last))
        maps = model.maxpool(model.act1(model.bn1(maps)))
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
            maps = self.block(stage, maps)
            pyramid.append(maps)
        local = pyramid[2]
        return Features(
            maps.mean((2, 3)), _tokens(local), (local.shape[2], local.shape[3]), tuple(pyramid)
        )


class ViTEncoder(EncoderNetwork):
    """A ViT: pooled = class token, patches = the normalised tokens of the last block, pyramid =
    four blocks evenly apart.

    Position embeddings are interpolated where the image is not of the size trained on.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        model = VisionTransformer(num_classes=0, dynamic_img_size=True, **architecture.options)
        self.model: Any = model
        depth = len(model.blocks)
        self.blocks = [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]

    def recompute(self) -> None:
        """Compute the activations inside blocks again in the backward pass instead of keeping
        them."""
        self.model.set_grad_checkpointing(True)

    def features(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]."""
        self.check_size(images)
        tokens, pyramid = self.model.forward_intermediates(images, indices=self.blocks, norm=True)
        grid = (pyramid[-1].shape[2], pyramid[-1].shape[3])
        return Features(tokens[:, 0], tokens[:, 1:], grid, tuple(pyramid))


def build_encoder(architecture: Architecture, seed: int = 0) -> EncoderNetwork:
    """Return a randomly initialised encoder; the same seed gives the same weights, and the global
    generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return (
            ResNetEncoder(architecture)
            if architecture.family == "resnet"
            else ViTEncoder(architecture)
        )
