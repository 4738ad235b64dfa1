"""The report writer of VLCI / CMCRL: encoder layers with a class token, mediators, and the plain
decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tasks.report_generation.decoder import DecoderState, ReportDecoder, TrainedReporter
from tasks.report_generation.decoders.vlci import VlciSettings
from tasks.report_generation.front_door import (
    GlobalFeatures,
    LanguageMediator,
    LocalFeatures,
    Sizes,
    VisualMediator,
    attention_of,
    causal_front_door,
    front_door,
    looked_at,
    newest_front_door,
)
from tasks.report_generation.layers import without_dropout
from tasks.report_generation.visual import VisualMemory
from tasks.report_generation.vocabulary import BEGIN


@dataclass(frozen=True)
class Seen:
    """What the decoder gets of a batch: encoded tokens [B, 1 + M, D] with their mask, and the
    mediator of the words [B, K, D] where there is one."""

    tokens: Tensor
    mask: Tensor
    mediator: Tensor | None


@dataclass
class MediatedState:
    """The decoder's state, and what a front door of words needs: the mediator of every study and
    the words so far [B * beams, T, D]."""

    decoder: DecoderState
    mediator: Tensor | None
    words: Tensor | None = None

    def reorder(self, rows: Tensor) -> None:
        """Make hypothesis i what hypothesis `rows[i]` was."""
        self.decoder.reorder(rows)
        if self.words is not None:
            self.words = self.words.index_select(0, rows)

    def keep(self, images: Tensor) -> None:
        """Drop all images but `images`, with their hypotheses."""
        self.decoder.keep(images)
        if self.mediator is not None:
            self.mediator = self.mediator.index_select(0, images)
        if self.words is not None:
            of_images = self.words.unflatten(0, (-1, self.decoder.beams))
            self.words = of_images.index_select(0, images).flatten(0, 1)


class MediatedReporter(TrainedReporter):
    """Visual memory, encoder layers with a class token, mediators of what is seen (`vdm`) and of
    the words (`ldm`), and the decoder."""

    def __init__(
        self, visual: VisualMemory, decoder: ReportDecoder, settings: VlciSettings
    ) -> None:
        super().__init__(visual, decoder, settings.label_smoothing)
        width = settings.width
        self.top_k = settings.top_k
        self.scale = width**-0.5 if settings.scale else 1.0
        sizes = Sizes(
            width,
            settings.heads,
            settings.feedforward,
            settings.dropout,
            settings.norm == "published",
        )
        self.first = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.local = LocalFeatures(sizes, settings.causal_layers)
        self.whole = GlobalFeatures(sizes, visual.shape.grid) if settings.vdm else None
        self.seen_mediator = VisualMediator(sizes) if settings.vdm else None
        self.word_mediator = LanguageMediator(sizes) if settings.ldm else None

    # ------------------------------------------------------------------------------------- images
    def seen(self, batch: dict[str, Any]) -> Seen:
        """Return what the decoder gets of a batch."""
        tokens, mask = self._with_first(batch)
        encoder: Any = self.decoder.encoder
        x = tokens
        for layer in encoder.layers:
            x = layer(x, src_key_padding_mask=~mask)
        local = self.local(x, self.chosen(batch, tokens, mask))
        if self.whole is not None and self.seen_mediator is not None:
            whole, there = self._whole(x, batch["present"])
            mediator = self.seen_mediator(local, whole, there)
            x = x + front_door(x, mediator, mask, self.scale)
        mediator = None
        if self.word_mediator is not None:
            mediator = self.word_mediator(local, self._vocabulary())
        return Seen(encoder.norm(x), mask, mediator)

    def tokens(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return encoded visual tokens [B, 1 + M, D] and their mask."""
        seen = self.seen(batch)
        return seen.tokens, seen.mask

    def chosen(self, batch: dict[str, Any], tokens: Tensor, mask: Tensor) -> Tensor:
        """Return which patches are chosen, [B, heads * top_k] among the tokens behind the first.

        In training they are read without dropout, which so has no say in them.
        """
        encoder: Any = self.decoder.encoder
        was_training = self.training
        with torch.no_grad(), without_dropout(self):
            if was_training:
                tokens, mask = self._with_first(batch)
            attention = attention_of(encoder, tokens, ~mask)
        shape = self.visual.shape
        per_image = (tokens.shape[1] - 1) // shape.images
        number = torch.arange(per_image, device=tokens.device).repeat(shape.images)
        is_patch = number < shape.grid[0] * shape.grid[1]
        return looked_at(attention, self.top_k, is_patch & mask[:, None, 1:])

    def _with_first(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the visual tokens behind a class token, and which are there."""
        tokens, mask = self.visual(batch)
        first = self.first.expand(len(tokens), -1, -1)
        return torch.cat([first, tokens], 1), torch.cat([mask.new_ones(len(mask), 1), mask], 1)

    def _whole(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return f_g [B, images * G, D] and which of it is there, each image pooled by itself."""
        whole: Any = self.whole
        shape = self.visual.shape
        of_images = x[:, 1:].unflatten(1, (shape.images, -1))[:, :, : shape.grid[0] * shape.grid[1]]
        pooled = whole(of_images.flatten(0, 1)).unflatten(0, (len(x), shape.images))
        there = present[:, :, None].expand(pooled.shape[:3])
        return pooled.flatten(1, 2), there.flatten(1)

    # -------------------------------------------------------------------------------------- words
    def _vocabulary(self) -> Tensor:
        """Return the embedding of every word [1, V, D], scaled; no gradient reaches it."""
        embedding = self.decoder.embedding
        return embedding.weight.detach()[None] * math.sqrt(embedding.embedding_dim)

    def _words(self, ids: Tensor, mediator: Tensor | None) -> Tensor:
        """Return embedded words [B, L, D], each with its front door among those up to it."""
        words = self.decoder.embed(ids)
        if mediator is None:
            return words
        return words + causal_front_door(words, mediator, self.scale)

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the mean cross-entropy of the words of a batch."""
        ids = batch["ids"]
        seen = self.seen(batch)
        words = self._words(ids[:, :-1], seen.mediator)
        logits = self.decoder.read(words, seen.tokens, seen.mask)
        return {"loss": self.words_loss(logits, ids)}

    def start(self, batch: dict[str, Any], beams: int) -> Any:
        """Return the state before the first word."""
        seen = self.seen(batch)
        return MediatedState(self.decoder.start(seen.tokens, seen.mask, beams), seen.mediator)

    def step(self, ids: Tensor, state: Any) -> Tensor:
        """Return logits after the newest ids."""
        newest = self.decoder.embed(ids[:, None], state.decoder.position)
        if state.mediator is not None:
            before = [] if state.words is None else [state.words]
            state.words = torch.cat([*before, newest], 1)
            mediator = state.mediator.repeat_interleave(state.decoder.beams, 0)
            newest = newest + newest_front_door(state.words, mediator, self.scale)
        return self.decoder.go_on(newest, state.decoder)

    def looks(self, ids: Sequence[int], batch: dict[str, Any]) -> np.ndarray:
        """Return where each of `ids` of the one study in `batch` looked, [T, images, h, w]; the
        class token and extra tokens are left out."""
        seen = self.seen(batch)
        before = torch.tensor([[BEGIN, *ids[:-1]]], device=seen.tokens.device)
        words = self._words(before, seen.mediator)
        return self.maps(self.decoder.looks(words, seen.tokens, seen.mask)[0, :, 1:])
