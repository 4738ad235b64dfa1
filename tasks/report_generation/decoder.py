"""The trained text decoders, plain and R2Gen's, and their state while they write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.report_generation.layers import (
    DecoderLayer,
    LayerCache,
    PlainNorm,
    R2GenEncoder,
    R2GenNorm,
    RelationalMemory,
)
from tasks.report_generation.settings import ReportSettings
from tasks.report_generation.visual import VisualMemory
from tasks.report_generation.vocabulary import BEGIN, PAD


@dataclass
class DecoderState:
    """What is kept between two words: keys and values of every layer, the mask of the images, the
    relational memory."""

    layers: list[LayerCache]
    mask: Tensor
    beams: int
    position: int = 0
    memory: Tensor | None = None

    def reorder(self, rows: Tensor) -> None:
        """Make hypothesis i what hypothesis `rows[i]` was."""
        for layer in self.layers:
            layer.reorder(rows)
        if self.memory is not None:
            self.memory = self.memory.index_select(0, rows)

    def keep(self, images: Tensor) -> None:
        """Drop all images but `images`, with their hypotheses."""
        self.reorder(
            (
                images[:, None] * self.beams + torch.arange(self.beams, device=images.device)
            ).flatten()
        )
        self.mask = self.mask.index_select(0, images)
        for layer in self.layers:
            layer.keep(images)


class ReportDecoder(nn.Module):
    """Writes a report word by word from visual tokens; `slots` > 0 makes it R2Gen's.

    Without memory: a pre-norm transformer decoder. With it: words with their positions drive a
    relational memory, which drives the layer norms of every decoder layer (Chen et al. 2020, EMNLP;
    re-implemented from the paper, its layer norm and the positions as in their release).
    """

    positions: Tensor

    def __init__(self, vocabulary: int, settings: ReportSettings, slots: int = 0) -> None:
        super().__init__()
        width = settings.width
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.register_buffer(
            "positions", _sinusoid(settings.max_words + 2, width), persistent=False
        )
        self.encoder = _encoder(settings, r2gen=slots > 0)
        self.relational = RelationalMemory(width, slots, settings.heads) if slots else None
        sizes = (width, settings.heads, settings.feedforward, settings.dropout, slots * width)
        self.layers: Any = nn.ModuleList(DecoderLayer(*sizes) for _ in range(settings.layers))
        self.norm = R2GenNorm(width) if slots else PlainNorm(width)
        self.out = nn.Linear(width, vocabulary)
        self.dropout = nn.Dropout(settings.dropout)
        if slots:
            self._start_as_r2gen()

    def _start_as_r2gen(self) -> None:
        """Draw every matrix but the last one as R2Gen does (Glorot, uniform)."""
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1 and not name.startswith("out."):
                nn.init.xavier_uniform_(parameter)

    def encode(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return visual tokens [B, M, D] after the encoder layers, where there are some."""
        return (
            self.encoder(tokens, src_key_padding_mask=~mask) if self.encoder is not None else tokens
        )

    def embed(self, ids: Tensor, start: int = 0) -> Tensor:
        """Return word embeddings [B, L, D], scaled, with the positions from `start` on."""
        words = self.embedding(ids) * math.sqrt(self.embedding.embedding_dim)
        return words + self.positions[start : start + ids.shape[1]]

    def forward(self, ids: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return logits [B, L, V] after each of `ids` [B, L], given encoded `tokens` [B, M, D] and
        their mask [B, M]."""
        return self.read(self.embed(ids), tokens, mask)

    def read(self, words: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return logits [B, L, V] after each of the embedded words [B, L, D]."""
        x, memory = self._begin(words)
        for layer in self.layers:
            x = layer(x, layer.cross.keys_values(tokens), mask[:, None, None], memory)
        return self.out(self.norm(x))

    def looks(self, words: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return where the last layer looked for the word after each of the embedded words [B, L,
        D], [B, L, M]."""
        x, memory = self._begin(words)
        weights = x
        for layer in self.layers:
            x, weights = layer.looks(
                x, layer.cross.keys_values(tokens), mask[:, None, None], memory
            )
        return weights

    def _begin(self, words: Tensor) -> tuple[Tensor, Tensor | None]:
        memory = self.relational(self.dropout(words)) if self.relational is not None else None
        return self.dropout(words), memory

    def start(self, tokens: Tensor, mask: Tensor, beams: int) -> DecoderState:
        """Return the state before the first word of `beams` hypotheses for each image."""
        caches = [LayerCache(layer.cross.keys_values(tokens)) for layer in self.layers]
        return DecoderState(caches, mask[:, None, None], beams)

    def step(self, ids: Tensor, state: DecoderState) -> Tensor:
        """Return logits [B * beams, V] after the newest `ids` [B * beams]; the state goes on."""
        return self.go_on(self.embed(ids[:, None], state.position), state)

    def go_on(self, words: Tensor, state: DecoderState) -> Tensor:
        """Return logits [B * beams, V] after the newest embedded words [B * beams, 1, D]."""
        memory = None
        if self.relational is not None:
            before = (
                state.memory if state.memory is not None else self.relational.begin(words[:, 0])
            )
            state.memory = self.relational.step(words[:, 0], before)
            memory = state.memory.flatten(1)[:, None]
        x = words
        for layer, cache in zip(self.layers, state.layers, strict=True):
            x = layer.step(x, cache, state.mask, memory)
        state.position += 1
        return self.out(self.norm(x))[:, 0]


def _sinusoid(length: int, width: int) -> Tensor:
    """Return fixed positions [length, width] (Vaswani et al. 2017)."""
    wavelength = 10000 ** (torch.arange(0, width, 2) / width)
    angle = torch.arange(length)[:, None] / wavelength
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)


def _encoder(settings: ReportSettings, *, r2gen: bool) -> nn.Module | None:
    if not settings.encoder_layers:
        return None
    sizes = (settings.width, settings.heads, settings.feedforward, settings.dropout)
    if r2gen:
        return R2GenEncoder(*sizes, settings.encoder_layers)
    layer = nn.TransformerEncoderLayer(*sizes, batch_first=True, norm_first=True)
    norm = nn.LayerNorm(settings.width)
    return nn.TransformerEncoder(layer, settings.encoder_layers, norm, enable_nested_tensor=False)


class TrainedReporter(nn.Module):
    """Visual memory and decoder, trained together on cross-entropy."""

    def __init__(
        self, visual: VisualMemory, decoder: ReportDecoder, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.visual = visual
        self.decoder = decoder
        self.label_smoothing = label_smoothing

    def tokens(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return encoded visual tokens [B, M, D] and their mask [B, M]."""
        tokens, mask = self.visual(batch)
        return self.decoder.encode(tokens, mask), mask

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the mean cross-entropy of the words of a batch."""
        ids = batch["ids"]
        logits = self.decoder(ids[:, :-1], *self.tokens(batch))
        return {"loss": self.words_loss(logits, ids)}

    def words_loss(self, logits: Tensor, ids: Tensor) -> Tensor:
        """Return the mean cross-entropy of logits [B, L - 1, V] after all but the last of `ids` [B,
        L]."""
        smoothing = self.label_smoothing if self.training else 0.0
        return functional.cross_entropy(
            logits.flatten(0, 1),
            ids[:, 1:].flatten(),
            ignore_index=PAD,
            label_smoothing=smoothing,
        )

    def start(self, batch: dict[str, Any], beams: int) -> DecoderState:
        """Return the state before the first word."""
        return self.decoder.start(*self.tokens(batch), beams)

    def step(self, ids: Tensor, state: DecoderState) -> Tensor:
        """Return logits after the newest ids."""
        return self.decoder.step(ids, state)

    def looks(self, ids: Sequence[int], batch: dict[str, Any]) -> np.ndarray:
        """Return where each of `ids` of the one study in `batch` looked, [T, images, h, w]; extra
        tokens are left out."""
        tokens, mask = self.tokens(batch)
        before = torch.tensor([[BEGIN, *ids[:-1]]], device=tokens.device)
        return self.maps(self.decoder.looks(self.decoder.embed(before), tokens, mask)[0])

    def maps(self, weights: Tensor) -> np.ndarray:
        """Return weights of visual tokens [T, M] as maps of the patches [T, images, h, w]."""
        shape = self.visual.shape
        weights = weights.unflatten(1, (shape.images, -1))
        return weights[:, :, : shape.grid[0] * shape.grid[1]].unflatten(2, shape.grid).cpu().numpy()
