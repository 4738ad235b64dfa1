"""EGMA: patches against sentences, supervised (EGF) and re-weighted (EGM) by where radiologists
look."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from backbones.egma.losses import (
    GazeRule,
    gaze_losses,
    instance_loss,
    instance_scores,
    pooling_losses,
)
from backbones.egma.settings import EGMASettings
from backbones.shared.alignment.gather import gather, gather_padded
from backbones.shared.alignment.kernels import symmetric_info_nce
from backbones.shared.encoders.architectures import Architecture
from backbones.shared.encoders.text import TextEncoder, pool_sentences, pool_tokens
from backbones.shared.encoders.vocabulary import TextBatch, Vocabulary
from backbones.shared.pretraining.regions import region_maps
from backbones.shared.pretraining.vision_language import (
    Batch,
    LoadedLocalMethod,
    VisionLanguageMethod,
    project,
    projection,
    text_batch,
    word_cosines,
)
from bench.contracts import Features

_LARGEST_SCALE = 100.0


@dataclass(frozen=True)
class Gaze:
    """Gaze on an encoder's grid of P patches: `labels` [B, S, P], true where somebody looked,
    `weights` [B, S, P] in [0, 1], and `seen` [B, S], which sentences have any."""

    labels: torch.Tensor
    weights: torch.Tensor
    seen: torch.Tensor


@dataclass(frozen=True)
class Report:
    """A batch of reports as EGMA reads it: token states [B, L, D] of the last layer, and their mean
    over the last `word_layers`."""

    text: TextBatch
    last: torch.Tensor
    states: torch.Tensor


class EGMA(VisionLanguageMethod[EGMASettings]):
    """Ma et al., NeurIPS 2024, re-implemented from its description; with `instance=published` its
    loss between images and reports is as in its code."""

    def __init__(
        self,
        architecture: Architecture,
        text: TextEncoder,
        vocabulary: Vocabulary,
        settings: EGMASettings,
        seed: int = 0,
    ) -> None:
        super().__init__(architecture, text, vocabulary, settings, seed)
        widths = (settings.projection_hidden, settings.embed_dim)
        self.patch_head = projection(architecture.patch_dim, *widths)
        self.sentence_head = projection(text.width, *widths)
        self.logit_scale = nn.Parameter(torch.tensor(1 / settings.tau1).log())
        if not settings.infonce:
            self.image_head = nn.Identity()
            self.text_head = nn.Identity()

    # ---------------------------------------------------------------------------------------- texts
    def report(self, text: TextBatch) -> Report:
        """Read a batch of reports."""
        layers = self.text_encoder.layers(text)
        return Report(text, layers[-1], torch.stack(layers[-self.settings.word_layers :]).mean(0))

    def sentences(self, report: Report) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sentences of every report [B, S, d], normalised (0 where there is none), and
        their mask [B, S].

        A report without a sentence that is long enough is one sentence.
        """
        text = report.text
        states = report.states
        pooled = pool_sentences(states, text)
        mask = text.sentence_mask
        without = ~mask.any(1)
        whole = functional.pad(
            pool_tokens(states, text.mask)[:, None], (0, 0, 0, pooled.shape[1] - 1)
        )
        pooled = torch.where(without[:, None, None], whole, pooled)
        first = torch.arange(mask.shape[1], device=mask.device) == 0
        mask = mask | (without[:, None] & first)
        return project(self.sentence_head, pooled, mask), mask

    def text_states(self, text: TextBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token states [B, L, D] and the global text embeddings [B, d], normalised: those of
        the contrast of whole reports, without it the mean of the sentences."""
        report = self.report(text)
        if self.settings.infonce:
            return report.last, self._whole(report)
        sentences, _ = self.sentences(report)
        return report.states, functional.normalize(sentences.sum(1), dim=-1)

    def _whole(self, report: Report) -> torch.Tensor:
        """Return the embeddings of whole reports [B, d], normalised."""
        return project(self.text_head, self.pool_text(report.last, report.text))

    def patches(self, features: Features) -> torch.Tensor:
        """Return the embedded patches [B, P, d], normalised."""
        return project(self.patch_head, features.patches)

    def embed_features(self, features: Features) -> torch.Tensor:
        """Return the global image embeddings [B, d], normalised: those of the contrast of whole
        images, without it the mean of the patches."""
        if self.settings.infonce:
            return super().embed_features(features)
        return functional.normalize(self.patches(features).mean(1), dim=-1)

    # --------------------------------------------------------------------------------------- losses
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return `loss_instance`, and weighted `loss_ita`, `loss_egf` and `loss_egm`; a term of
        weight 0 is not computed, nor EGF where the batch comes without regions.

        Logged: `single_sentence`, the share of images that EGM passes over as their report has one
        sentence, and `gaze`, the share of images with gaze.
        """
        settings = self.settings
        features = self.image_encoder.features(batch["images"])
        patches = self.patches(features)
        report = self.report(text_batch(batch))
        sentences, mask = self.sentences(report)
        terms = {}
        if settings.infonce:
            contrast = symmetric_info_nce(
                gather(self.embed_features(features)),
                gather(self._whole(report)),
                tau=settings.tau1,
            )
            terms["loss_ita"] = settings.infonce * contrast
        with torch.autocast(patches.device.type, enabled=False):
            terms["loss_instance"] = self._instance(patches, sentences, mask)
            gaze = read_gaze(batch, mask, features.grid) if "regions" in batch else None
            if gaze is not None and settings.egf:
                terms["loss_egf"] = settings.egf * self._egf(patches, sentences, gaze)
            if gaze is not None:
                terms["gaze"] = gather(gaze.seen.any(1).float()).mean()
            if settings.egm:
                terms["loss_egm"] = settings.egm * self._egm(patches, sentences, mask, gaze)
                terms["single_sentence"] = gather((mask.sum(1) < 2).float()).mean()
        return terms

    @property
    def scale(self) -> torch.Tensor:
        """What cosines are multiplied with: learned, at most 100."""
        return self.logit_scale.exp().clamp(max=_LARGEST_SCALE)

    def _instance(
        self, patches: torch.Tensor, sentences: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        published = self.settings.instance == "published"
        # A rank scores its own images against all reports: the patches stay where they are.
        best_sentence, best_patch = instance_scores(
            patches,
            gather_padded(sentences, 0.0),
            gather_padded(mask, False),
            published=published,
        )
        scale = self.scale
        return instance_loss(
            scale * gather(best_sentence), scale * gather(best_patch), published=published
        )

    def _egf(self, patches: torch.Tensor, sentences: torch.Tensor, gaze: Gaze) -> torch.Tensor:
        """Return the mean of the gaze loss over the images that have gaze; 0 where none has."""
        scores = self.scale * torch.einsum("bpd,bsd->bps", patches, sentences)
        losses = gather(gaze_losses(scores, gaze.labels, gaze.seen, self.settings.alpha))
        count = gather(gaze.seen.any(1).float()).sum()
        return losses.sum() / count.clamp(min=1)

    def _egm(
        self,
        patches: torch.Tensor,
        sentences: torch.Tensor,
        mask: torch.Tensor,
        gaze: Gaze | None,
    ) -> torch.Tensor:
        """Return the mean of the pooling loss over the images of two sentences and more; 0 where
        there is none."""
        settings = self.settings
        rule = GazeRule(settings.gaze_rule, settings.threshold)
        weights = gaze.weights if gaze is not None else None
        losses = gather(pooling_losses(patches, sentences, mask, self.scale, rule, weights))
        count = gather((mask.sum(1) > 1).float()).sum()
        return losses.sum() / count.clamp(min=1)

    # ------------------------------------------------------------------------------------ inference
    def loaded(self, name: str) -> LoadedLocalMethod:
        """Return EGMA as the encoder `name`, with its local similarity."""
        return LoadedLocalMethod(name, self)

    def score(self, features: Features, text: TextBatch) -> torch.Tensor:
        """Return the mean of the global cosine and the local similarity [B, T]; the latter alone
        without the contrast of whole images."""
        report = self.report(text)
        local = self._local(features, report)
        if not self.settings.infonce:
            return local
        return (self.embed_features(features) @ self._whole(report).T + local) / 2

    def local_score(self, features: Features, text: TextBatch) -> torch.Tensor:
        """Return the similarity of patches and sentences [B, T]: the mean of its two directions, as
        in the loss, without the scale."""
        return self._local(features, self.report(text))

    def _local(self, features: Features, report: Report) -> torch.Tensor:
        best_sentence, best_patch = instance_scores(self.patches(features), *self.sentences(report))
        return (best_sentence + best_patch) / 2

    def grounding(self, features: Features, text: TextBatch) -> torch.Tensor:
        """Return the cosine of every patch with the sentences of a text, averaged over these
        [B, T, h, w]."""
        cosines = word_cosines(*self.sentences(self.report(text)), self.patches(features))
        return cosines.unflatten(2, features.grid)


def read_gaze(batch: Batch, mask: torch.Tensor, grid: tuple[int, int]) -> Gaze:
    """Return the gaze of a batch on an encoder's grid; `mask` [B, S] says which sentences there
    are.

    A sentence whose map is empty, in the part of the image that is seen, has that of the whole
    study.
    """
    window = batch["region_window"]
    regions = batch["regions"]
    study = batch["study_region"]
    areas = region_maps(regions, window, grid, "area")
    smooth = region_maps(regions, window, grid, "bilinear")
    without = _empty(areas)[:, :, None, None]
    labels = torch.where(without, region_maps(study, window, grid, "area")[:, None], areas)
    weights = torch.where(without, region_maps(study, window, grid, "bilinear")[:, None], smooth)
    seen = ~_empty(labels) & mask
    return Gaze(labels.flatten(2) > 0, weights.flatten(2) * seen[:, :, None], seen)


def _empty(maps: torch.Tensor) -> torch.Tensor:
    """Return which maps [..., h, w] are 0 everywhere."""
    return ~(maps > 0).flatten(-2).any(-1)
