"""What the external encoders share: any network that returns Features, measured once, as a
Backbone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import nn

from backbones.external.settings import InputSettings
from backbones.shared.encoders.architectures import Architecture
from backbones.shared.encoders.base import EncoderNetwork, LoadedBackbone
from backbones.shared.weights.coverage import Coverage
from bench.contracts import Features, InputSpec
from bench.core.errors import SettingError


def apply_input(spec: InputSpec, settings: InputSettings) -> InputSpec:
    """Return the model's input contract with what the user changed; `size` alone changes `resize`
    in proportion."""
    size = settings.size or spec.size
    resize = settings.resize or max(size, round(spec.resize * size / spec.size))
    return replace(
        spec,
        size=size,
        resize=resize,
        mean=_three(settings.mean or spec.mean),
        std=_three(settings.std or spec.std),
        fit=settings.fit,
    )


def _three(values: tuple[float, ...]) -> tuple[float, ...]:
    values = values * 3 if len(values) == 1 else values
    if len(values) != 3:
        raise SettingError(
            f"mean or std has {len(values)} values.", "Give one, or three separated by commas."
        )
    return values


def tokens(maps: torch.Tensor) -> torch.Tensor:
    """Return maps [B, C, h, w] as tokens [B, h * w, C], row by row."""
    return maps.flatten(2).transpose(1, 2)


def pool_tokens(
    pool: str | None, own: torch.Tensor, first: torch.Tensor | None, patches: torch.Tensor
) -> torch.Tensor:
    """Return the pooled feature that `pool` asks for, from the model's own [B, D], its class token
    (None where it has none) and its patch tokens [B, N, D]."""
    if pool is None:
        return own
    if pool == "mean":
        return patches.mean(1)
    if first is None:
        raise SettingError(f"pool={pool}: this model has no class token.", "Use pool=mean.")
    return first if pool == "cls" else torch.cat([first, patches.mean(1)], dim=1)


def only_pooled_maps(pool: str | None) -> None:
    """Raise SettingError where a network with stages, whose pooled feature is the mean of its last
    map, is asked for another one."""
    if pool is not None:
        raise SettingError(
            f"pool={pool}: this network has maps and no tokens.",
            "Leave pool out: its pooled feature is the mean of its last map.",
        )


def quarters(depth: int) -> list[int]:
    """Return the indices of four blocks evenly apart, the last one included."""
    return sorted({max(1, round(depth * quarter / 4)) - 1 for quarter in (1, 2, 3, 4)})


def features_of(maps: Sequence[torch.Tensor], pooled: torch.Tensor, height: int) -> Features:
    """Return the Features of a network with stages: pyramid = the last map of each stride from 4
    up, patches = stride 16.

    Where there is no map at stride 16 the patches are those of the last map.
    """
    by_stride = {height // item.shape[2]: item for item in maps}
    pyramid = [by_stride[stride] for stride in sorted(by_stride) if stride >= 4][-4:]
    local = by_stride.get(16, pyramid[-1])
    grid = (local.shape[2], local.shape[3])
    return Features(pooled, tokens(local), grid, tuple(pyramid))


def outputs_of(network: nn.Module, size: int) -> list[torch.Tensor]:
    """Return all that a network's Features hold for one blank image."""
    features = network(torch.zeros(1, 3, size, size))
    return [features.pooled, features.patches, *features.pyramid]


class ExternalEncoder(EncoderNetwork):
    """Any network whose forward pass returns Features; its widths and strides are measured on one
    blank image."""

    def __init__(
        self, name: str, network: nn.Module, spec: InputSpec, fixed_size: bool = False
    ) -> None:
        network.eval()
        super().__init__(_measure(name, network, spec))
        self.model = network
        self.fixed_size = fixed_size

    def features(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]."""
        self.check_size(images)
        return self.model(images)

    def check_size(self, images: torch.Tensor) -> None:
        """Raise SettingError for images that the strides do not divide, or of another size than the
        only one a model takes."""
        super().check_size(images)
        size = self.architecture.input.size
        if self.fixed_size and tuple(images.shape[-2:]) != (size, size):
            raise SettingError(
                f"{self.architecture.name}: images of {images.shape[-2]} x {images.shape[-1]} px.",
                f"This model takes {size} x {size} px only: set image_size={size}.",
            )


def _measure(name: str, network: nn.Module, spec: InputSpec) -> Architecture:
    try:
        with torch.inference_mode():
            features = network(torch.zeros(1, 3, spec.size, spec.size))
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise SettingError(
            f"{name} does not take images of {spec.size} x {spec.size} px: {reason}.",
            "Give a size that its patches and windows divide, e.g. ?size=224.",
        ) from error
    strides = tuple(spec.size // item.shape[2] for item in features.pyramid)
    family: Literal["resnet", "vit"] = (
        "vit" if len(set(strides)) == 1 and len(strides) > 1 else "resnet"
    )
    widths = tuple(item.shape[1] for item in features.pyramid)
    return Architecture(
        name, family, spec, features.pooled.shape[1], features.patches.shape[2], widths, strides
    )


class ExternalBackbone(LoadedBackbone):
    """An external encoder as a Backbone; `coverage` where this project read the file itself, else
    the library's own check."""

    def __init__(
        self, name: str, encoder: ExternalEncoder, coverage: Coverage | None = None
    ) -> None:
        super().__init__(name, encoder)
        self.coverage = coverage


class DualBackbone(ExternalBackbone):
    """An external encoder with a text side: `dual` embeds both, the score is the cosine."""

    def __init__(
        self,
        name: str,
        encoder: ExternalEncoder,
        dual: DualEncoder,
        coverage: Coverage | None = None,
    ) -> None:
        super().__init__(name, encoder, coverage)
        self.module = dual
        self.dual = dual
        self.module.eval()

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return L2-normalised image embeddings [B, d]."""
        return nn.functional.normalize(self.dual.image_embedding(images), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return L2-normalised text embeddings [T, d]."""
        return nn.functional.normalize(self.dual.text_embedding(list(texts)), dim=1)

    def embed_patches(self, images: torch.Tensor) -> torch.Tensor | None:
        """Return L2-normalised patch embeddings [B, h, w, d] in the space of texts; None where the
        model brings nothing but its pooled feature there."""
        features = self.features(images)
        patches = self.dual.patch_embedding(features.patches)
        if patches is None:
            return None
        return nn.functional.normalize(patches, dim=2).unflatten(1, features.grid)

    def similarity(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Return the cosine of image and text embeddings [B, T]."""
        return self.embed_images(images) @ self.embed_texts(texts).T


class DualEncoder(nn.Module, ABC):
    """A module that holds both encoders and gives un-normalised embeddings."""

    @abstractmethod
    def image_embedding(self, images: torch.Tensor) -> torch.Tensor:
        """Return image embeddings [B, d]."""

    @abstractmethod
    def text_embedding(self, texts: list[str]) -> torch.Tensor:
        """Return text embeddings [T, d]."""

    def patch_embedding(self, patches: torch.Tensor) -> torch.Tensor | None:
        """Return patch tokens [B, N, D] in the space of texts [B, N, d], brought there as the
        pooled feature is; None, as here, where they cannot be."""
        return None
