"""CheXbert (Smit et al. 2020) from a user's own weights file: BERT with a head per observation."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.core.errors import CheckpointError
from bench.core.words import cut_words
from bench.text.observations import NEGATIVE, OBSERVATIONS, POSITIVE, UNCERTAIN, UNMENTIONED

ORDER = (
    "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia",
    "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices", "No Finding",
)  # fmt: skip
"""CheXbert's order of its heads, which happens to be ours."""
CLASSES = (UNMENTIONED, POSITIVE, NEGATIVE, UNCERTAIN)
"""What the four outputs of a head mean; the head of No Finding has two: blank and positive."""
LONGEST = 512
BATCH = 32


class _Network(nn.Module):
    """BERT base with 13 heads of four classes and one of two, under the names of the released
    file."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        from transformers import BertModel

        self.bert = BertModel(config)
        sizes = [4] * 13 + [2]
        self.linear_heads = nn.ModuleList(nn.Linear(config.hidden_size, size) for size in sizes)

    def forward(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        """Return the logits of every head, from the first token."""
        first = self.bert(ids, attention_mask=mask)[0][:, 0]
        return [head(first) for head in self.linear_heads]


class CheXbert:
    """A labeler: reports to observations."""

    def __init__(self, network: _Network, tokenizer: Any, device: str) -> None:
        self.network = network.eval().to(device)
        self.tokenizer = tokenizer
        self.device = device

    @classmethod
    def load(cls, path: str, device: str) -> CheXbert:
        """Return the labeler of a checkpoint; beside the file lie BERT's `vocab.txt` and, for
        another size, `config.json`.

        Raise CheckpointError for a file that does not read without running code, or whose weights
        are others.
        """
        from tokenizers import BertWordPieceTokenizer
        from transformers import BertConfig

        file = Path(path)
        if not (file.parent / "vocab.txt").is_file():
            raise CheckpointError(
                f"{file.parent / 'vocab.txt'} is missing.",
                "Put the vocabulary of bert-base-uncased beside the file.",
            )
        config_file = file.parent / "config.json"
        config = BertConfig.from_json_file(config_file) if config_file.is_file() else BertConfig()
        network = _Network(config)
        _fill(network, file)
        tokenizer = BertWordPieceTokenizer(str(file.parent / "vocab.txt"), lowercase=True)
        tokenizer.enable_truncation(LONGEST)
        tokenizer.enable_padding()
        return cls(network, tokenizer, device)

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return int8 [n, 14] in the order of OBSERVATIONS; a text without words mentions nothing
        and has No Finding 1."""
        labels = np.full((len(texts), len(OBSERVATIONS)), UNMENTIONED, np.int8)
        for start in range(0, len(texts), BATCH):
            batch = [" ".join(cut_words(text).split()) for text in texts[start : start + BATCH]]
            encoded = self.tokenizer.encode_batch(batch)
            ids, mask = (
                torch.tensor(column, device=self.device)
                for column in zip(*((e.ids, e.attention_mask) for e in encoded), strict=True)
            )
            for head, logits in zip(ORDER, self.network(ids, mask), strict=True):
                classes = np.array(CLASSES, np.int8)[logits.argmax(1).cpu().numpy()]
                labels[start : start + len(batch), OBSERVATIONS.index(head)] = classes
        empty = [row for row, text in enumerate(texts) if not text.split()]
        labels[empty] = UNMENTIONED
        labels[empty, OBSERVATIONS.index("No Finding")] = POSITIVE
        return labels


def _fill(network: nn.Module, file: Path) -> None:
    """Load the weights strictly: no name may be missing or left over."""
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{file} does not read as plain weights: {reason}.", "Save its state_dict alone."
        ) from error
    state = state.get("model_state_dict", state)
    state = {name.removeprefix("module."): value for name, value in state.items()}
    state.pop("bert.embeddings.position_ids", None)  # a buffer that newer transformers do not keep
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{file} is not CheXbert: {reason}.", "Use the released chexbert.pth."
        ) from error
