"""Layers of the text decoders: attention with kept keys and values, memory-driven normalisation,
relational memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

Pair = tuple[Tensor, Tensor]


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Put all parts of a model into eval mode, and back into the mode that each had."""
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Return [B, L, D] as [B, heads, L, D / heads]."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head attention whose keys and values may have been made before."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def keys_values(self, x: Tensor) -> Pair:
        """Return keys and values [B, heads, L, d] of x [B, L, D]."""
        return split_heads(self.key(x), self.heads), split_heads(self.value(x), self.heads)

    def forward(
        self, x: Tensor, kept: Pair, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Attend from x [B, L, D] to `kept`; `mask` is true where one may look, [B, 1, 1 or L,
        M]."""
        keys, values = kept
        drop = self.dropout if self.training else 0.0
        query = split_heads(self.query(x), self.heads)
        attended = functional.scaled_dot_product_attention(
            query, keys, values, mask, drop, is_causal=causal
        )
        return self.out(attended.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, kept: Pair, mask: Tensor | None = None) -> Tensor:
        """Return where x [B, L, D] looks, [B, L, M], mean over the heads; rows sum to one."""
        query = split_heads(self.query(x), self.heads)
        scores = query @ kept[0].transpose(2, 3) / math.sqrt(query.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(-1).mean(1)


class PlainNorm(nn.LayerNorm):
    """LayerNorm that ignores the memory."""

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        """Normalise x."""
        return super().forward(x)


class R2GenNorm(nn.Module):
    """R2Gen's layer normalisation: the deviation has n - 1 below the line, and `EPSILON` is added
    to the deviation itself (Chen et al. 2020, their release)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        """Normalise x; the memory is ignored."""
        return self.weight * standardised(x) + self.bias


EPSILON = 1e-6


def standardised(x: Tensor) -> Tensor:
    """Return x less its mean over its deviation (n - 1), along the last axis."""
    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + EPSILON)


class ConditionalNorm(nn.Module):
    """Memory-driven conditional layer normalisation: scale and shift are changed by the relational
    memory (Chen et al. 2020)."""

    def __init__(self, width: int, memory_width: int) -> None:
        super().__init__()
        self.norm = R2GenNorm(width)
        self.scale, self.shift = (_two_layers(memory_width, width) for _ in range(2))

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        """Normalise x [B, L, D] given `memory` [B, L, slots * D] of the same positions."""
        if memory is None:
            raise ValueError("memory-driven normalisation needs the memory of every position")
        scale = self.norm.weight + self.scale(memory)
        return scale * standardised(x) + self.norm.bias + self.shift(memory)


def _two_layers(inputs: int, width: int) -> nn.Sequential:
    first = nn.Linear(inputs, width)
    second = nn.Linear(width, width)
    for layer in (first, second):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.constant_(layer.bias, 0.1)
    return nn.Sequential(first, nn.ReLU(), second)


