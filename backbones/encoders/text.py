"""The text encoder: transformers' BERT, small and trained from scratch, or the first layers of a local Bio_ClinicalBERT."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from backbones.encoders.vocabulary import TextBatch, Vocabulary
from backbones.keys import HOW_TO_BRING, require_text_model
from backbones.settings import MethodSettings
from bench.compat import torchvision_on_cpu
from bench.errors import MissingDependencyError

torchvision_on_cpu()

from transformers import BertConfig, BertModel  # noqa: E402

_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings")


class TextEncoder(nn.Module):
    """BERT without its pooler: a TextBatch in, token states [B, L, width] out."""

    def __init__(self, model: BertModel) -> None:
        super().__init__()
        self.model = model
        self.width: int = model.config.hidden_size

    def forward(self, text: TextBatch) -> torch.Tensor:
        """Return the token states [B, L, width]; those of padding carry no meaning."""
        return self.model(input_ids=text.ids, attention_mask=text.mask.long()).last_hidden_state

    def config(self) -> dict[str, Any]:
        """Return what is needed to build the same encoder again."""
        return {name: getattr(self.model.config, name) for name in _SIZES}


def build_text_encoder(config: dict[str, Any]) -> TextEncoder:
    """Return an untrained encoder of the given sizes."""
    return TextEncoder(BertModel(BertConfig.from_dict({**config, "attn_implementation": "sdpa"}), add_pooling_layer=False))


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

    The folder is one of Hugging Face: `config.json`, `vocab.txt`, and `model.safetensors` or `pytorch_model.bin`.
    Raises MissingDependencyError, saying how to bring it, where a file is missing.
    """
    weights = require_text_model(folder)
    config = BertConfig.from_pretrained(folder, local_files_only=True)
    config.num_hidden_layers = layers
    options: dict[str, Any] = {"local_files_only": True, "add_pooling_layer": False, "output_loading_info": True}
    model, facts = cast(tuple[BertModel, dict[str, Any]], BertModel.from_pretrained(folder, config=config, **options))
    if facts["missing_keys"]:
        missing = sorted(facts["missing_keys"])
        raise MissingDependencyError(f"{weights} lacks {len(missing)} weights, e.g. {missing[0]}.", HOW_TO_BRING)
    logging.getLogger(__name__).info("text encoder: first %d layers of %s", layers, folder)
    return TextEncoder(model), Vocabulary.load(folder / "vocab.txt")


def pool_tokens(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of the states [B, L, D] over the tokens of `mask` [B, L]."""
    weights = mask.to(states.dtype)
    return torch.einsum("bl,bld->bd", weights, states) / weights.sum(1, keepdim=True).clamp(min=1)


def pool_sentences(states: torch.Tensor, text: TextBatch) -> torch.Tensor:
    """Return the mean token state of every sentence, [B, S, D]; zero where a report has fewer sentences."""
    numbers = torch.arange(text.keys.shape[1], device=states.device)
    member = (text.sentence[:, None, :] == numbers[None, :, None]).to(states.dtype)
    return torch.einsum("bsl,bld->bsd", member, states) / member.sum(2, keepdim=True).clamp(min=1)
