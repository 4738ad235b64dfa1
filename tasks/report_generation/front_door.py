"""Front doors and mediators of VLCI / CMCRL (Chen et al. 2023, arXiv 2303.09117), re-implemented
from the equations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.report_generation.layers import Attention, R2GenNorm, make_feedforward

NEVER = float("-inf")


# -------------------------------------------------------------------------------------- front doors
def front_door(
    x: Tensor, mediator: Tensor, present: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Return what x [B, N, D] is through a mediator [B, K, D]: softmax(x mT) softmax(m xT) x.

    `present` [B, N] is true where x has something; elsewhere nothing is read. No parameters.
    """
    scores = scale * mediator @ x.transpose(1, 2)
    if present is not None:
        scores = scores.masked_fill(~present[:, None], NEVER)
    through = scores.softmax(-1) @ x
    return (scale * x @ mediator.transpose(1, 2)).softmax(-1) @ through


def causal_front_door(words: Tensor, mediator: Tensor, scale: float = 1.0) -> Tensor:
    """Return the front door of every word of [B, T, D] among the words up to it.

    The published one lets a word see those after it while it is trained.
    """
    length = words.shape[1]
    scores = scale * mediator @ words.transpose(1, 2)
    later = torch.ones(length, length, dtype=torch.bool, device=words.device).triu(1)
    read = scores[:, None].masked_fill(later[:, None], NEVER).softmax(-1)
    written = (scale * words @ mediator.transpose(1, 2)).softmax(-1)
    return (written[:, :, None] @ read)[:, :, 0] @ words


def newest_front_door(words: Tensor, mediator: Tensor, scale: float = 1.0) -> Tensor:
    """Return the front door of the last word of [B, T, D] alone, [B, 1, D]."""
    through = (scale * mediator @ words.transpose(1, 2)).softmax(-1) @ words
    return (scale * words[:, -1:] @ mediator.transpose(1, 2)).softmax(-1) @ through


# ----------------------------------------------------------------------------------- chosen patches
def rollout(attention: Sequence[Tensor]) -> Tensor:
    """Return the product of the layers' attention [B, H, N, N], the last one first; no residual."""
    product = attention[0]
    for weights in attention[1:]:
        product = weights @ product
    return product


def looked_at(attention: Sequence[Tensor], count: int, patches: Tensor | None = None) -> Tensor:
    """Return per head the `count` patches that the first token looks at most, [B, H * count] among
    the tokens after it; repeats are kept. `patches` [B, 1, N - 1]: which of these may be chosen."""
    seen = rollout(attention)[:, :, 0, 1:]
    if patches is not None:
        seen = seen.masked_fill(~patches, -1.0)
    return seen.topk(count, -1).indices.flatten(1)


def attention_of(encoder: nn.TransformerEncoder, tokens: Tensor, absent: Tensor) -> list[Tensor]:
    """Return the attention [B, H, N, N] of every layer of an encoder in eval mode; `absent` [B, N]
    is true where there is no token."""
    maps = []
    x = tokens
    for layer in encoder.layers:
        y = layer.norm1(x)
        attended, weights = layer.self_attn(
            y, y, y, key_padding_mask=absent, average_attn_weights=False
        )
        maps.append(weights)
        x = x + attended
        x = x + layer.linear2(layer.activation(layer.linear1(layer.norm2(x))))
    return maps


# ------------------------------------------------------------------------------------------ modules
@dataclass(frozen=True)
class Sizes:
    """What all modules are made by: `feedforward` units, and whether the norm is the published
    one."""

    width: int
    heads: int
    feedforward: int
    dropout: float
    published: bool

    def make_norm(self) -> nn.Module:
        """Return torch's layer norm, or the published one."""
        return R2GenNorm(self.width) if self.published else nn.LayerNorm(self.width)

    def make_attention(self) -> Attention:
        """Return multi-head attention."""
        return Attention(self.width, self.heads, self.dropout)


class Rest(nn.Module):
    """What follows attention in a layer: feed-forward after a norm, added."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm = sizes.make_norm()
        self.feedforward = make_feedforward(sizes.width, sizes.feedforward, sizes.dropout)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return x [B, N, D] with its feed-forward."""
        return x + self.dropout(self.feedforward(self.norm(x)))


class AttentionLayer(nn.Module):
    """Norm, attention and what follows it, as `TwoPaths` and `Crossing` have them."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm = sizes.make_norm()
        self.attention = sizes.make_attention()
        self.rest = Rest(sizes)
        self.dropout = nn.Dropout(sizes.dropout)


class TwoPaths(AttentionLayer):
    """Self-attention with two paths: by the scores, and by the scores reversed, which is added to
    what came in; their sum."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x [B, N, D] after both paths, which share their weights."""
        y = self.norm(x)
        keys, values = self.attention.keys_values(y)
        reversed_path = self.attention(y, (-keys, values))
        path = self.attention(y, (keys, values))
        return self.rest(x + self.dropout(reversed_path)) + self.rest(self.dropout(path))


