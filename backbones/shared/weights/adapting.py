"""Bring tensors of another shape to the network's: position embeddings, and stems made for one grey
channel."""

from __future__ import annotations

import math

import torch
from torch import nn

from backbones.shared.weights.reading import State

Adaptations = tuple[str, ...]


def adapt(state: State, wanted: State) -> tuple[State, Adaptations]:
    """Return `state` with the tensors that have one right form in the shape of `wanted`, and a
    sentence for each that was changed."""
    state, positions = adapt_positions(state, wanted)
    state, stems = adapt_grey_stem(state, wanted)
    return state, (*positions, *stems)


def adapt_grey_stem(state: State, wanted: State) -> tuple[State, Adaptations]:
    """Repeat a convolution over one channel [C, 1, h, w] to the three that are wanted, divided by
    three: the same answer for a grey image in three equal channels."""
    changed = dict(state)
    sentences = []
    for key, target in wanted.items():
        tensor = state.get(key)
        if tensor is None or tensor.ndim != 4 or target.ndim != 4 or target.shape[1] != 3:
            continue
        if tensor.shape == (target.shape[0], 1, *target.shape[2:]):
            changed[key] = tensor.expand(-1, 3, -1, -1) / 3
            sentences.append(f"{key}: one grey channel, repeated to three and divided by three")
    return changed, tuple(sentences)


def adapt_positions(
    state: State, wanted: State, key: str = "pos_embed"
) -> tuple[State, Adaptations]:
    """Interpolate position embeddings [1, 1 + n, D] to the grid that is wanted (bicubic); without a
    place for the class token, which then got no position, it gets zeros.

    What is no square grid behind one class token is left alone: it is reported as a tensor of
    another shape.
    """
    old = state.get(key)
    new = wanted.get(key)
    if old is None or new is None or old.shape == new.shape or not _are_positions(old, new):
        return state, ()
    after = _side(new.shape[1] - 1)
    sentences = []
    if _side(old.shape[1] - 1) is None and _side(old.shape[1]) is not None:
        old = torch.cat([torch.zeros_like(old[:, :1]), old], dim=1)
        sentences.append(f"{key}: no position for the class token in the file, it gets zeros")
    before = _side(old.shape[1] - 1)
    if before is None or after is None:
        return state, ()
    if before != after:
        old = _interpolate(old, before, after)
        sentences.append(f"{key}: interpolated from {before} x {before} to {after} x {after}")
    return {**state, key: old}, tuple(sentences)


def _are_positions(old: torch.Tensor, new: torch.Tensor) -> bool:
    return old.ndim == new.ndim == 3 and old.shape[-1] == new.shape[-1] and old.shape[1] > 1


def _side(count: int) -> int | None:
    """Return the side of a square grid of `count` places; None where it is none."""
    side = math.isqrt(max(0, count))
    return side if side and side**2 == count else None


def _interpolate(positions: torch.Tensor, before: int, after: int) -> torch.Tensor:
    grid = positions[:, 1:].float().reshape(1, before, before, -1).permute(0, 3, 1, 2)
    grid = nn.functional.interpolate(
        grid, size=(after, after), mode="bicubic", align_corners=False, antialias=True
    )
    return torch.cat([positions[:, :1].float(), grid.flatten(2).transpose(1, 2)], dim=1)