class RelationalMemory(nn.Module):
    """Slots that are rewritten with every word through attention and gates (Chen et al. 2020, after
    Santoro et al. 2018)."""

    def __init__(self, width: int, slots: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.slots = slots
        self.attention = Attention(width, heads, 0.1)
        self.mlp = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.from_word = nn.Linear(width, 2 * width)
        self.from_memory = nn.Linear(width, 2 * width)

    def begin(self, like: Tensor) -> Tensor:
        """Return the first memory [n, slots, D] for words [n, D]: unit vectors."""
        eye = torch.eye(self.slots, self.width, dtype=like.dtype, device=like.device)
        return eye.expand(len(like), -1, -1)

    def step(self, word: Tensor, memory: Tensor) -> Tensor:
        """Return the memory after `word` [n, D]."""
        seen = torch.cat([memory, word[:, None]], 1)
        updated = memory + self.attention(memory, self.attention.keys_values(seen))
        updated = updated + self.mlp(updated)
        take, keep = (
            (self.from_word(word)[:, None] + self.from_memory(memory.tanh())).sigmoid().chunk(2, -1)
        )
        return take * updated.tanh() + keep * memory

    def forward(self, words: Tensor) -> Tensor:
        """Return the memory after each of `words` [B, L, D], flat: [B, L, slots * D]."""
        memory = self.begin(words[:, 0])
        states = []
        for position in range(words.shape[1]):
            memory = self.step(words[:, position], memory)
            states.append(memory.flatten(1))
        return torch.stack(states, 1)


@dataclass
class LayerCache:
    """Keys and values of one decoder layer: `cross` of the images [B, ...], `own` of the words so
    far [B * beams, ...]."""

    cross: Pair
    own: Pair | None = None

    def add(self, new: Pair) -> Pair:
        """Append the newest position and return all of `own`."""
        self.own = (
            new
            if self.own is None
            else (torch.cat([self.own[0], new[0]], 2), torch.cat([self.own[1], new[1]], 2))
        )
        return self.own

    def reorder(self, rows: Tensor) -> None:
        """Make row i what row `rows[i]` was."""
        if self.own is not None:
            self.own = (self.own[0].index_select(0, rows), self.own[1].index_select(0, rows))

    def keep(self, images: Tensor) -> None:
        """Drop all images but `images` from `cross`."""
        self.cross = (self.cross[0].index_select(0, images), self.cross[1].index_select(0, images))


class R2GenEncoder(nn.Module):
    """R2Gen's encoder: pre-norm layers of self-attention and feed-forward with `R2GenNorm`, and one
    more at the end; called as torch's own encoder is."""

    def __init__(
        self, width: int, heads: int, feedforward: int, dropout: float, layers: int
    ) -> None:
        super().__init__()
        sizes = (width, heads, feedforward, dropout)
        self.layers = nn.ModuleList(_R2GenEncoderLayer(*sizes) for _ in range(layers))
        self.norm = R2GenNorm(width)

    def forward(self, x: Tensor, src_key_padding_mask: Tensor) -> Tensor:
        """Return tokens [B, M, D] encoded; `src_key_padding_mask` [B, M] is true where there is
        none."""
        mask = ~src_key_padding_mask[:, None, None]
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class _R2GenEncoderLayer(nn.Module):
    """One layer of R2Gen's encoder: self-attention, then feed-forward, each after a norm."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.own = Attention(width, heads, dropout)
        self.feedforward = make_feedforward(width, feedforward, dropout)
        self.norms = nn.ModuleList(R2GenNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return states [B, N, D] of x [B, N, D]; `mask` is true where one may look."""
        y = self.norms[0](x)
        x = x + self.dropout(self.own(y, self.own.keys_values(y), mask))
        return x + self.dropout(self.feedforward(self.norms[1](x)))


def make_feedforward(width: int, hidden: int, dropout: float) -> nn.Sequential:
    """Return two linear layers with a rectifier and dropout between them."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width)
    )


class DecoderLayer(nn.Module):
    """Self-attention, attention to the images, feed-forward; each after its norm, each added
    (pre-norm)."""

    def __init__(
        self, width: int, heads: int, feedforward: int, dropout: float, memory_width: int = 0
    ) -> None:
        super().__init__()
        self.own, self.cross = (Attention(width, heads, dropout) for _ in range(2))
        self.feedforward = make_feedforward(width, feedforward, dropout)
        norms = [
            ConditionalNorm(width, memory_width) if memory_width else PlainNorm(width)
            for _ in range(3)
        ]
        self.norms = nn.ModuleList(norms)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cross: Pair, mask: Tensor, memory: Tensor | None) -> Tensor:
        """Return x [B, L, D] after this layer, every position seeing those before it (training)."""
        y = self.norms[0](x, memory)
        x = x + self.dropout(self.own(y, self.own.keys_values(y), causal=True))
        x = x + self.dropout(self.cross(self.norms[1](x, memory), cross, mask))
        return x + self.dropout(self.feedforward(self.norms[2](x, memory)))

    def step(self, x: Tensor, cache: LayerCache, mask: Tensor, memory: Tensor | None) -> Tensor:
        """Return the newest position x [n, 1, D] after this layer; the beams of an image share its
        keys."""
        y = self.norms[0](x, memory)
        x = x + self.own(y, cache.add(self.own.keys_values(y)))
        y = self.norms[1](x, memory)
        images = len(mask)
        x = x + self.cross(y.reshape(images, -1, y.shape[-1]), cache.cross, mask).reshape_as(x)
        return x + self.feedforward(self.norms[2](x, memory))

    def looks(
        self, x: Tensor, cross: Pair, mask: Tensor, memory: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return x after this layer and where each word looked, [B, L, M]."""
        y = self.norms[0](x, memory)
        x = x + self.own(y, self.own.keys_values(y), causal=True)
        y = self.norms[1](x, memory)
        x = x + self.cross(y, cross, mask)
        weights = self.cross.weights(y, cross, mask)
        return x + self.feedforward(self.norms[2](x, memory)), weights
