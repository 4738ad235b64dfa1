"""The text sides of published checkpoints, with the quirks their weights were trained with
(docs/checkpoints.md lists them)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import nn
from transformers import BertConfig, BertModel

from backbones.shared.alignment.kernels import attention_pooled_similarity
from backbones.shared.encoders.text import HOW_TO_BRING, sum_words
from backbones.shared.encoders.tokens import published_sentences
from backbones.shared.encoders.vocabulary import END, PAD, START, number_words, read_pieces
from backbones.shared.pretraining.vision_language import word_cosines
from backbones.shared.weights.coverage import expected_state, fill, take_prefix
from backbones.shared.weights.reading import State
from bench.contracts import Features
from bench.core.errors import CheckpointError, MissingDependencyError
from bench.core.words import cut_words


def cleaned(text: str) -> str:
    """Return the text as GLoRIA and MGCA read it: its sentences (`published_sentences`) in a
    row."""
    return " ".join(published_sentences(text))


class Pieces:
    """Bio_ClinicalBERT's WordPiece tokenizer, from the vocab.txt of a local folder."""

    def __init__(self, folder: Path) -> None:
        path = folder / "vocab.txt" if folder.is_dir() else folder
        if not path.is_file():
            raise MissingDependencyError(
                f"text model folder {folder} has no vocab.txt.", HOW_TO_BRING
            )
        words = read_pieces(path)
        self.table = {word: number for number, word in enumerate(words)}
        self.continues = torch.tensor([word.startswith("##") for word in words])
        self._tokenizer = Tokenizer(WordPiece(self.table, unk_token="[UNK]"))
        self._tokenizer.normalizer = BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = BertPreTokenizer()

    def __len__(self) -> int:
        return len(self.table)

    def encode(self, texts: Sequence[str], length: int, pad_to: int | None = None) -> torch.Tensor:
        """Return ids [T, L] with [CLS] and [SEP], cut at `length` tokens and padded to `pad_to`,
        else to the longest text."""
        rows = [
            self._tokenizer.encode(cut_words(text), add_special_tokens=False).ids[: length - 2]
            for text in texts
        ]
        width = pad_to or max((len(row) for row in rows), default=0) + 2
        ids = torch.full((len(rows), width), self.table[PAD])
        for number, row in enumerate(rows):
            ids[number, : len(row) + 2] = torch.tensor([self.table[START], *row, self.table[END]])
        return ids


