"""MGCA: instance alignment (ITA), token alignment inside a pair (CTA) and prototype alignment
(CPA)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.nn import functional

from backbones.mgca.settings import MGCASettings
from backbones.shared.alignment.gather import gather
from backbones.shared.alignment.kernels import symmetric_info_nce
from backbones.shared.alignment.prototypes import Prototypes, prototype_loss
from backbones.shared.alignment.token_contrast import clipped_weights, cls_attention, token_contrast
from backbones.shared.encoders.architectures import Architecture
from backbones.shared.encoders.text import TextEncoder, sum_words
from backbones.shared.encoders.tokens import published_sentences
from backbones.shared.encoders.vocabulary import TextBatch, Vocabulary
from backbones.shared.pretraining.vision_language import (
    Batch,
    VisionLanguageMethod,
    project,
    projection,
    text_batch,
    word_cosines,
)
from bench.contracts import Features

S = TypeVar("S", bound=MGCASettings)
_PUBLISHED_WORDS = 3
"""A report of fewer words is not trained on in the published code."""


@dataclass(frozen=True)
class Report:
    """A batch of reports as MGCA sees it: words [B, W, D], their mask and weights [B, W], and the
    pooled state [B, D]."""

    words: torch.Tensor
    mask: torch.Tensor
    weights: torch.Tensor
    pooled: torch.Tensor


@dataclass(frozen=True)
class Pairs:
    """What the losses of a batch are made of: embeddings of all processes' images and texts [B, d],
    normalised, and of this process's pairs the features, what entered the last block of a ViT (else
    nothing) and the words."""

    images: torch.Tensor
    texts: torch.Tensor
    features: Features
    block_inputs: list[torch.Tensor]
    report: Report


class MGCA(VisionLanguageMethod[S]):
    """Wang et al., NeurIPS 2022, re-implemented from its description; with `quirks` as its
    code does otherwise."""

    def __init__(
        self,
        architecture: Architecture,
        text: TextEncoder,
        vocabulary: Vocabulary,
        settings: S,
        seed: int = 0,
    ) -> None:
        super().__init__(architecture, text, vocabulary, settings, seed)
        self.patch_head = projection(
            architecture.patch_dim, settings.projection_hidden, settings.embed_dim
        )
        self.word_head = projection(text.width, settings.projection_hidden, settings.embed_dim)
        self.prototypes = Prototypes(settings.embed_dim, settings.prototypes)
        if settings.quirks:
            text.model.embeddings.token_type_embeddings.requires_grad_(False).weight.zero_()

    # ---------------------------------------------------------------------------------------- texts
    def read(self, report: str) -> str:
        """Return a report as it is; with `quirks` as the published code cuts it."""
        quirks = self.settings.quirks
        return " ".join(published_sentences(report)) if quirks else report

    def learns_from(self, report: str) -> bool:
        """Return whether a report is trained on; with `quirks` it needs three words."""
        quirks = self.settings.quirks
        return not quirks or len(self.read(report).split()) >= _PUBLISHED_WORDS

    def report(self, text: TextBatch) -> Report:
        """Read a batch of reports."""
        settings = self.settings
        layers = self.text_encoder.layers(text, order_blind=settings.quirks)
        states = layers[-1]
        attention = cls_attention(
            self.text_encoder.cls_attention(layers[-2], text.mask), quirks=settings.quirks
        )
        numbers = self.vocabulary.word_numbers(text.ids, text.mask, everything=settings.quirks)
        if settings.quirks:
            numbers = _without_the_lost(numbers, text.mask.sum(1) == settings.max_tokens)
        both, mask = sum_words(
            torch.cat([states, attention[:, :, None].to(states.dtype)], 2), numbers
        )
        if settings.quirks:
            # Without [CLS], padded to the full length: padded positions are negatives there.
            missing = settings.max_tokens - mask.shape[1]
            both = functional.pad(both[:, 1:], (0, 0, 0, missing))
            mask = functional.pad(mask[:, 1:], (0, missing))
        weights = both[:, :, -1]
        weighted = mask & (weights > 0) if settings.quirks else mask
        pooled = self.pool_text(states, text)
        return Report(both[:, :, :-1], mask, clipped_weights(weights, weighted), pooled)

    def text_states(self, text: TextBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return word states [B, W, D] and the global text embeddings [B, d], normalised."""
        report = self.report(text)
        return report.words, project(self.text_head, report.pooled)

    # --------------------------------------------------------------------------------------- losses
    def start_epoch(self, epoch: int) -> None:
        """Keep the prototypes as they are in the first epochs (from 0)."""
        self.prototypes.requires_grad_(epoch >= self.settings.frozen_epochs)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return `loss_ita`, `loss_cta` and `loss_cpa`, weighted; a term of weight 0 is not
        computed."""
        return self.terms(batch, self._pairs(batch))

    def _pairs(self, batch: Batch) -> Pairs:
        with _last_block_input(self.image_encoder.model) as seen:
            features = self.image_encoder.features(batch["images"])
        report = self.report(text_batch(batch))
        images = gather(self.embed_features(features))
        texts = gather(project(self.text_head, report.pooled))
        return Pairs(images, texts, features, seen, report)

    def terms(self, batch: Batch, pairs: Pairs) -> dict[str, torch.Tensor]:
        """Return the terms of a batch from what was read of it; a method that is built on this one
        adds its own, or makes words and targets otherwise."""
        settings = self.settings
        terms = {}
        if settings.lambda_ita:
            terms["loss_ita"] = settings.lambda_ita * symmetric_info_nce(
                pairs.images, pairs.texts, tau=settings.tau1
            )
        if settings.lambda_cta:
            words = self.contrasted_words(batch, pairs.report)
            terms["loss_cta"] = settings.lambda_cta * self._cta(pairs, words)
        if settings.lambda_cpa:
            terms["loss_cpa"] = settings.lambda_cpa * self.prototype_term(batch, pairs)
        return terms

    def _cta(self, pairs: Pairs, words: torch.Tensor) -> torch.Tensor:
        settings = self.settings
        report = pairs.report
        seen = pairs.block_inputs
        return token_contrast(
            words,
            project(self.patch_head, pairs.features.patches),
            report.mask,
            report.weights,
            _patch_weights(self.image_encoder.model, seen[0]) if seen else None,
            tau=settings.tau2,
            quirks=settings.quirks,
            normalise_attended_words=not (settings.quirks and seen),
        )

    def contrasted_words(self, batch: Batch, report: Report) -> torch.Tensor:
        """Return the words [B, W, d], normalised, that CTA compares with patches."""
        return self._words(report)

    def _words(self, report: Report) -> torch.Tensor:
        """Return the embedded words [B, W, d], normalised; BatchNorm sees padding with `quirks`."""
        return project(
            self.word_head,
            report.words,
            None if self.settings.quirks else report.mask,
        )

    def prototype_term(self, batch: Batch, pairs: Pairs) -> torch.Tensor:
        """Return CPA before its weight."""
        settings = self.settings
        self.prototypes.normalise()
        scores = self.prototypes(pairs.images), self.prototypes(pairs.texts)
        return prototype_loss(
            *scores,
            tau=settings.tau3,
            epsilon=settings.epsilon,
            iterations=settings.sinkhorn_iterations,
        )

    # ------------------------------------------------------------------------------------ inference
    def grounding(self, features: Features, text: TextBatch) -> torch.Tensor:
        """Return the cosine of every patch with the words of a text, averaged with their weights
        [B, T, h, w]."""
        report = self.report(text)
        patches = project(self.patch_head, features.patches)
        return word_cosines(self._words(report), report.weights, patches).unflatten(
            2, features.grid
        )


def _without_the_lost(numbers: torch.Tensor, full: torch.Tensor) -> torch.Tensor:
    """Return word numbers [B, L] where texts that fill all tokens (`full` [B]) have no last word
    and no [SEP].

    The published code pairs the tokens with one attention value less than there are tokens, so that
    it never meets the [SEP] that would end the last word.
    """
    last = numbers.amax(1, keepdim=True)
    return numbers.masked_fill(full[:, None] & (numbers >= last - 1), -1)


@contextmanager
def _last_block_input(model: Any) -> Iterator[list[torch.Tensor]]:
    """Catch what enters the last block of a ViT within the `with` block; stays empty for a
    ResNet."""
    seen: list[torch.Tensor] = []
    blocks = getattr(model, "blocks", None)
    hook = (
        blocks[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        if blocks is not None
        else None
    )
    try:
        yield seen
    finally:
        if hook is not None:
            hook.remove()


@torch.no_grad()
def _patch_weights(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Return the attention of the class token in the last block over the patches, clipped, summing
    to 1 a row [B, N]."""
    block = model.blocks[-1]
    heads = block.attn.num_heads
    query, keys, _ = (
        block.attn.qkv(block.norm1(tokens)).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    )
    attention = (
        (query[:, :, :1] @ keys.transpose(2, 3) * block.attn.scale)
        .float()
        .softmax(-1)[:, :, 0]
        .mean(1)[:, 1:]
    )
    return clipped_weights(attention, torch.ones_like(attention, dtype=torch.bool))


# Names that plug-ins of before import.
Mgca = MGCA
