"""What every backbone is made of: an image encoder and its loaded form for the heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from backbones.shared.encoders.architectures import Architecture
from backbones.shared.weights.coverage import Coverage
from bench.contracts import Features, InputSpec
from bench.core.errors import SettingError


class EncoderNetwork(nn.Module, ABC):
    """An image encoder of one architecture: images [B, 3, H, W] in, Features out."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.recomputed = False
        self.model: Any

    @abstractmethod
    def features(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]; H and W divisible by the largest stride."""

    def recompute(self) -> None:
        """Compute the activations inside blocks again in the backward pass instead of keeping
        them."""
        self.recomputed = True

    def block(self, part: nn.Module, maps: torch.Tensor) -> torch.Tensor:
        """Run a part of the network; where wanted, recompute it in the backward pass with
        BatchNorm's statistics left alone."""
        if not (self.recomputed and torch.is_grad_enabled()):
            return part(maps)
        return checkpoint(
            part,
            maps,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _statistics_fixed(part)),
        )

    def compile_features(self) -> None:
        """Pass `features` through torch.compile; the names of the weights stay."""
        self.features = torch.compile(self.features)  # type: ignore[method-assign]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the pooled features [B, D]."""
        return self.features(images).pooled

    def check_size(self, images: torch.Tensor) -> None:
        """Raise SettingError for images that the strides do not divide."""
        stride = max(self.architecture.pyramid_strides)
        if images.shape[-1] % stride or images.shape[-2] % stride:
            raise SettingError(
                f"{self.architecture.name}: images of {images.shape[-2]} x {images.shape[-1]} px.",
                f"Height and width must be multiples of {stride}.",
            )


@contextmanager
def _statistics_fixed(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of every BatchNorm as they are: a second forward pass must not
    move them again."""
    norms = [
        layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


class LoadedBackbone:
    """An ImageEncoder over an encoder network."""

    coverage: Coverage | None = None
    """How much of the encoder a file filled; None for untrained weights."""

    def __init__(self, name: str, encoder: EncoderNetwork, module: nn.Module | None = None) -> None:
        self.name = name
        self.encoder = encoder
        self.module: nn.Module = module if module is not None else encoder
        facts = encoder.architecture
        self.architecture = facts.name
        self.family: Literal["resnet", "vit"] = facts.family
        self.input: InputSpec = facts.input
        self.pooled_dim = facts.pooled_dim
        self.patch_dim = facts.patch_dim
        self.pyramid_channels = facts.pyramid_channels
        self.pyramid_strides = facts.pyramid_strides
        self.module.eval()

    @property
    def has_text(self) -> bool:
        """Tell whether it reads texts too; for scripts of before there was `has_text_side`."""
        return callable(getattr(self, "embed_texts", None))

    def account(self) -> Mapping[str, Any]:
        """Return where the weights come from, as it stands in a result."""
        return self.coverage.account() if self.coverage else {}

    def features(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]."""
        return self.encoder.features(images)
