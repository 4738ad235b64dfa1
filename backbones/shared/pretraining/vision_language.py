"""The common form of the methods that learn from radiographs and their reports: encoders,
projections, text side at inference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from backbones.shared.encoders.architectures import Architecture
from backbones.shared.encoders.base import LoadedBackbone
from backbones.shared.encoders.image import build_encoder
from backbones.shared.encoders.text import TextEncoder, pool_tokens
from backbones.shared.encoders.vocabulary import TextBatch, Vocabulary, collate
from backbones.shared.pretraining.settings import MethodSettings
from bench.contracts import Features
from bench.training.processes import world_size

Batch = Mapping[str, Any]
S = TypeVar("S", bound=MethodSettings)
_NAMED = 8
"""Images that an error names."""


def projection(width: int, hidden: int, out: int) -> nn.Sequential:
    """Return the projection head of all methods, MGCA's: Linear, BN, ReLU, Linear, BN without
    affine."""
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, out),
        nn.BatchNorm1d(out, affine=False),
    )


def embed(head: nn.Module, vectors: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Return embeddings [..., d] of vectors [..., D]: every vector is one sample of the head's
    BatchNorm.

    With `mask` [...] only what it holds is seen by the head, the rest is 0; all is 0 in training
    where it holds fewer than the two samples that BatchNorm needs.
    """
    rows = vectors.reshape(-1, vectors.shape[-1]) if mask is None else vectors[mask]
    if mask is None:
        return head(rows).float().unflatten(0, vectors.shape[:-1])
    if head.training and len(rows) < 2 and world_size() == 1:
        layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
        return vectors.new_zeros(
            *mask.shape,
            layers[-1].out_features if layers else vectors.shape[-1],
            dtype=torch.float32,
        )
    seen = head(rows).float()
    empty = seen.new_zeros(*mask.shape, seen.shape[1])
    return empty.masked_scatter(mask[..., None], seen)


