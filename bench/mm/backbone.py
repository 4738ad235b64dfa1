"""The adapter by which mmsegmentation and mmdetection see any Backbone: a module that returns its
pyramid."""

from __future__ import annotations

import contextlib
import copy
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from bench.contracts import BACKBONES, Backbone, BackboneRequest, ImageEncoder, Profile
from bench.core.errors import SettingError
from bench.encoding.beside import Beside
from bench.mm.pyramid import SimplePyramid


class PyramidBackbone(BaseModule):
    """Return the pyramid of an encoder as a tuple of maps [B, C_i, H_i, W_i]; a tuple given is
    passed through (cached features).

    `levels` are the places in the pyramid that are returned, default all. `frozen` encoders run
    without gradient. With `batchnorm="eval"` a frozen encoder is no sub-module: it is neither saved
    nor switched to training mode, and not one of its buffers changes. `batchnorm="train"` (MGCA,
    GLoRIA) and fine-tuning work on a copy.
    """

    def __init__(
        self,
        backbone: Backbone,
        frozen: bool = True,
        batchnorm: Literal["eval", "train"] = "eval",
        levels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.levels = None if levels is None else tuple(levels)
        self.frozen = frozen
        self.fixed = frozen and batchnorm == "eval"
        self.batchnorm = batchnorm
        encoder = backbone if self.fixed else copy.deepcopy(backbone)
        encoder.module.requires_grad_(not frozen)
        if self.fixed:
            encoder.module.eval()
        else:
            self.encoder_module = encoder.module
        self.beside = Beside(encoder)

    @property
    def encoder(self) -> ImageEncoder:
        """Return the encoder."""
        return self.beside.encoder

    def forward(self, inputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Encode normalised images [B, 3, H, W]."""
        if isinstance(inputs, (tuple, list)):
            return tuple(inputs)
        with torch.no_grad() if self.frozen else contextlib.nullcontext():
            pyramid = self.encoder.features(inputs).pyramid
        if not pyramid:
            raise SettingError(
                f"backbone '{self.encoder.name}' gives no pyramid.",
                "Dense heads need feature maps.",
            )
        return pyramid if self.levels is None else tuple(pyramid[level] for level in self.levels)

    def train(self, mode: bool = True) -> PyramidBackbone:
        """Switch to training mode; BatchNorm layers of the encoder stay in evaluation mode unless
        `batchnorm="train"`."""
        super().train(mode)
        if self.batchnorm == "eval":
            for layer in self.encoder.module.modules():
                if self.fixed or isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.training = False
        return self

    def init_weights(self) -> None:
        """Leave the encoder as it was loaded (mmengine would re-initialise it)."""

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> PyramidBackbone:
        """Move or cast the encoder too, which is no sub-module when fixed."""
        if self.fixed:
            self.encoder.module._apply(function, recurse)
        return super()._apply(function, recurse)


class PlaceBenchBackbone(PyramidBackbone):
    """An encoder of this harness by its name, for plain mmsegmentation and mmdetection configs.

    `dict(type="PlaceBenchBackbone", name="place", architecture="vit",
    checkpoint="encoder.safetensors", out_indices=(1, 2, 3))`: `name`, `architecture` and `profile`
    as on the command line; `checkpoint` is what `place-bench pretrain` wrote, or a published file;
    `out_indices` are places in the pyramid. A frozen encoder is not part of the framework's own
    checkpoints.
    """

    def __init__(
        self,
        name: str,
        architecture: str = "",
        profile: Profile = "paper",
        checkpoint: str | None = None,
        frozen: bool = True,
        batchnorm: Literal["eval", "train"] = "eval",
        out_indices: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        request = BackboneRequest(
            profile, architecture, seed, Path(checkpoint) if checkpoint else None
        )
        super().__init__(BACKBONES.get(name).build(request), frozen, batchnorm, out_indices)


def register(package: Literal["mmseg", "mmdet"]) -> None:
    """Register the adapters and the simple pyramid in the model registry of `package`; does nothing
    the second time."""
    models = importlib.import_module(f"{package}.registry").MODELS
    for module in (PyramidBackbone, PlaceBenchBackbone, SimplePyramid):
        if module.__name__ not in models.module_dict:
            models.register_module(module=module)
