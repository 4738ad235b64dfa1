"""MLIP, re-built from its abstract on MGCA: a divergence encoder, words that attend to definitions,
categories as targets of the prototypes; matching and exchanged words where asked for."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import torch
from torch import nn
from torch.nn import functional

from backbones.mgca.model import MGCA, Pairs, Report
from backbones.mlip_reimpl.knowledge import TERMS, terms_named
from backbones.mlip_reimpl.losses import (
    category_loss,
    divergence_loss,
    draw_alike,
    telling_apart,
    with_definitions,
)
from backbones.mlip_reimpl.settings import MLIPSettings
from backbones.mlip_reimpl.swapping import exchange, mirrored
from backbones.shared.alignment.gather import gather, local_part
from backbones.shared.encoders.architectures import Architecture
from backbones.shared.encoders.text import TextEncoder
from backbones.shared.encoders.tokens import sentence_key
from backbones.shared.encoders.vocabulary import Vocabulary
from backbones.shared.pretraining.vision_language import Batch, project
from bench.contracts import Features
from bench.text.attributes import findings
from bench.text.observations import DISEASES

_START = 0.01
"""Deviation of the last layer of the divergence encoder before training: it moves little."""


class DivergenceEncoder(nn.Module):
    """Two layers that move a unit vector [B, d], hardly at all before training."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.outer.weight, std=_START)
        nn.init.zeros_(self.outer.bias)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the moved vectors, normalised."""
        moved = self.outer(self.dropout(functional.relu(self.inner(vectors))))
        return functional.normalize(vectors + moved, dim=-1)


class PairHead(nn.Module):
    """A binary answer to an image and a text vector [B, d] of unit length: a logit [B]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.layers(torch.cat([images, texts], 1))[:, 0]


