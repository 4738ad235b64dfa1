"""PLACE: instance alignment (ITA), pathological-level alignment (PCMA) and correlation exploration
(CCE)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from backbones.place.attention import Anchors, CorrelationHead, ObservationExtractor, positions_2d
from backbones.place.losses import (
    pairwise_cosine,
    patch_pixels,
    pcma_query_loss,
    pcma_sentence_loss,
)
from backbones.place.settings import PLACESettings
from backbones.shared.alignment.correlation import correlation_loss, standardise_rows
from backbones.shared.alignment.gather import gather, gather_padded, local_part
from backbones.shared.alignment.kernels import (
    Pooling,
    attention_pooled_similarity,
    region_attention,
    symmetric_info_nce,
)
from backbones.shared.encoders.architectures import Architecture
from backbones.shared.encoders.text import TextEncoder, pool_sentences
from backbones.shared.encoders.vocabulary import TextBatch, Vocabulary
from backbones.shared.pretraining.vision_language import (
    Batch,
    LoadedLocalMethod,
    LoadedMethod,
    VisionLanguageMethod,
    project,
    projection,
    text_batch,
)
from bench.contracts import Features


class PLACE(VisionLanguageMethod[PLACESettings]):
    """Wang et al. 2025, arXiv 2506.10573, re-implemented from its abstract; what it leaves open is
    a switch of PLACESettings."""

    def __init__(
        self,
        architecture: Architecture,
        text: TextEncoder,
        vocabulary: Vocabulary,
        settings: PLACESettings,
        seed: int = 0,
    ) -> None:
        super().__init__(architecture, text, vocabulary, settings, seed)
        extractor = (
            settings.vpoe_width,
            settings.queries,
            settings.vpoe_layers,
            settings.heads,
            settings.competing,
            settings.read_only,
        )
        self.visual = ObservationExtractor(architecture.patch_dim, *extractor)
        self.anchors = Anchors(settings.queries) if settings.anchored else None
        self.visual_head = projection(
            settings.vpoe_width, settings.projection_hidden, settings.embed_dim
        )
        self.textual = (
            ObservationExtractor(text.width, *extractor) if settings.t_por == "query" else None
        )
        textual_width = settings.vpoe_width if settings.t_por == "query" else text.width
        self.textual_head = projection(
            textual_width, settings.projection_hidden, settings.embed_dim
        )
        self.correlation = CorrelationHead(
            architecture.patch_dim,
            text.width,
            settings.vpoe_width,
            settings.cce_dim,
            settings.heads,
        )

    # --------------------------------------------------------------------------------- observations
    def visual_observations(
        self, features: Features, maps: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the V-PORs [B, K, d], normalised, and when asked where each was read [B, K, h *
        w]."""
        positions = positions_2d(features.grid, self.settings.vpoe_width, features.patches.device)
        nearness = None if self.anchors is None else self.anchors(features.grid)
        observations, weights = self.visual(
            features.patches, positions, maps=maps, nearness=nearness
        )
        return project(self.visual_head, observations), weights

    @property
    def observes(self) -> bool:
        """Whether PCMA is part of the training: without it the extractor and its heads are noise,
        and PLACE has no local part."""
        return self.settings.lambda_pcma > 0

    def attention_maps(self, images: torch.Tensor) -> torch.Tensor | None:
        """Return where each observation was read, [B, K, h, w], every map summing to one; None
        without PCMA."""
        if not self.observes:
            return None
        features = self.image_encoder.features(images)
        return self.observations_and_maps(features)[1].unflatten(2, features.grid)

    def observations_and_maps(self, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the V-PORs [B, K, d], normalised, and where each was read [B, K, h * w]."""
        observations, weights = self.visual_observations(features, maps=True)
        if weights is None:
            raise RuntimeError("the extractor returned no attention maps")
        return observations, weights

    def textual_observations(self, states: torch.Tensor, text: TextBatch) -> torch.Tensor:
        """Return the T-PORs, normalised: one per sentence [B, S, d] (zero where there is none), or
        per query [B, K, d]."""
        if self.textual is not None:
            return project(self.textual_head, self.textual(states, mask=text.mask)[0])
        return project(self.textual_head, pool_sentences(states, text), text.sentence_mask)

    # --------------------------------------------------------------------------------------- losses
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return `loss_ita`, `loss_pcma` and `loss_cce`, weighted; a term of weight 0 is not
        computed.

        `observation_cosine` is logged: 1 would mean that the V-PORs of an image have become one.
        """
        settings = self.settings
        text = text_batch(batch)
        features = self.image_encoder.features(batch["images"])
        states, texts = self.text_states(text)
        terms = {}
        if settings.lambda_ita:
            ita = symmetric_info_nce(
                gather(self.embed_features(features)), gather(texts), tau=settings.tau1
            )
            terms["loss_ita"] = settings.lambda_ita * ita
        if settings.lambda_pcma:
            visual = self.visual_observations(features)[0]
            terms["loss_pcma"] = settings.lambda_pcma * self._pcma(gather(visual), states, text)
            terms["observation_cosine"] = pairwise_cosine(visual.detach())
        if settings.lambda_cce:
            terms["loss_cce"] = settings.lambda_cce * self._cce(
                batch["images"], features, states, text
            )
        return terms

    def _pcma(self, visual: torch.Tensor, states: torch.Tensor, text: TextBatch) -> torch.Tensor:
        settings = self.settings
        keys = gather_padded(text.keys, -1)
        if settings.t_por == "query":
            textual = gather(self.textual_observations(states, text))
            masked = settings.mask_duplicates
            return pcma_query_loss(
                textual, visual, keys, tau3=settings.tau3, mask_duplicates=masked
            )
        textual = gather_padded(self.textual_observations(states, text), 0.0)
        return pcma_sentence_loss(
            textual,
            keys,
            visual,
            tau2=settings.tau2,
            tau3=settings.tau3,
            duplicate_cosine=settings.duplicate_cosine,
            mask_duplicates=settings.mask_duplicates,
        )

    def _cce(
        self, images: torch.Tensor, features: Features, states: torch.Tensor, text: TextBatch
    ) -> torch.Tensor:
        settings = self.settings
        patches = features.patches
        hidden = local_part((len(patches), patches.shape[1]), patches.device) < settings.mask_ratio
        positions = positions_2d(features.grid, settings.vpoe_width, patches.device)
        predicted = standardise_rows(
            self.correlation(patches, hidden, positions, states, text.mask).float()
        )
        if settings.cce_target == "pixel":
            target = patch_pixels(images, features.grid)
        else:
            target = standardise_rows(patches.detach().float())
        return correlation_loss(predicted, target, settings.cce_loss)

    # ------------------------------------------------------------------------------------ inference
    def loaded(self, name: str) -> LoadedMethod:
        """Return PLACE as the encoder `name`: with its observations, or, trained without PCMA, with
        the global embeddings alone."""
        return LoadedPLACE(name, self) if self.observes else LoadedMethod(name, self)

    def score(self, features: Features, text: TextBatch) -> torch.Tensor:
        """Return the mean of the global cosine and of the pathological one [B, T].

        The former alone for a text of no sentence, and without PCMA.
        """
        if not self.observes:
            return super().score(features, text)
        cosine, local = self._scores(features, text)
        return (cosine + local) / 2

    def local_score(self, features: Features, text: TextBatch) -> torch.Tensor:
        """Return the pathological cosine [B, T]; the global one for a text of no sentence."""
        return self._scores(features, text)[1]

    def query_weights(self, visual: torch.Tensor, text: TextBatch) -> torch.Tensor:
        """Return how much each V-POR [B, K, d] counts for each text [B, T, K]; rows sum to one (a
        text without a sentence: 0).

        The attention of PCMA, softmax over K of cosine / tau2, averaged over the sentences of a
        text; with `t_por` "query" the softmax of the cosines that the pairs have.
        """
        textual = self.textual_observations(self.text_states(text)[0], text)
        if self.settings.t_por == "query":
            return (torch.einsum("ikd,jkd->ijk", visual, textual) / self.settings.tau2).softmax(2)
        attention = region_attention(textual, visual, Pooling("regions", 1 / self.settings.tau2))
        shares = text.sentence_mask / text.sentence_mask.sum(1, keepdim=True).clamp(min=1)
        return torch.einsum("ts,tsbk->btk", shares, attention)

    def grounding(self, features: Features, text: TextBatch) -> torch.Tensor | None:
        """Return the maps of the V-PORs summed with the weight each has for a text, [B, T, h, w];
        None without PCMA.

        Every map sums to one.
        """
        if not self.observes:
            return None
        visual, maps = self.observations_and_maps(features)
        return (self.query_weights(visual, text) @ maps).unflatten(2, features.grid)

    def _scores(self, features: Features, text: TextBatch) -> tuple[torch.Tensor, torch.Tensor]:
        states, texts = self.text_states(text)
        cosine = self.embed_features(features) @ texts.T
        visual = self.visual_observations(features)[0]
        textual = self.textual_observations(states, text)
        if self.settings.t_por == "query":
            return cosine, torch.einsum("ikd,jkd->ijk", visual, textual).mean(2)
        mask = text.sentence_mask
        scale = 1 / self.settings.tau2
        local = attention_pooled_similarity(
            textual,
            visual,
            text_mask=mask,
            order="regions",
            attention_scale=scale,
            score_scale=1.0,
            aggregate="mean_of_scores",
        ).T
        return cosine, torch.where(mask.any(1), local, cosine)


class LoadedPLACE(LoadedLocalMethod):
    """PLACE at inference: also gives its observations and where they were read."""

    method: PLACE

    def observations(self, images: torch.Tensor) -> torch.Tensor:
        """Return the V-PORs [B, K, d], normalised: extra visual tokens for report generation."""
        return self.method.visual_observations(self.features(images))[0]

    def attention_maps(self, images: torch.Tensor) -> torch.Tensor:
        """Return where each observation was read, [B, K, h, w]; every map sums to one."""
        features = self.features(images)
        return self.method.observations_and_maps(features)[1].unflatten(2, features.grid)

    def query_weights(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Return how much each observation counts for each text [B, T, K]; rows sum to one."""
        return self.method.query_weights(self.observations(images), self.method.encode_text(texts))


# Names that plug-ins of before import.
Place = PLACE
LoadedPlace = LoadedPLACE