class TextSide(nn.Module, ABC):
    """A text encoder with the projections of both sides."""

    max_tokens: int
    padded = False

    def __init__(self, bert: BertModel, pieces: Pieces) -> None:
        super().__init__()
        self.bert = bert
        self.pieces = pieces

    def tokens(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids [T, L] and their mask on the encoder's device."""
        pad_to = self.max_tokens if self.padded else None
        ids = self.pieces.encode([self.clean(text) for text in texts], self.max_tokens, pad_to)
        ids = ids.to(self.bert.device)
        return ids, (ids != self.pieces.table[PAD]).long()

    def clean(self, text: str) -> str:
        """Return the text as the method reads it."""
        return cleaned(text)

    @abstractmethod
    def embed_images(self, features: Features) -> torch.Tensor:
        """Return L2-normalised image embeddings [B, d]."""

    @abstractmethod
    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return L2-normalised text embeddings [T, d]."""

    def similarity(self, features: Features, texts: Sequence[str]) -> torch.Tensor:
        """Return the image-text score [B, T]: the cosine."""
        return self.embed_images(features) @ self.embed_texts(texts).T

    def grounding(self, features: Features, texts: Sequence[str]) -> torch.Tensor | None:
        """Return where each text is read in each image [B, T, h, w]; None, as here, where the
        method has no local part."""
        return None


class GloriaText(TextSide):
    """GLoRIA: word pieces summed to words over the last four layers, the sentence is the mean over
    all 97 positions."""

    max_tokens = 97
    padded = True

    def __init__(self, bert: BertModel, pieces: Pieces, state: State) -> None:
        super().__init__(bert, pieces)
        self.global_embedder = _linear(state, "gloria.img_encoder.global_embedder")
        self.local_embedder = nn.Linear(
            *_sizes(state, "gloria.img_encoder.local_embedder.weight"), bias=False
        )
        self.local_embedder.weight.data = (
            state["gloria.img_encoder.local_embedder.weight"].float().flatten(1).clone()
        )

    def words(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return word states [T, 97, d], the mask of the words the local score uses and the
        sentence states [T, d].

        Word 0 is [CLS], the last is [SEP]; the score uses those between. The mean of a sentence
        includes all, the empty positions too, whose state is 0.
        """
        ids, mask = self.tokens(texts)
        layers = self.bert(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states
        states = torch.stack(layers[-4:]).sum(0)
        numbers = number_words(self.pieces.continues.to(ids.device)[ids], mask.bool())
        words, real = sum_words(states, numbers, self.max_tokens)
        position = torch.arange(self.max_tokens, device=ids.device)
        scored = (position > 0) & (position < real.sum(1, keepdim=True) - 1)
        return words, scored, words.mean(1)

    def embed_images(self, features: Features) -> torch.Tensor:
        """Return L2-normalised global image embeddings [B, d]."""
        return nn.functional.normalize(self.global_embedder(features.pooled), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return L2-normalised sentence embeddings [T, d]."""
        return nn.functional.normalize(self.words(texts)[2], dim=1)

    def similarity(self, features: Features, texts: Sequence[str]) -> torch.Tensor:
        """Return the mean of the global cosine and 5 times the best word's cosine with what it
        attends to, [B, T] (zero-shot score); the former alone for a text without a word.
        """
        words, mask, sentences = self.words(texts)
        regions = self.local_embedder(features.patches)
        cosine = self.embed_images(features) @ nn.functional.normalize(sentences, dim=1).T
        local = attention_pooled_similarity(words, regions, text_mask=mask, aggregate="max").T
        return (torch.where(mask.any(1), local, cosine) + cosine) / 2

    def grounding(self, features: Features, texts: Sequence[str]) -> torch.Tensor | None:
        """Return the mean cosine of every region with the words of each text, [B, T, h, w]."""
        words, mask, _ = self.words(texts)
        regions = self.local_embedder(features.patches)
        return word_cosines(words, mask, regions).unflatten(2, features.grid)


class MgcaText(TextSide):
    """MGCA: the state of [CLS] of 6 layers in which every token has position 0 and there are no
    token types."""

    max_tokens = 112
    padded = True

    def __init__(self, bert: BertModel, pieces: Pieces, state: State, path: Path) -> None:
        super().__init__(bert, pieces)
        bert.embeddings.token_type_embeddings.weight.data.zero_()
        self.image_head = _mgca_head(state, "img_encoder_q.global_embed.head.", path)
        self.text_head = _mgca_head(state, "text_encoder_q.global_embed.head.", path)

    def embed_images(self, features: Features) -> torch.Tensor:
        """Return L2-normalised image embeddings [B, 128]."""
        return nn.functional.normalize(self.image_head(features.pooled), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return L2-normalised report embeddings [T, 128]."""
        ids, mask = self.tokens(texts)
        outputs = self.bert(input_ids=ids, attention_mask=mask, position_ids=torch.zeros_like(ids))
        return nn.functional.normalize(self.text_head(outputs.last_hidden_state[:, 0]), dim=1)


class MedClipText(TextSide):
    """MedCLIP: the mean of hidden states 1, 2 and the last over all positions, padding to the
    longest text included."""

    max_tokens = 77

    def __init__(self, bert: BertModel, pieces: Pieces, state: State) -> None:
        super().__init__(bert, pieces)
        self.projection = _linear(state, "text_model.projection_head")
        name = (
            "vision_model.model.fc"
            if "vision_model.model.fc.weight" in state
            else "vision_model.projection_head"
        )
        self.image_projection = _linear(state, name)
        self.projects_mean = name == "vision_model.model.fc"
        """Whether what is projected is the mean of the last map, as in the ResNet."""

    def clean(self, text: str) -> str:
        """Return the text as it is: MedCLIP does not clean it."""
        return text

    def embed_images(self, features: Features) -> torch.Tensor:
        """Return L2-normalised image embeddings [B, 512]."""
        return nn.functional.normalize(self.image_projection(features.pooled), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return L2-normalised text embeddings [T, 512]; each text alone, so that its neighbours'
        length does not change it."""
        return torch.cat([self._embed(text) for text in texts])

    def grounding(self, features: Features, texts: Sequence[str]) -> torch.Tensor | None:
        """Return the cosine of every place of the ResNet's last map, projected as its mean is, with
        each text [B, T, h, w]; None for the other network."""
        if not self.projects_mean:
            return None
        places = self.image_projection(features.pyramid[-1].permute(0, 2, 3, 1))
        places = nn.functional.normalize(places, dim=3)
        return torch.einsum("bhwd,td->bthw", places, self.embed_texts(texts))

    def _embed(self, text: str) -> torch.Tensor:
        ids, mask = self.tokens([text])
        layers = self.bert(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states
        mean = torch.stack([layers[1], layers[2], layers[-1]]).mean((0, 2))
        return nn.functional.normalize(self.projection(mean), dim=1)


def load_text(method: str, state: State, folder: Path, path: Path) -> TextSide:
    """Return the text side in a published file; the tokenizer comes from `folder`. Raises
    CheckpointError where it does not fit.
    """
    pieces = Pieces(folder)
    if method == "gloria":
        return GloriaText(
            load_bert(state, "gloria.text_encoder.model.", pieces, path), pieces, state
        ).eval()
    if method == "mgca":
        return MgcaText(
            load_bert(state, "text_encoder_q.model.", pieces, path), pieces, state, path
        ).eval()
    return MedClipText(load_bert(state, "text_model.model.", pieces, path), pieces, state).eval()


def load_bert(state: State, prefix: str, pieces: Pieces, path: Path) -> BertModel:
    """Return the BERT under `prefix`, its sizes read off the tensors."""
    inside = take_prefix(state, (prefix,))
    words = inside.get("embeddings.word_embeddings.weight")
    if words is None:
        raise CheckpointError(
            f"checkpoint {path} has no text encoder under {prefix}.", "Leave text_model out."
        )
    if len(words) != len(pieces):
        raise CheckpointError(
            f"the vocabulary has {len(pieces)} pieces, the text encoder in {path} {len(words)}.",
            "Give Bio_ClinicalBERT's vocab.txt.",
        )
    bert = BertModel(_bert_config(inside), add_pooling_layer=False)
    optional = {
        key: torch.zeros_like(value)
        for key, value in expected_state(bert).items()
        if "token_type" in key
    }
    named = f"text encoder under {prefix}"
    fill(bert, {**optional, **inside}, path, named, zeros=tuple(optional))
    return bert


def _bert_config(state: State) -> BertConfig:
    vocabulary, width = state["embeddings.word_embeddings.weight"].shape
    layers = {key.split(".")[2] for key in state if key.startswith("encoder.layer.")}
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=max(1, width // 64),
        intermediate_size=state["encoder.layer.0.intermediate.dense.weight"].shape[0],
        max_position_embeddings=state["embeddings.position_embeddings.weight"].shape[0],
    )


def _sizes(state: State, key: str) -> tuple[int, int]:
    if key not in state:
        raise CheckpointError(
            f"the checkpoint lacks {key}.",
            "It is damaged or of another version; leave text_model out.",
        )
    return state[key].shape[1], state[key].shape[0]


def _linear(state: State, name: str) -> nn.Linear:
    layer = nn.Linear(*_sizes(state, f"{name}.weight"), bias=f"{name}.bias" in state)
    with torch.no_grad():
        layer.weight.copy_(state[f"{name}.weight"])
        if layer.bias is not None:
            layer.bias.copy_(state[f"{name}.bias"])
    return layer


def _mgca_head(state: State, prefix: str, path: Path) -> nn.Sequential:
    """Return Linear, BN, ReLU, Linear, BN (no affine), filled from the keys under `prefix`."""
    into, hidden = _sizes(state, f"{prefix}0.weight")
    out = _sizes(state, f"{prefix}3.weight")[1]
    norms = nn.BatchNorm1d(hidden), nn.BatchNorm1d(out, affine=False)
    head = nn.Sequential(
        nn.Linear(into, hidden), norms[0], nn.ReLU(), nn.Linear(hidden, out), norms[1]
    )
    fill(head, take_prefix(state, (prefix,)), path, prefix.rstrip("."))
    return head.eval()
