"""The report writer of DTrace: losses, the reading of reports in training, and the traceback."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from bench.text.observations import OBSERVATIONS, POSITIVE, UNCERTAIN
from bench.text.rules import label_reports
from tasks.report_generation.decoder import ReportDecoder, TrainedReporter
from tasks.report_generation.decoders.dtrace import DtraceSettings
from tasks.report_generation.layers import without_dropout
from tasks.report_generation.visual import VisualMemory
from tasks.report_generation.vocabulary import PAD, SPECIAL, Vocabulary


# ------------------------------------------------------------------------------------------- losses
def kept_count(length: int, share: float) -> int:
    """Return how many of `length` positions a share is: at least one."""
    return max(1, int(length * share))


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of values times weights over the sum of weights; 0 where these are 0."""
    return (values * weights).sum() / weights.sum().clamp(min=1e-12)


def label_loss(logits: Tensor, labels: Tensor, learnt: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of the labels [B, C] that are `learnt` [C]."""
    return functional.binary_cross_entropy_with_logits(logits[:, learnt], labels[:, learnt])


def soft_labels(texts: Sequence[str]) -> np.ndarray:
    """Return labels [n, 14] of reports by rules: 1 named, 0.5 possible, 0 otherwise."""
    statuses = label_reports(texts)
    return ((statuses == POSITIVE) + 0.5 * (statuses == UNCERTAIN)).astype(np.float32)


def random_share(present: Tensor, share: float) -> Tensor:
    """Return which of the present positions [B, N] are drawn: int(count * share) in every row, at
    least one."""
    order = torch.rand(present.shape).to(present.device).masked_fill(~present, 2.0).argsort(1)
    rank = order.argsort(1)
    counts = [kept_count(int(count), share) for count in present.sum(1).tolist()]
    return present & (rank < torch.tensor(counts, device=present.device)[:, None])


# -------------------------------------------------------------------------------------------- model
class TextEncoder(nn.Module):
    """Layers over the embedded words of a report."""

    def __init__(self, settings: DtraceSettings) -> None:
        super().__init__()
        sizes = (settings.width, settings.heads, settings.feedforward, settings.dropout)
        layer = nn.TransformerEncoderLayer(*sizes, batch_first=True, norm_first=True)
        norm = nn.LayerNorm(settings.width)
        self.layers = nn.TransformerEncoder(
            layer, settings.text_layers, norm, enable_nested_tensor=False
        )
        self.head = nn.Linear(settings.width, len(OBSERVATIONS))

    def forward(self, embedded: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [B, L, D] and label logits [B, 14] of words [B, L, D] where `present`."""
        features = self.layers(embedded, src_key_padding_mask=~present)
        weights = present[:, :, None].to(features)
        return features, self.head((features * weights).sum(1) / weights.sum(1))


class TracingReporter(TrainedReporter):
    """The plain decoder whose encoder layers read, in training, visible image tokens and some words
    of the report; label heads on both; and the traceback. Without a report it is the plain one."""

    rarity: Tensor
    learnt: Tensor

    def __init__(
        self,
        visual: VisualMemory,
        decoder: ReportDecoder,
        vocabulary: Vocabulary,
        settings: DtraceSettings,
    ) -> None:
        super().__init__(visual, decoder, settings.label_smoothing)
        self.settings = settings
        self.vocabulary = vocabulary
        words = len(vocabulary)
        self.embedding = nn.Embedding(words, settings.width, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=settings.width**-0.5)
        self.text = TextEncoder(settings)
        self.text_kind = nn.Parameter(torch.zeros(1, 1, settings.width))
        self.image_head = nn.Linear(settings.width, len(OBSERVATIONS))
        self.register_buffer("rarity", torch.ones(words))
        self.register_buffer("learnt", torch.ones(len(OBSERVATIONS), dtype=torch.bool))
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Count the steps of epoch number `epoch`, from 0."""
        self.epoch = epoch
        self.step_number = 0

    def learn(self, texts: Sequence[str]) -> list[str]:
        """Take from the training reports how rare every word is (log of all reports over those that
        have it) and which labels have both classes; return what the user should know."""
        have = torch.zeros(len(self.vocabulary))
        for text in texts:
            have[sorted(set(self.vocabulary.encode(text)))] += 1
        self.rarity.copy_(torch.where(have > 0, (len(texts) / have.clamp(min=1)).log(), 0.0))
        self.rarity[: len(SPECIAL)] = 0.0
        labels = soft_labels(texts)
        self.learnt.copy_(torch.from_numpy((labels > 0).any(0) & (labels < 1).any(0)))
        learnt = zip(OBSERVATIONS, self.learnt.tolist(), strict=True)
        left_out = [name for name, is_learnt in learnt if not is_learnt]
        if not left_out or not self.settings.labels:
            return []
        names = ", ".join(left_out)
        return [f"labels of one class only in the training reports are left out: {names}"]

    def beside(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return what a training batch has beside images and words: `labels` [n, 14]."""
        return {"labels": soft_labels(texts)}

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the losses of a batch: in training with hidden tokens and labels, else of the
        words alone, written from the whole image."""
        if not self.training:
            return super().losses(batch)
        settings = self.settings
        ids = batch["ids"]
        draw = self._draw()
        hidden = settings.hidden(self.epoch, draw)
        kept = settings.kept(self.epoch, draw)
        tokens, mask = self.visual(batch)
        if hidden > 0:
            mask = random_share(mask, 1 - hidden)
        labelled = settings.labels > 0 and bool(self.learnt.any())
        report = self._read(ids) if kept > 0 or labelled else None
        joint, joint_mask = tokens, mask
        if report is not None and kept > 0:
            words = random_share(ids[:, 1:] != PAD, kept)
            joint = torch.cat([tokens, report[0] + self.text_kind], 1)
            joint_mask = torch.cat([mask, words], 1)
        logits = self.decoder(ids[:, :-1], self.decoder.encode(joint, joint_mask), joint_mask)
        losses = {"loss": (1 - hidden) * self.words_loss(logits, ids)}
        if settings.tfidf:
            losses["tfidf_loss"] = settings.tfidf * (1 - hidden) * self.rare_loss(logits, ids)
        if report is not None and labelled:
            seen = mask[:, :, None].to(tokens)
            image_logits = self.image_head((tokens * seen).sum(1) / seen.sum(1))
            losses |= self._label_losses(image_logits, report[1], batch["labels"], hidden)
            if settings.traceback != "none" and self.step_number % 2:
                losses["traceback_loss"] = self.traced_loss(logits, ids, batch["labels"])
        self.step_number += 1
        return losses

    def _label_losses(
        self, image: Tensor, report: Tensor, labels: Tensor, hidden: float
    ) -> dict[str, Tensor]:
        """Return the losses of labels read from image and report, which count opposite to what is
        hidden of the image."""
        weight = self.settings.labels
        return {
            "image_label_loss": weight * (1 - hidden) * label_loss(image, labels, self.learnt),
            "report_label_loss": weight * hidden * label_loss(report, labels, self.learnt),
        }

    def _draw(self) -> float:
        """Return where in its ranges this batch is; nothing is drawn where they are single
        numbers."""
        if self.settings.hidden(self.epoch, 0) == self.settings.hidden(self.epoch, 1) and (
            self.settings.kept(self.epoch, 0) == self.settings.kept(self.epoch, 1)
        ):
            return 0.0
        return float(torch.rand(()))

    def _read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [B, L - 1, D] and label logits of the words of reports, without begin."""
        words = self._embedded(self.embedding(ids[:, 1:]))
        features, logits = self.text(words, ids[:, 1:] != PAD)
        return features, logits

    def _embedded(self, vectors: Tensor) -> Tensor:
        """Return vectors of words [B, L, D] scaled, with their positions."""
        scaled = vectors * math.sqrt(vectors.shape[-1])
        return scaled + self.decoder.positions[: vectors.shape[1]]

    def rare_loss(self, logits: Tensor, ids: Tensor) -> Tensor:
        """Return the mean negative log-probability of the words, weighted by their tf-idf."""
        targets = ids[:, 1:]
        present = targets != PAD
        share = (targets[:, :, None] == targets[:, None]).sum(2) / present.sum(1, keepdim=True)
        weights = share * self.rarity[targets] * present
        losses = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        return weighted_mean(losses, weights)

    def traced_loss(self, logits: Tensor, ids: Tensor, labels: Tensor) -> Tensor:
        """Return the label loss of the written report as the text encoder reads it, which is frozen
        here.

        With `argmax` the words are chosen, and no gradient reaches the decoder.
        """
        vectors = self.embedding.weight.detach()
        if self.settings.traceback == "soft":
            written = logits.softmax(-1) @ vectors
        else:
            written = vectors[logits.argmax(-1)]
        frozen = {name: value.detach() for name, value in self.text.named_parameters()}
        with without_dropout(self.text):
            arguments = (self._embedded(written), ids[:, 1:] != PAD)
            _, read = functional_call(self.text, frozen, arguments)
        return label_loss(read, labels, self.learnt)
