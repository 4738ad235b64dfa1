"""The image encoders of the published checkpoints, built on timm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from backbones.published.table import PublishedWeights
from backbones.shared.encoders.architectures import ARCHITECTURES, Architecture
from backbones.shared.encoders.base import EncoderNetwork
from backbones.shared.encoders.image import ResNetEncoder, ViTEncoder
from bench.contracts import Features


def _tokens(maps: torch.Tensor) -> torch.Tensor:
    return maps.flatten(2).transpose(1, 2)


class PublishedResNet(ResNetEncoder):
    """A ResNet-50 of 3 or 4 stages: pooled = mean of the last, patches = layer3, pyramid = all.

    With `upsample`, images are enlarged to that many px (bilinear, corners aligned) for pooled and
    patches, as GLoRIA and MGCA do; the pyramid, which must have strides 4, 8, 16, 32 of the image
    given, is made from the image as it is.
    """

    def __init__(self, architecture: Architecture, upsample: int = 0) -> None:
        super().__init__(_RESNET50)
        self.architecture = architecture
        self.upsample = upsample
        self.stages = len(architecture.pyramid_channels)
        if self.stages == 3:
            self.model.layer4 = nn.Identity()

    def pyramid(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the stages' maps; cheaper than `features` for a dense head."""
        self.check_size(images)
        return self._stages(images)

    def features(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]."""
        pyramid = self.pyramid(images)
        maps = self._stages(self._enlarged(images)) if self._enlarges(images) else pyramid
        local = maps[2]
        return Features(
            maps[-1].mean((2, 3)), _tokens(local), (local.shape[2], local.shape[3]), pyramid
        )

    def _enlarges(self, images: torch.Tensor) -> bool:
        return bool(self.upsample) and images.shape[-2:] != (self.upsample, self.upsample)

    def _enlarged(self, images: torch.Tensor) -> torch.Tensor:
        size = (self.upsample, self.upsample)
        return nn.functional.interpolate(images, size=size, mode="bilinear", align_corners=True)

    def _stages(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        model = self.model
        stages = []
        maps = model.maxpool(model.act1(model.bn1(model.conv1(images))))
        for number in range(1, self.stages + 1):
            maps = getattr(model, f"layer{number}")(maps)
            stages.append(maps)
        return tuple(stages)


class PublishedViT(ViTEncoder):
    """A ViT whose pooled feature is the class token, or with `pooling="mean"` the mean of the patch
    tokens (MRM)."""

    def __init__(self, architecture: Architecture, pooling: str = "cls") -> None:
        super().__init__(architecture)
        self.pooling = pooling

    def features(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]."""
        features = super().features(images)
        return (
            replace(features, pooled=features.patches.mean(1))
            if self.pooling == "mean"
            else features
        )


class SwinEncoder(EncoderNetwork):
    """Swin-T: pooled = mean of the last tokens, patches = the last tokens, pyramid = four stages at
    strides 4, 8, 16, 32.

    Windows are padded where the image is not of the size trained on.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.model = SwinTransformer(num_classes=0, strict_img_size=False, **architecture.options)

    def features(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]."""
        self.check_size(images)
        last, pyramid = self.model.forward_intermediates(images, norm=False, output_fmt="NCHW")
        patches = last.flatten(1, 2)  # [B, h, w, C], normalised
        return Features(patches.mean(1), patches, (last.shape[1], last.shape[2]), tuple(pyramid))


_RESNET50 = ARCHITECTURES["resnet50"]


def architecture_of(published: PublishedWeights) -> Architecture:
    """Return the architecture of a published checkpoint, with its own input contract."""
    facts = {
        "resnet50": _RESNET50,
        "resnet50_layer3": replace(
            _RESNET50,
            name=published.architecture,
            pooled_dim=1024,
            pyramid_channels=(256, 512, 1024),
            pyramid_strides=(4, 8, 16),
        ),
        "vit_base": ARCHITECTURES["vit_base_patch16_224"],
        "vit_base_clip": _vit_base_clip(published.architecture),
        "swin_tiny": _swin_tiny(published),
    }[published.network]
    return replace(facts, input=published.input)


def _vit_base_clip(name: str) -> Architecture:
    """Return OpenAI CLIP's ViT-B/16 without its last block (PTUnifier)."""
    base = ARCHITECTURES["vit_base_patch16_224"]
    norm = partial(nn.LayerNorm, eps=1e-5)
    options = {
        **base.options,
        "depth": 11,
        "pre_norm": True,
        "act_layer": "quick_gelu",
        "norm_layer": norm,
    }
    return replace(base, name=name, options=options)


def _swin_tiny(published: PublishedWeights) -> Architecture:
    """Return Swin-T, window 7, to be used like a ResNet by dense heads."""
    widths = (96, 192, 384, 768)
    options = {
        "img_size": 224,
        "embed_dim": 96,
        "depths": (2, 2, 6, 2),
        "num_heads": (3, 6, 12, 24),
        "window_size": 7,
    }
    return Architecture(
        published.architecture,
        "resnet",
        published.input,
        768,
        768,
        widths,
        (4, 8, 16, 32),
        "",
        options,
    )


def build_network(
    published: PublishedWeights, seed: int = 0, upsample: int | None = None
) -> EncoderNetwork:
    """Return the untrained encoder of a published checkpoint; what a file lacks keeps these values,
    which `seed` decides."""
    architecture = architecture_of(published)
    size = published.upsample if upsample is None else upsample
    builders: dict[str, Callable[[], EncoderNetwork]] = {
        "resnet": lambda: PublishedResNet(architecture, size),
        "vit": lambda: PublishedViT(architecture, published.pooling),
        "swin": lambda: SwinEncoder(architecture),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return builders[published.network.split("_")[0].removesuffix("50")]()