class Crossing(AttentionLayer):
    """Attention from one sequence to another, then feed-forward; the other is not normalised."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Return x [B, N, D] after it saw `other` [B or 1, M, D]; one that the batch shares is
        projected once."""
        keys, values = self.attention.keys_values(other)
        shared = (len(x), -1, -1, -1)
        seen = self.attention(self.norm(x), (keys.expand(shared), values.expand(shared)))
        return self.rest(x + self.dropout(seen))


class LocalFeatures(nn.Module):
    """The chosen patches after layers of two paths: f_l."""

    def __init__(self, sizes: Sizes, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoPaths(sizes) for _ in range(layers))

    def forward(self, tokens: Tensor, chosen: Tensor) -> Tensor:
        """Return f_l [B, K, D] of `tokens` [B, 1 + N, D], the first of which sees and is dropped;
        `chosen` [B, K] counts among the others."""
        rows = chosen[:, :, None].expand(-1, -1, tokens.shape[-1])
        x = torch.cat([tokens[:, :1], tokens[:, 1:].gather(1, rows)], 1)
        for layer in self.layers:
            x = layer(x)
        return x[:, 1:]


class GlobalFeatures(nn.Module):
    """All patches of an image, pooled to half its grid, with attention that knows relative
    positions: f_g."""

    offsets: Tensor

    def __init__(self, sizes: Sizes, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.norm = sizes.make_norm()
        self.attention = sizes.make_attention()
        self.project = nn.Linear(sizes.width, sizes.width)
        self.rest = Rest(sizes)
        self.dropout = nn.Dropout(sizes.dropout)
        rows, columns = self.pooled_grid
        self.bias = nn.Parameter(torch.zeros(sizes.heads, (2 * rows - 1) * (2 * columns - 1)))
        self.register_buffer("offsets", _offsets(rows, columns), persistent=False)

    @property
    def pooled_grid(self) -> tuple[int, int]:
        """Return rows and columns of what is left; an odd side is rounded up."""
        return math.ceil(self.grid[0] / 2), math.ceil(self.grid[1] / 2)

    def _pooled(self, x: Tensor) -> Tensor:
        maps = x.transpose(1, 2).unflatten(2, self.grid)
        return functional.max_pool2d(maps, 2, ceil_mode=True).flatten(2).transpose(1, 2)

    def forward(self, patches: Tensor) -> Tensor:
        """Return f_g [n, G, D] of the patches [n, h * w, D] of images."""
        x = self._pooled(patches)
        y = self._pooled(self.norm(patches))
        bias = self.bias[:, self.offsets][None]
        seen = self.attention(y, self.attention.keys_values(y), bias)
        return self.rest(self.project(x) + self.dropout(seen))


def _offsets(rows: int, columns: int) -> Tensor:
    """Return for every pair of cells of a grid which offset they have, [n, n]."""
    row = torch.arange(rows).repeat_interleave(columns)
    column = torch.arange(columns).repeat(rows)
    down = row[:, None] - row[None] + rows - 1
    right = column[:, None] - column[None] + columns - 1
    return down * (2 * columns - 1) + right


class VisualMediator(nn.Module):
    """m = u + FC(u), u a norm of f_l as it sees itself, beside f_l as it sees f_g."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        hidden = sizes.feedforward
        self.norm_local = sizes.make_norm()
        self.norm_global = sizes.make_norm()
        self.to_local = sizes.make_attention()
        self.to_global = sizes.make_attention()
        self.project = nn.Linear(2 * width, width)
        self.norm = sizes.make_norm()
        self.linear = nn.Sequential(nn.Linear(width, hidden), nn.Linear(hidden, width))

    def forward(self, local: Tensor, whole: Tensor, present: Tensor | None = None) -> Tensor:
        """Return the mediator [B, K, D] of f_l [B, K, D] and f_g [B, G, D]; `present` [B, G] is
        true where f_g has something."""
        local = self.norm_local(local)
        whole = self.norm_global(whole)
        mask = None if present is None else present[:, None, None]
        to_local = local + self.to_local(local, self.to_local.keys_values(local))
        to_global = local + self.to_global(local, self.to_global.keys_values(whole), mask)
        fused = self.norm(self.project(torch.cat([to_local, to_global], -1)))
        return fused + self.linear(fused)


class LanguageMediator(nn.Module):
    """m_t: a norm of f_l after it saw the vocabulary, and of that after it saw f_l."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.to_words = Crossing(sizes)
        self.to_local = Crossing(sizes)
        self.norm = sizes.make_norm()

    def forward(self, local: Tensor, vocabulary: Tensor) -> Tensor:
        """Return the mediator [B, K, D] of f_l [B, K, D] and all words [1, V, D]."""
        worded = self.to_words(local, vocabulary)
        return self.norm(self.to_local(worded, local) + worded)