def project(
    head: nn.Module, vectors: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return `embed`, L2-normalised (what `mask` leaves out stays 0)."""
    return functional.normalize(embed(head, vectors, mask), dim=-1)


class VisionLanguageMethod(nn.Module, ABC, Generic[S]):
    """Two encoders with a global projection each; a method adds its losses and, where it has one,
    its own similarity. Written with the class of its settings: `VisionLanguageMethod[Settings]`."""

    settings: S

    def __init__(
        self,
        architecture: Architecture,
        text: TextEncoder,
        vocabulary: Vocabulary,
        settings: S,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.vocabulary = vocabulary
        self.image_encoder = build_encoder(architecture, seed)
        self.text_encoder = text
        self.image_head: nn.Module = projection(
            architecture.pooled_dim, settings.projection_hidden, settings.embed_dim
        )
        self.text_head: nn.Module = projection(
            text.width, settings.projection_hidden, settings.embed_dim
        )

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the terms of the loss (names start with `loss_`, already weighted) and quantities
        to log.

        batch: `images` [B, 3, H, W], the fields of a TextBatch, and the lists `image_ids` and
        `reports`, each report as `read` gives it.
        """

    @torch.no_grad()
    def describe_bad_batch(self, batch: Batch) -> str:
        """Name the images of a batch of which, each alone, image or embeddings are not finite; all
        where that is none or all."""
        rows = range(len(batch["image_ids"]))
        bad = [row for row in rows if not bool(batch["images"][row].isfinite().all())]
        bad = bad or [row for row in rows if not self._embeds_finite(batch, row)] or list(rows)
        names = [str(batch["image_ids"][row]) for row in bad]
        return ", ".join(names[:_NAMED]) + (
            f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        )

    def _embeds_finite(self, batch: Batch, row: int) -> bool:
        """Embed one pair twice: in training mode, as the running statistics have met the bad sample
        already."""
        pair = {
            name: value[[row, row]]
            for name, value in batch.items()
            if isinstance(value, torch.Tensor)
        }
        vectors = (
            self.embed_features(self.image_encoder.features(pair["images"])),
            self.text_states(text_batch(pair))[1],
        )
        return all(bool(vector.isfinite().all()) for vector in vectors)

    def loaded(self, name: str) -> LoadedMethod:
        """Return the method as the encoder `name`; a method with a local score, or tokens beside
        its patches, gives an encoder that has them too."""
        return LoadedMethod(name, self)

    def start_epoch(self, epoch: int) -> None:
        """Get ready for a training epoch (from 0); by default there is nothing to do."""

    def arrange(self, reports: Sequence[str], order: np.ndarray, batch_size: int) -> np.ndarray:
        """Return in which order a pass takes its pairs, for at least as many whole batches as
        `order` (the pairs, shuffled) has; by default as they are shuffled.

        `reports` are those of all pairs, as `read` gives them. The same order must give the same
        answer on every process.
        """
        return order

    def watched(self, batch: Batch, features: Features) -> dict[str, list[float]]:
        """Return what a method wants to know of a validation batch beside retrieval: name -> a
        value of each pair that counts, whose mean the curve of the training has; by default
        nothing."""
        return {}

    def read(self, report: str) -> str:
        """Return a report or sentence as the method reads it; by default as it is."""
        return report

    def learns_from(self, report: str) -> bool:
        """Return whether a report is long enough to be trained on; by default every one is."""
        return True

    def encode_text(self, texts: Sequence[str]) -> TextBatch:
        """Tokenise reports or sentences as in training, on the method's device."""
        settings = self.settings
        limits = {
            "max_tokens": settings.max_tokens,
            "max_sentences": settings.max_sentences,
            "min_words": settings.min_words,
        }
        encoded = [self.vocabulary.encode(self.read(text), **limits) for text in texts]
        return collate(encoded, self.vocabulary.pad).to(next(self.parameters()).device)

    def text_states(self, text: TextBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token states [B, L, D] and the global text embeddings [B, d], normalised."""
        states = self.text_encoder(text)
        return states, project(self.text_head, self.pool_text(states, text))

    def pool_text(self, states: torch.Tensor, text: TextBatch) -> torch.Tensor:
        """Return one state [B, D] of every text from those of its tokens [B, L, D]."""
        return (
            states[:, 0] if self.settings.text_pooling == "cls" else pool_tokens(states, text.mask)
        )

    def embed_features(self, features: Features) -> torch.Tensor:
        """Return the global image embeddings [B, d], normalised."""
        return project(self.image_head, features.pooled)

    def attention_maps(self, images: torch.Tensor) -> torch.Tensor | None:
        """Return where the method's observations were read, [B, K, h, w], every map summing to one;
        None where it has none."""
        return None

    def grounding(self, features: Features, text: TextBatch) -> torch.Tensor | None:
        """Return how much the method reads each text where in each image [B, T, h, w]; None where
        it has no local part."""
        return None

    def score(self, features: Features, text: TextBatch) -> torch.Tensor:
        """Return the method's image-text score [B images, T texts]; by default the cosine of the
        global embeddings."""
        return self.embed_features(features) @ self.text_states(text)[1].T

    def local_score(self, features: Features, text: TextBatch) -> torch.Tensor:
        """Return the part of the score over words (or sentences) and regions [B, T]; only where the
        method has one."""
        raise NotImplementedError(f"{type(self).__name__} has no local score")


def word_cosines(words: torch.Tensor, weights: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """Return the cosine of every patch with the words of a text, averaged over these with
    `weights`: [B, T, N].

    words [T, W, d], weights [T, W] (need not sum to one; a text without a word gets 0), patches [B,
    N, d].
    """
    shares = weights.float() / weights.float().sum(1, keepdim=True).clamp(min=1e-12)
    means = torch.einsum("tw,twd->td", shares, functional.normalize(words, dim=-1))
    return torch.einsum("td,bnd->btn", means, functional.normalize(patches, dim=-1))


def text_batch(batch: Batch) -> TextBatch:
    """Return the text side of a training batch."""
    return TextBatch(batch["ids"], batch["mask"], batch["sentence"], batch["keys"])


@runtime_checkable
class GivesQueries(Protocol):
    """A backbone whose maps are made of those of its observations: optional, asked for by
    `isinstance`."""

    def attention_maps(self, images: torch.Tensor) -> torch.Tensor:
        """Return where each observation was read [B, K, h, w]."""
        ...

    def query_weights(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Return how much each observation counts for each text [B, T, K]; rows sum to one."""
        ...


class LoadedMethod(LoadedBackbone):
    """An ImageTextEncoder over a trained method: features for the heads, embeddings and scores for
    zero-shot and retrieval."""

    def __init__(self, name: str, method: VisionLanguageMethod) -> None:
        super().__init__(name, method.image_encoder, method)
        self.method = method

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return L2-normalised image embeddings [B, d]."""
        return self.method.embed_features(self.features(images))

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return L2-normalised text embeddings [T, d]."""
        return self.method.text_states(self.method.encode_text(texts))[1]

    def similarity(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Return the method's own image-text score [B, T]."""
        return self.method.score(self.features(images), self.method.encode_text(texts))

    def grounding(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor | None:
        """Return how much the method reads each text where in each image [B, T, h, w]; None where
        it has no local part."""
        return self.method.grounding(self.features(images), self.method.encode_text(texts))


class LoadedLocalMethod(LoadedMethod):
    """A method whose score has a part over words (or sentences) and regions."""

    def local_similarity(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Return that part alone [B, T]; for a text without words, the global cosine."""
        return self.method.local_score(self.features(images), self.method.encode_text(texts))
