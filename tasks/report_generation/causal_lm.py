"""A prefix of visual tokens on a causal language model that lies in a local folder
(transformers)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.core.errors import CheckpointError
from bench.core.words import cut_words
from tasks.report_generation.decoders.causal_lm import CausalLmSettings
from tasks.report_generation.visual import VisualMemory
from tasks.report_generation.vocabulary import BEGIN, END, PAD, SPECIAL, until_end

SHIFT = len(SPECIAL)
"""Ids of the model's own tokens stand behind the four special ones, so that searches are the same
for all decoders."""


class ModelVocabulary:
    """The language model's tokenizer in the ids of this package."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self.tokenizer) + SHIFT

    def encode(self, text: str) -> list[int]:
        """Return the ids of cleaned text."""
        ids = self.tokenizer.encode(cut_words(text), add_special_tokens=False)
        return [token + SHIFT for token in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` up to the first end, words by single blanks."""
        model_ids = [token - SHIFT for token in until_end(ids) if token >= SHIFT]
        return " ".join(self.tokenizer.decode(model_ids, skip_special_tokens=True).split())

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return each id as text."""
        return [
            self.tokenizer.decode([token - SHIFT]).strip() if token >= SHIFT else SPECIAL[token]
            for token in ids
        ]


@dataclass
class PrefixState:
    """The model's own cache, and which positions count."""

    cache: Any
    mask: Tensor
    beams: int

    def reorder(self, rows: Tensor) -> None:
        """Make hypothesis i what hypothesis `rows[i]` was."""
        self.cache.batch_select_indices(rows)
        self.mask = self.mask.index_select(0, rows)

    def keep(self, images: Tensor) -> None:
        """Drop all images but `images`, with their hypotheses."""
        self.reorder(
            (
                images[:, None] * self.beams + torch.arange(self.beams, device=images.device)
            ).flatten()
        )


class PrefixReporter(nn.Module):
    """Projected visual tokens in front of the words of a causal language model, which is frozen
    unless it is to be trained."""

    def __init__(
        self, visual: VisualMemory, width: int, model: Any, ends: tuple[int, int], trained: bool
    ) -> None:
        super().__init__()
        self.visual = visual
        self.trained = trained
        self.ends = ends
        self.language: Any = model.requires_grad_(trained)
        self.project = nn.Linear(width, self.language.get_input_embeddings().embedding_dim)

    def train(self, mode: bool = True) -> PrefixReporter:
        """Set the mode; a frozen language model stays in eval mode."""
        super().train(mode)
        if not self.trained:
            self.language.eval()
        return self

    def _own(self, ids: Tensor) -> Tensor:
        begin, end = self.ends
        shifted = (ids - SHIFT).clamp(min=0)
        return shifted.masked_fill(ids == BEGIN, begin).masked_fill(
            (ids == END) | (ids == PAD), end
        )

    def _logits(self, logits: Tensor) -> Tensor:
        """Return the model's logits [..., V] in the ids of this package [..., 4 + V]."""
        special = torch.full(
            (*logits.shape[:-1], SHIFT), float("-inf"), dtype=logits.dtype, device=logits.device
        )
        special[..., END] = logits[..., self.ends[1]]
        words = logits.clone()
        words[..., self.ends[1]] = float("-inf")
        return torch.cat([special, words], -1)

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the mean cross-entropy of the words of a batch."""
        tokens, mask = self.visual(batch)
        ids = batch["ids"]
        words = self.language.get_input_embeddings()(self._own(ids[:, :-1]))
        mask = torch.cat([mask, ids[:, :-1] != PAD], 1)
        logits = self.language(
            inputs_embeds=torch.cat([self.project(tokens), words], 1), **_place(mask)
        ).logits
        shifted = self._logits(logits[:, tokens.shape[1] :])
        return {
            "loss": functional.cross_entropy(
                shifted.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD
            )
        }

    def start(self, batch: dict[str, Any], beams: int) -> PrefixState:
        """Return the state after the prefix; it is read once for all hypotheses of an image."""
        tokens, mask = self.visual(batch)
        outputs = self.language(inputs_embeds=self.project(tokens), use_cache=True, **_place(mask))
        outputs.past_key_values.batch_repeat_interleave(beams)
        return PrefixState(outputs.past_key_values, mask.repeat_interleave(beams, 0), beams)

    def step(self, ids: Tensor, state: PrefixState) -> Tensor:
        """Return logits after the newest ids."""
        state.mask = torch.cat([state.mask, state.mask.new_ones(len(ids), 1)], 1)
        places = _place(state.mask)
        places["position_ids"] = places["position_ids"][:, -1:]
        words = self._own(ids)[:, None]
        outputs = self.language(
            input_ids=words, past_key_values=state.cache, use_cache=True, **places
        )
        return self._logits(outputs.logits[:, -1])


def _place(mask: Tensor) -> dict[str, Tensor]:
    """Return attention mask and positions: missing visual tokens take no position."""
    return {"attention_mask": mask.long(), "position_ids": (mask.long().cumsum(1) - 1).clamp(min=0)}


def _load(auto: Any, folder: str, **options: Any) -> Any:
    """Return what a class of transformers reads in a local folder; no code in it is run. Raise
    CheckpointError where it does not load."""
    try:
        return auto.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{folder} is not a causal language model: {reason}.",
            "It needs config, tokenizer, safetensors.",
        ) from error


def load_tokenizer(folder: str) -> Any:
    """Return the tokenizer of a local folder. Raise CheckpointError where it does not load or has
    no end."""
    from transformers import AutoTokenizer

    tokenizer = _load(AutoTokenizer, folder)
    if tokenizer.eos_token_id is None:
        raise CheckpointError(
            f"the tokenizer in {folder} has no end-of-text token.",
            "Set eos_token in tokenizer_config.json.",
        )
    return tokenizer


def vocabulary(texts: Sequence[str], settings: CausalLmSettings) -> ModelVocabulary:
    """Return the vocabulary of the settings' model, whatever the training texts."""
    return ModelVocabulary(load_tokenizer(settings.causal_lm))


def build(
    visual: VisualMemory, vocabulary: ModelVocabulary, settings: CausalLmSettings
) -> PrefixReporter:
    """Return the model of the settings."""
    from transformers import AutoModelForCausalLM

    model = _load(AutoModelForCausalLM, settings.causal_lm, use_safetensors=True)
    tokenizer = vocabulary.tokenizer
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    ends = (int(begin), int(tokenizer.eos_token_id))
    return PrefixReporter(visual, settings.width, model, ends, settings.causal_lm_trained)
