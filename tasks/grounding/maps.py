"""Maps of an encoder on the cells of the padded square, wherever its view lies in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional

from bench.contracts import (
    REGION_SIDE,
    CellContext,
    GivesGrounding,
    GivesPatchEmbeddings,
    ImageTextEncoder,
    InputSpec,
    Subset,
)
from bench.core.errors import NotApplicableError
from bench.encoding.features import content_box, to_grey, to_input
from bench.encoding.similarity import require_finite
from tasks.grounding.pairs import CELLS, Pairs

IMAGES = 16
TEXTS = 32
"""Most images, and most texts of several images, that are read together: each image of a batch is
asked all of its texts."""


@torch.inference_mode()
def encoder_maps(
    backbone: ImageTextEncoder, subset: Subset, pairs: Pairs, context: CellContext
) -> np.ndarray:
    """Return the map of every pair, float32 [P, CELLS], the mean over its wordings.

    Raise NotApplicableError where the encoder gives no maps, and DataError for values that are not
    finite.
    """
    maps = np.empty((len(pairs), CELLS), np.float32)
    images = np.unique(pairs.rows)
    title = f"maps of {backbone.name}"
    with context.progress.track(title, total=len(images)) as advance:
        for rows, texts in _batches(images, pairs):
            members = np.flatnonzero(np.isin(pairs.rows, rows))
            squares = subset.images(rows)
            pixels = to_input(squares, backbone.input, context.device)
            given = _maps(backbone, pixels, texts).float().cpu()
            windows = seen_windows(squares, backbone.input)
            for pair in members:
                image = int(np.searchsorted(rows, pairs.rows[pair]))
                columns = [texts.index(text) for text in pairs.texts[pair]]
                heat = given[image, columns].mean(0)
                maps[pair] = on_square(heat, windows[image]).reshape(-1)
            advance(len(rows))
    return require_finite(backbone, maps, "maps")


def _batches(images: np.ndarray, pairs: Pairs) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Yield the images in batches, each with all texts that one of them is asked."""
    texts_of: dict[int, set[str]] = {image: set() for image in images.tolist()}
    for row, wordings in zip(pairs.rows.tolist(), pairs.texts, strict=True):
        texts_of[row].update(wordings)
    batch: list[int] = []
    asked: set[str] = set()
    for image, texts in texts_of.items():
        if batch and (len(batch) == IMAGES or len(asked | texts) > TEXTS):
            yield np.array(batch), sorted(asked)
            batch = []
            asked = set()
        batch.append(image)
        asked |= texts
    if batch:
        yield np.array(batch), sorted(asked)


def _maps(backbone: ImageTextEncoder, pixels: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
    """Return maps [B, T, h, w]: where the encoder reads each text, or else the cosine of each patch
    with it."""
    if isinstance(backbone, GivesGrounding):
        given = backbone.grounding(pixels, texts)
        if given is not None:
            return given
    if isinstance(backbone, GivesPatchEmbeddings):
        patches = backbone.embed_patches(pixels)
        if patches is not None:
            return torch.einsum("bhwd,td->bthw", patches, backbone.embed_texts(texts))
    raise NotApplicableError(
        f"grounding needs an encoder that says where it reads a text, backbone '{backbone.name}' "
        "compares whole images alone.",
        "Choose one with a local part, or with patches in the space of its texts.",
    )


def seen_windows(squares: np.ndarray, spec: InputSpec) -> list[tuple[float, float, float, float]]:
    """Return which part of each padded square [n, S, S] an encoder sees: top, left, height and
    width as shares of the side."""
    share = spec.size / spec.resize
    margin = ((spec.resize - spec.size) // 2) / spec.resize
    windows = []
    for image in to_grey(squares):
        side = image.shape[-1]
        top, left, height, width = (
            (0, 0, side, side)
            if spec.fit == "letterbox"
            else content_box(image, square=spec.fit == "shortest")
        )
        windows.append(
            (
                (top + margin * height) / side,
                (left + margin * width) / side,
                share * height / side,
                share * width / side,
            )
        )
    return windows


def on_square(heat: torch.Tensor, window: Sequence[float]) -> np.ndarray:
    """Return a map [h, w] of a window of the square on its cells [G, G], bilinear; its smallest
    value stands where the encoder does not look."""
    top, left, height, width = window
    middles = (torch.arange(REGION_SIDE, dtype=torch.float64) + 0.5) / REGION_SIDE
    down = 2 * (middles - top) / height - 1
    across = 2 * (middles - left) / width - 1
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)[None]
    placed = functional.grid_sample(
        heat.double()[None, None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )[0, 0]
    outside = (down.abs() > 1)[:, None] | (across.abs() > 1)[None]
    squares: np.ndarray = placed.masked_fill(outside, float(heat.min())).numpy()
    return squares
