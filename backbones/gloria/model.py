"""GLoRIA: global InfoNCE and a local one whose score of a pair is built from words and the regions
they attend to."""

from __future__ import annotations

import torch
from torch import nn

from backbones.gloria.settings import GLoRIASettings
from backbones.shared.alignment.gather import gather
from backbones.shared.alignment.kernels import (
    attention_pooled_similarity,
    score_info_nce,
    symmetric_info_nce,
)
from backbones.shared.alignment.kernels.options import Aggregate
from backbones.shared.encoders.architectures import Architecture
from backbones.shared.encoders.text import TextEncoder, sum_words
from backbones.shared.encoders.tokens import published_sentences
from backbones.shared.encoders.vocabulary import TextBatch, Vocabulary
from backbones.shared.pretraining.vision_language import (
    Batch,
    LoadedLocalMethod,
    VisionLanguageMethod,
    embed,
    project,
    projection,
    text_batch,
    word_cosines,
)
from bench.contracts import Features


class GLoRIA(VisionLanguageMethod[GLoRIASettings]):
    """Huang et al., ICCV 2021, re-implemented from its description; with `quirks` as its
    code does otherwise."""

    def __init__(
        self,
        architecture: Architecture,
        text: TextEncoder,
        vocabulary: Vocabulary,
        settings: GLoRIASettings,
        seed: int = 0,
    ) -> None:
        super().__init__(architecture, text, vocabulary, settings, seed)
        widths = (settings.projection_hidden, settings.embed_dim)
        self.region_head: nn.Module = projection(architecture.patch_dim, *widths)
        self.word_head: nn.Module = projection(text.width, *widths)
        if settings.heads == "linear":
            self.image_head = nn.Linear(architecture.pooled_dim, text.width)
            self.region_head = nn.Linear(architecture.patch_dim, text.width, bias=False)
            self.text_head = nn.Identity()
            self.word_head = nn.Identity()
        self._bracketed = torch.tensor([piece.startswith("[") for piece in vocabulary.pieces])

    # ---------------------------------------------------------------------------------------- texts
    def read(self, report: str) -> str:
        """Return a report as it is; with `quirks` as the published code cuts it."""
        quirks = self.settings.quirks
        return " ".join(published_sentences(report)) if quirks else report

    def learns_from(self, report: str) -> bool:
        """Return whether a report is trained on; with `quirks` it needs a sentence of two words."""
        return not self.settings.quirks or bool(published_sentences(report))

    def words(
        self, text: TextBatch, *, scored: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return word states [B, W, D], the mask of the words that are matched [B, W], and the
        sentence states [B, D].

        Embed them with `word_head` and `text_head`. With `quirks` the mask is that of the loss, or
        where `scored` that of a score at inference.
        """
        settings = self.settings
        states = torch.stack(self.text_encoder.layers(text)[-settings.word_layers :]).sum(0)
        numbers = self.vocabulary.word_numbers(text.ids, text.mask, everything=settings.quirks)
        words, mask = sum_words(states, numbers)
        if not settings.quirks:
            return words, mask, words.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return words, self._published_mask(text, mask, scored), words.mean(1)

    def _published_mask(self, text: TextBatch, mask: torch.Tensor, scored: bool) -> torch.Tensor:
        """Return the words the published code matches [B, W]: word 0 is [CLS], the last is [SEP].

        A score uses those between. The loss counts the words that do not start with "[", adds one
        and takes so many from [CLS] on: each [UNK] costs it the last word.
        """
        position = torch.arange(mask.shape[1], device=mask.device)
        words = mask.sum(1, keepdim=True)
        if scored:
            return (position > 0) & (position < words - 1)
        bracketed = self._bracketed.to(mask.device)[text.ids] & text.mask
        return position < words - bracketed.sum(1, keepdim=True) + 1

    def text_states(self, text: TextBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return word states [B, W, D] and the global text embeddings [B, D], normalised."""
        words, _, sentences = self.words(text)
        return words, project(self.text_head, sentences)

    # --------------------------------------------------------------------------------------- losses
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return `loss_global` and `loss_local` over the global batch, weighted; a term of weight 0
        is not computed."""
        settings = self.settings
        features = self.image_encoder.features(batch["images"])
        words, mask, sentences = self.words(text_batch(batch))
        terms = {}
        if settings.lambda_global:
            images = gather(self.embed_features(features))
            texts = gather(project(self.text_head, sentences))
            terms["loss_global"] = settings.lambda_global * symmetric_info_nce(
                images, texts, tau=settings.tau1
            )
        if settings.lambda_local:
            # A rank scores its own reports against all images: the words stay where they are.
            regions = gather(embed(self.region_head, features.patches))
            scores = settings.report_scale * gather(
                self._local(embed(self.word_head, words, mask), mask, regions)
            )
            terms["loss_local"] = settings.lambda_local * (
                score_info_nce(scores) + score_info_nce(scores.T)
            )
        return terms

    def _local(
        self,
        words: torch.Tensor,
        mask: torch.Tensor,
        regions: torch.Tensor,
        aggregate: Aggregate = "logsumexp",
    ) -> torch.Tensor:
        """Return the score of every report in every image [T, B]."""
        settings = self.settings
        return attention_pooled_similarity(
            words,
            regions,
            text_mask=mask,
            attention_scale=settings.attention_scale,
            score_scale=settings.word_scale,
            aggregate=aggregate,
        )

    # ------------------------------------------------------------------------------------ inference
    def loaded(self, name: str) -> LoadedLocalMethod:
        """Return GLoRIA as the encoder `name`, with its local similarity."""
        return LoadedLocalMethod(name, self)

    def score(self, features: Features, text: TextBatch) -> torch.Tensor:
        """Return the mean of the global cosine and the local similarity [B, T]; the former alone
        for a text without words."""
        cosine, local = self._scores(features, text)
        return (cosine + local) / 2

    def local_score(self, features: Features, text: TextBatch) -> torch.Tensor:
        """Return the local similarity [B, T]; the global cosine for a text without words.

        It is the log-mean-exp of the words' cosines, so that both are cosines and long texts have
        no advantage; with `quirks` it is 5 times the best word's cosine, as in the published code.
        """
        return self._scores(features, text)[1]

    def grounding(self, features: Features, text: TextBatch) -> torch.Tensor:
        """Return the mean cosine of every region with the words of a text [B, T, h, w].

        The attention of the local score would not do: it shares every region out among the words,
        so that its mean over them is nearly flat.
        """
        words, mask, _ = self.words(text, scored=True)
        regions = embed(self.region_head, features.patches)
        return word_cosines(embed(self.word_head, words, mask), mask, regions).unflatten(
            2, features.grid
        )

    def _scores(self, features: Features, text: TextBatch) -> tuple[torch.Tensor, torch.Tensor]:
        settings = self.settings
        words, mask, sentences = self.words(text, scored=True)
        cosine = self.embed_features(features) @ project(self.text_head, sentences).T
        words = embed(self.word_head, words, mask)
        regions = embed(self.region_head, features.patches)
        if settings.quirks:
            local = self._local(words, mask, regions, "max").T
        else:
            local = self._local(words, mask, regions, "log_mean_exp").T / settings.word_scale
        return cosine, torch.where(mask.any(1), local, cosine)


# Names that plug-ins of before import.
Gloria = GLoRIA