class MLIP(MGCA[MLIPSettings]):
    """MLIP (arXiv 2402.02045), re-built from the abstract; differs from the authors' method in ways
    that cannot be known."""

    _definitions: torch.Tensor | None = None

    def __init__(
        self,
        architecture: Architecture,
        text: TextEncoder,
        vocabulary: Vocabulary,
        settings: MLIPSettings,
        seed: int = 0,
    ) -> None:
        super().__init__(architecture, text, vocabulary, settings, seed)
        sizes = (settings.embed_dim, settings.projection_hidden)
        if settings.divergence:
            self.divergence_encoder = DivergenceEncoder(
                settings.embed_dim, settings.divergence_dropout
            )
        if settings.matching:
            self.matching_head = PairHead(*sizes)
        if settings.swap:
            self.swap_head = PairHead(*sizes)

    # ---------------------------------------------------------------------------------- definitions
    @cached_property
    def sentences(self) -> Mapping[str, str]:
        """Return the sentence of every term, from a file of them only once."""
        return self.settings.reads()

    def start_epoch(self, epoch: int) -> None:
        """Get the prototypes ready, and have the definitions read anew."""
        super().start_epoch(epoch)
        self._definitions = None

    def definitions(self) -> torch.Tensor:
        """Return the text vectors [E, d] of the definitions of `TERMS`, as the text side reads them
        at the start of the epoch; no gradient."""
        if self._definitions is None:
            self._definitions = self._read_definitions()
        return self._definitions

    @torch.no_grad()
    def _read_definitions(self) -> torch.Tensor:
        """Read all definitions as one batch: the BatchNorm of the projection takes their own
        statistics, in which an untrained encoder tells them apart, and keeps none of them."""
        head = copy.deepcopy(self.text_head).train()
        was_training = self.text_encoder.training
        self.text_encoder.eval()
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            text = self.encode_text([self.sentences[term] for term in TERMS])
            vectors = project(head, self.report(text).pooled)
        self.text_encoder.train(was_training)
        return vectors

    # --------------------------------------------------------------------------------------- losses
    def terms(self, batch: Batch, pairs: Pairs) -> dict[str, torch.Tensor]:
        """Return MGCA's terms, changed by `knowledge` and `category`, and weighted `loss_div`,
        `loss_matching` and `loss_swap`; a term of weight 0 is not computed."""
        settings = self.settings
        terms = super().terms(batch, pairs)
        with torch.autocast(pairs.images.device.type, enabled=False):
            if settings.divergence:
                terms["loss_div"] = settings.divergence * self._divergence(pairs)
            if settings.matching:
                terms["loss_matching"] = settings.matching * self._matching(batch, pairs)
            if settings.swap:
                terms["loss_swap"] = settings.swap * self._swap(batch, pairs)
        return terms

    def contrasted_words(self, batch: Batch, report: Report) -> torch.Tensor:
        """Return the words [B, W, d]; with `knowledge`, with what they attend to in the definitions
        that their report names."""
        words = super().contrasted_words(batch, report)
        if not self.settings.knowledge:
            return words
        named = _mask([terms_named(text) for text in batch["reports"]], TERMS, words.device)
        with torch.autocast(words.device.type, enabled=False):
            return with_definitions(
                words, report.mask, self.definitions(), named, tau=self.settings.tau2
            )

    def prototype_term(self, batch: Batch, pairs: Pairs) -> torch.Tensor:
        """Return CPA before its weight; with `category`, its targets are those of the definitions
        of each study's findings, and studies without a finding are left out."""
        settings = self.settings
        if not settings.category:
            return super().prototype_term(batch, pairs)
        device = pairs.images.device
        mask = _mask([findings(text) for text in batch["reports"]], DISEASES, device)
        present = gather(mask.to(torch.uint8)).bool()
        rows = present.any(1)
        self.prototypes.normalise()
        with torch.autocast(device.type, enabled=False):
            means = functional.normalize(
                present[rows].float() @ self.definitions()[: len(DISEASES)], dim=1
            )
            return category_loss(
                self.prototypes(pairs.images[rows]),
                self.prototypes(pairs.texts[rows]),
                self.prototypes(means),
                tau=settings.tau3,
                epsilon=settings.epsilon,
                iterations=settings.sinkhorn_iterations,
            )

    def _divergence(self, pairs: Pairs) -> torch.Tensor:
        settings = self.settings
        return divergence_loss(
            pairs.images,
            pairs.texts,
            self.divergence_encoder(pairs.images),
            self.divergence_encoder(pairs.texts),
            tau=settings.tau1,
            beta=settings.beta,
            delta=settings.delta,
        )

    def _matching(self, batch: Batch, pairs: Pairs) -> torch.Tensor:
        """Return the loss of telling pairs from an image with a report like its own, and a report
        with an image like its own; a report with the same words is no negative."""
        keys = torch.tensor([sentence_key(text) for text in batch["reports"]])
        keys = gather(keys.to(pairs.images.device))
        allowed = keys[:, None] != keys[None]
        rows = torch.nonzero(allowed.any(1))[:, 0]
        similarity = (pairs.images @ pairs.texts.T).detach() / self.settings.tau1
        of_images, of_texts = (
            draw_alike(scores[rows], allowed[rows]) for scores in (similarity, similarity.T)
        )
        images = torch.cat([pairs.images, pairs.images[rows], pairs.images[of_texts]])
        texts = torch.cat([pairs.texts, pairs.texts[of_images], pairs.texts[rows]])
        positive = torch.arange(len(images), device=images.device) < len(pairs.images)
        return telling_apart(self.matching_head(images, texts), positive)

    def _swap(self, batch: Batch, pairs: Pairs) -> torch.Tensor:
        """Return the loss of telling reports with an exchange from those without; reports in which
        nothing can be exchanged are left out."""
        reports: Sequence[str] = batch["reports"]
        device = pairs.images.device
        draws = local_part((len(reports), 3), device).tolist()
        exchanged = [exchange(*each) for each in zip(reports, draws, strict=True)]
        texts = [
            each.text if each else report for each, report in zip(exchanged, reports, strict=True)
        ]
        kinds = [-1 if each is None else int(each.is_changed) for each in exchanged]
        vectors = gather(self.text_states(self.encode_text(texts))[1])
        changed = gather(torch.tensor(kinds, device=device))
        rows = changed >= 0
        return telling_apart(self.swap_head(pairs.images[rows], vectors[rows]), changed[rows] == 1)

    # ----------------------------------------------------------------------------------- validation
    def watched(self, batch: Batch, features: Features) -> dict[str, list[float]]:
        """Return `side_accuracy` with `swap`: whether the mirrored report is taken for exchanged
        rather than the report itself (chance 0.5), of the reports with a finding on one side."""
        if not self.settings.swap:
            return {}
        mirrors = enumerate(map(mirrored, batch["reports"]))
        exchanged = {row: text for row, text in mirrors if text is not None}
        if not exchanged:
            return {"side_accuracy": []}
        images = self.embed_features(features)[list(exchanged)]
        reports = [batch["reports"][row] for row in exchanged]
        logits = [
            self.swap_head(images, self.text_states(self.encode_text(texts))[1])
            for texts in (reports, [*exchanged.values()])
        ]
        ahead = (logits[1] > logits[0]).double() + (logits[1] == logits[0]).double() / 2
        return {"side_accuracy": ahead.tolist()}


def _mask(
    named: Sequence[Collection[str]], terms: Sequence[str], device: torch.device
) -> torch.Tensor:
    """Return which terms [B, E] are named."""
    rows = [[term in names for term in terms] for names in named]
    return torch.tensor(rows, device=device)
