"""What a decoder sees of a study: the patch tokens of its images, kept or encoded as part of the
training."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.contracts import Backbone, CellContext, GivesObservations, InputSpec
from bench.encoding.beside import Beside
from bench.encoding.features import FeatureCache, Tokens, to_input
from tasks.report_generation.data import Studies
from tasks.report_generation.settings import ReportSettings


@dataclass(frozen=True)
class VisualSource:
    """The visual inputs of studies: kept tokens of a frozen encoder, or pixels where the encoder is
    trained."""

    studies: Studies
    images: int
    spec: InputSpec
    device: str = "cpu"
    patches: Tokens | None = None
    observations: Tokens | None = None

    def inputs(self, rows: np.ndarray) -> dict[str, Tensor]:
        """Return `present` [B, V] and, per place of a study, `patches` [B, V, N, D] (and
        `observations`) or `pixels`."""
        images_of = [self.studies.rows[row] for row in rows]
        flat = np.concatenate(images_of)
        present = np.zeros((len(rows), self.images), bool)
        for number, study in enumerate(images_of):
            present[number, : len(study)] = True
        inputs = {"present": torch.from_numpy(present)}
        if self.patches is None:
            pixels = to_input(self.studies.subset.images(flat), self.spec, self.device)
            return {**inputs, "pixels": _scatter(pixels, inputs["present"])}
        inputs["patches"] = _scatter(torch.from_numpy(self.patches[flat]), inputs["present"])
        if self.observations is not None:
            inputs["observations"] = _scatter(
                torch.from_numpy(self.observations[flat]), inputs["present"]
            )
        return inputs


def _scatter(flat: Tensor, present: Tensor) -> Tensor:
    """Return [B, V, ...] with the items of `flat` [n, ...] where an image is present and zeros
    elsewhere."""
    placed = flat.new_zeros(*present.shape, *flat.shape[1:])
    placed[present.to(flat.device)] = flat
    return placed


def visual_source(backbone: Backbone, studies: Studies, context: CellContext) -> VisualSource:
    """Return the visual inputs of `studies`, features of a frozen encoder computed or found now."""
    settings: ReportSettings = context.settings
    source = VisualSource(studies, settings.images, backbone.input, context.device)
    if settings.encoder == "finetune":
        return source
    cache = FeatureCache(backbone, context)
    extra = (
        cache.tokens(studies.subset, "observations")
        if uses_observations(backbone, settings)
        else None
    )
    return VisualSource(
        studies,
        settings.images,
        backbone.input,
        context.device,
        cache.tokens(studies.subset),
        extra,
    )


def uses_observations(backbone: Backbone, settings: ReportSettings) -> bool:
    """Return whether the decoder also sees the encoder's own extra tokens."""
    return settings.observations == "auto" and isinstance(backbone, GivesObservations)


@dataclass(frozen=True)
class VisualShape:
    """Sizes of the visual tokens: patches of width `patch_dim` on `grid`, extra tokens of width
    `extra_dim` (0: none)."""

    patch_dim: int
    grid: tuple[int, int]
    extra_dim: int = 0
    images: int = 1


@torch.no_grad()
def visual_shape(backbone: Backbone, settings: ReportSettings, device: str) -> VisualShape:
    """Return the sizes of an encoder's tokens, from one blank image."""
    size = backbone.input.size
    blank = torch.zeros(1, backbone.input.channels, size, size, device=device)
    features = backbone.features(blank)
    extra = 0
    if uses_observations(backbone, settings) and isinstance(backbone, GivesObservations):
        extra = backbone.observations(blank).shape[-1]
    return VisualShape(
        features.patches.shape[-1], (features.grid[0], features.grid[1]), extra, settings.images
    )


def sinusoid_2d(grid: tuple[int, int], width: int) -> Tensor:
    """Return fixed positions [h * w, width]: sine and cosine of row and column (as ViT-MAE lays
    them out)."""
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in grid)
    rates = 1 / 10000 ** (torch.arange(width // 4) / (width // 4))
    vertical = (rows[:, None] * rates).repeat_interleave(grid[1], 0)
    horizontal = (columns[:, None] * rates).repeat(grid[0], 1)
    return torch.cat([vertical.sin(), vertical.cos(), horizontal.sin(), horizontal.cos()], 1)


class VisualMemory(nn.Module):
    """Visual inputs to what a decoder attends to: tokens [B, M, width] and which of them are there
    [B, M].

    Patches are projected; with `positions`, where they lie and which image they are of is added
    (R2Gen has neither). Extra tokens come behind the patches of their image. A trained encoder is a
    copy: the one other cells use is left alone.
    """

    positions: Tensor

    def __init__(
        self, shape: VisualShape, settings: ReportSettings, backbone: Backbone | None = None
    ) -> None:
        super().__init__()
        self.shape = shape
        self.beside = None if backbone is None else Beside(copy.deepcopy(backbone))
        if self.beside is not None:
            self.encoder: nn.Module = self.beside.encoder.module.requires_grad_(True)
        bare = settings.bare_patches
        layers: list[nn.Module] = [] if bare else [nn.LayerNorm(shape.patch_dim)]
        layers += [nn.Linear(shape.patch_dim, settings.width)]
        layers += [nn.ReLU()] if bare else []
        self.patches = nn.Sequential(*layers, nn.Dropout(settings.visual_dropout))
        self.extra = nn.Linear(shape.extra_dim, settings.width) if shape.extra_dim else None
        positions = (
            torch.zeros(1, settings.width) if bare else sinusoid_2d(shape.grid, settings.width)
        )
        self.register_buffer("positions", positions, persistent=False)
        self.image = None if bare else nn.Parameter(torch.zeros(shape.images, 1, settings.width))

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return tokens [B, M, width] and a mask [B, M], true where there is a token."""
        patches, extra = self._encoded(batch)
        tokens = self.patches(patches) + self.positions
        if self.extra is not None and extra is not None:
            tokens = torch.cat([tokens, self.extra(extra)], 2)
        if self.image is not None:
            tokens = tokens + self.image
        mask = batch["present"][:, :, None].expand(tokens.shape[:3])
        return tokens.flatten(1, 2), mask.flatten(1)

    def _encoded(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        if self.beside is None:
            return batch["patches"], batch.get("observations")
        present = batch["present"]
        pixels = batch["pixels"][present]
        encoder = self.beside.encoder
        extra = None
        if self.extra is not None and isinstance(encoder, GivesObservations):
            extra = encoder.observations(pixels)
        patches = _scatter(encoder.features(pixels).patches, present)
        return patches, None if extra is None else _scatter(extra, present)
