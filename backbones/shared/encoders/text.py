"""The text encoder: transformers' BERT, small and trained from scratch, or the first layers of a
local Bio_ClinicalBERT."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import BertConfig, BertModel

from backbones.shared.encoders.vocabulary import TextBatch, Vocabulary
from backbones.shared.pretraining.keys import HOW_TO_BRING, require_text_model
from backbones.shared.pretraining.settings import MethodSettings
from bench.core.errors import MissingDependencyError
from bench.core.progress import default_progress

SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)


class TextEncoder(nn.Module):
    """BERT without its pooler: a TextBatch in, token states [B, L, width] out."""

    def __init__(self, model: BertModel) -> None:
        super().__init__()
        self.model = model
        self.width: int = model.config.hidden_size

    def forward(self, text: TextBatch) -> torch.Tensor:
        """Return the token states [B, L, width]; those of padding carry no meaning."""
        return self.model(input_ids=text.ids, attention_mask=text.mask.long()).last_hidden_state

    def recompute(self) -> None:
        """Compute the activations inside layers again in the backward pass instead of keeping
        them."""
        self.model.activation_checkpointing_enable({"use_reentrant": False})

    def layers(self, text: TextBatch, *, order_blind: bool = False) -> tuple[torch.Tensor, ...]:
        """Return the states [B, L, width] before the first and after every layer.

        `order_blind` gives every token position 0, as MGCA's published code does.
        """
        positions = torch.zeros_like(text.ids) if order_blind else None
        inputs = {
            "input_ids": text.ids,
            "attention_mask": text.mask.long(),
            "position_ids": positions,
        }
        return self.model(**inputs, output_hidden_states=True).hidden_states

    @torch.no_grad()
    def cls_attention(self, before_last: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return what [CLS] attends to in the last layer, [B, heads, L], from the states before
        that layer; no gradient."""
        layer = cast(Any, self.model.encoder.layer[-1]).attention.self
        heads = layer.num_attention_heads
        query = layer.query(before_last[:, :1]).unflatten(2, (heads, -1)).transpose(1, 2)
        keys = layer.key(before_last).unflatten(2, (heads, -1)).transpose(1, 2)
        scores = (query @ keys.transpose(2, 3)).squeeze(2).float() / query.shape[-1] ** 0.5
        return scores.masked_fill(~mask[:, None], -torch.inf).softmax(2)

    def config(self) -> dict[str, Any]:
        """Return what is needed to build the same encoder again."""
        return {name: getattr(self.model.config, name) for name in SIZES}


def build_text_encoder(config: dict[str, Any]) -> TextEncoder:
    """Return an untrained encoder of the given sizes."""
    return TextEncoder(
        BertModel(
            BertConfig.from_dict({**config, "attn_implementation": "sdpa"}), add_pooling_layer=False
        )
    )


def text_config(settings: MethodSettings, pieces: int) -> dict[str, Any]:
    """Return the sizes of the encoder that is trained from scratch."""
    return {
        "vocab_size": pieces,
        "hidden_size": settings.text_width,
        "num_hidden_layers": settings.text_layers,
        "num_attention_heads": max(1, settings.text_width // 32),
        "intermediate_size": 4 * settings.text_width,
        "hidden_dropout_prob": settings.text_dropout,
        "attention_probs_dropout_prob": settings.text_dropout,
    }


def load_text_encoder(folder: Path, layers: int) -> tuple[TextEncoder, Vocabulary]:
    """Return the first `layers` layers of a BERT in a local folder, with its vocabulary.

    The folder is one of Hugging Face: `config.json`, `vocab.txt`, and `model.safetensors` or
    `pytorch_model.bin`. Raises MissingDependencyError, saying how to bring it, where a file is
    missing.
    """
    weights = require_text_model(folder)
    config = BertConfig.from_pretrained(folder, local_files_only=True)
    whole = int(config.num_hidden_layers)
    config.num_hidden_layers = layers
    options: dict[str, Any] = {
        "local_files_only": True,
        "add_pooling_layer": False,
        "output_loading_info": True,
    }
    model, facts = cast(
        tuple[BertModel, dict[str, Any]],
        BertModel.from_pretrained(folder, config=config, **options),
    )
    if facts["missing_keys"]:
        missing = sorted(facts["missing_keys"])
        raise MissingDependencyError(
            f"{weights} lacks {len(missing)} weights, e.g. {missing[0]}.", HOW_TO_BRING
        )
    default_progress().say(
        f"text encoder: the first {layers} of {whole} layers of {folder} (text_layers={layers})"
    )
    return TextEncoder(model), Vocabulary.load(folder / "vocab.txt")


def pool_tokens(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of the states [B, L, D] over the tokens of `mask` [B, L]."""
    weights = mask.to(states.dtype)
    return torch.einsum("bl,bld->bd", weights, states) / weights.sum(1, keepdim=True).clamp(min=1)


def pool_sentences(states: torch.Tensor, text: TextBatch) -> torch.Tensor:
    """Return the mean token state of every sentence, [B, S, D]; zero where a report has fewer
    sentences."""
    return _grouped(states, text.sentence, text.keys.shape[1], mean=True)


def sum_words(
    states: torch.Tensor, numbers: torch.Tensor, count: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return word states [B, W, D], the sum over the pieces of each word, and their mask [B, W].

    numbers [B, L]: the word a token belongs to, -1 for none (`Vocabulary.word_numbers`). W is
    `count`, else the most words of a text.
    """
    words = numbers.amax(1) + 1
    width = count or max(1, int(words.max()))
    return _grouped(states, numbers, width), torch.arange(width, device=numbers.device) < words[
        :, None
    ]


def _grouped(
    states: torch.Tensor, numbers: torch.Tensor, count: int, mean: bool = False
) -> torch.Tensor:
    """Return the sum (or mean) of the states of each of `count` groups; a product with a 0/1
    matrix, so deterministic."""
    groups = torch.arange(count, device=states.device)
    member = (numbers[:, None, :] == groups[None, :, None]).to(states.dtype)
    total = member @ states
    return total / member.sum(2, keepdim=True).clamp(min=1) if mean else total
