"""WordPiece vocabulary and the encoding of whole reports with their sentences marked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from backbones.shared.encoders.tokens import sentence_key, split_sentences, words_of
from bench.core.errors import CheckpointError
from bench.core.files import read_file
from bench.core.words import cut_words

PAD = "[PAD]"
UNKNOWN = "[UNK]"
START = "[CLS]"
END = "[SEP]"
_BERT = BertNormalizer(lowercase=True)
_SPECIAL = [PAD, UNKNOWN, START, END]


@dataclass(frozen=True)
class EncodedReport:
    """One report: token `ids`, the `sentence` each token belongs to (-1: none), and a comparison
    key per kept sentence, with its number among all sentences of the report."""

    ids: tuple[int, ...]
    sentence: tuple[int, ...]
    keys: tuple[int, ...]
    numbers: tuple[int, ...] = ()


class Vocabulary:
    """WordPiece pieces in order; text is lower-cased."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = list(pieces)
        table = {piece: number for number, piece in enumerate(self.pieces)}
        missing = [piece for piece in _SPECIAL if piece not in table]
        if missing:
            raise CheckpointError(
                f"the vocabulary lacks {', '.join(missing)}.", "Use the vocab.txt of a BERT model."
            )
        self.pad = table[PAD]
        self.start = table[START]
        self.end = table[END]
        self._tokenizer = _tokenizer(WordPiece(table, unk_token=UNKNOWN))
        # Per piece: does it go on with a word ("##ary"), and is it (part of) a word, neither
        # special token nor punctuation?
        self.continues = torch.tensor([piece.startswith("##") for piece in self.pieces])
        special = {PAD, START, END, "[MASK]"}
        self.in_word = torch.tensor(
            [piece not in special and any(map(str.isalnum, piece)) for piece in self.pieces]
        )

    def __len__(self) -> int:
        return len(self.pieces)

    @classmethod
    def train(cls, reports: Iterable[str], size: int) -> Vocabulary:
        """Learn a vocabulary of at most `size` pieces from `reports`; the same reports give the
        same pieces.

        The trainer numbers the letters inside words in the random order of a hash table, and breaks
        ties by these numbers; naming them beforehand makes it deterministic.
        """
        tokenizer = _tokenizer(WordPiece(unk_token=UNKNOWN))
        texts = sorted(map(cut_words, reports))
        letters = sorted(
            {
                letter
                for text in texts
                for letter in _BERT.normalize_str(text)
                if not letter.isspace()
            }
        )
        options: dict[str, Any] = {
            "vocab_size": size,
            "min_frequency": 2,
            "special_tokens": [*_SPECIAL, *(f"##{letter}" for letter in letters)],
            "show_progress": False,
        }
        tokenizer.train_from_iterator(texts, WordPieceTrainer(**options))
        table = tokenizer.get_vocab()
        return cls(sorted(table, key=lambda piece: table[piece]))

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read `vocab.txt` (one piece per line)."""
        return cls(read_pieces(path))

    def save(self, path: Path) -> None:
        """Write `vocab.txt`."""
        path.write_text("\n".join(self.pieces) + "\n", encoding="utf-8")

    def encode(
        self, report: str, *, max_tokens: int, max_sentences: int, min_words: int
    ) -> EncodedReport:
        """Encode a whole report: [CLS] sentence 0, sentence 1, ... [SEP], cut at `max_tokens`.

        Sentences of fewer than `min_words` words and those past `max_sentences` stay in the text
        but are no units of their own.
        """
        ids = [self.start]
        marks = [-1]
        keys: list[int] = []
        numbers: list[int] = []
        for number, text in enumerate(split_sentences(cut_words(report))):
            pieces = self._tokenizer.encode(text, add_special_tokens=False).ids[
                : max_tokens - 1 - len(ids)
            ]
            is_aligned = (
                bool(pieces) and len(words_of(text)) >= min_words and len(keys) < max_sentences
            )
            ids += pieces
            marks += [len(keys) if is_aligned else -1] * len(pieces)
            keys += [sentence_key(text)] if is_aligned else []
            numbers += [number] if is_aligned else []
        return EncodedReport((*ids, self.end), (*marks, -1), tuple(keys), tuple(numbers))

    def word_numbers(
        self, ids: torch.Tensor, mask: torch.Tensor, *, everything: bool = False
    ) -> torch.Tensor:
        """Return which word each token belongs to, counted from 0 in every text; -1 for none. ids,
        mask [B, L].

        Special tokens and punctuation are no words; with `everything` every token that is no
        padding is (part of) one, so that [CLS] is word 0 and [SEP] the last.
        """
        inside = mask if everything else mask & self.in_word.to(ids.device)[ids]
        return number_words(self.continues.to(ids.device)[ids], inside)


def read_pieces(path: Path) -> list[str]:
    """Return the pieces of a `vocab.txt` in order; raise CheckpointError naming the file where it
    is missing, no text, or holds a piece twice."""
    if not path.exists():
        raise CheckpointError(
            f"vocabulary {path} does not exist.", "It belongs beside the checkpoint."
        )
    content = read_file(path, "card", CheckpointError)
    try:
        pieces = content.decode("utf-8").replace("\r\n", "\n").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"vocabulary {path} is not text.", "Copy it again.") from error
    if len(set(pieces)) != len(pieces) or b"\0" in content:
        raise CheckpointError(
            f"vocabulary {path} is damaged: a piece occurs in it twice, or is not text.",
            "Copy it again.",
        )
    absent = [piece for piece in _SPECIAL if piece not in pieces]
    if absent:
        raise CheckpointError(
            f"vocabulary {path} lacks {', '.join(absent)}.", "Use the vocab.txt of a BERT model."
        )
    return pieces


def number_words(continues: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Number the words of texts: a token of `inside` [B, L] starts a word unless it `continues`
    one; -1 outside."""
    return ((inside & ~continues).long().cumsum(1) - 1).masked_fill(~inside, -1)


def _tokenizer(model: WordPiece) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = _BERT
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


@dataclass(frozen=True)
class TextBatch:
    """Padded reports: `ids` and `sentence` [B, L] (`sentence` -1 outside units), `mask` [B, L] true
    on tokens, `keys` [B, S] comparison keys of the sentences (-1 where a report has fewer)."""

    ids: torch.Tensor
    mask: torch.Tensor
    sentence: torch.Tensor
    keys: torch.Tensor

    @property
    def sentence_mask(self) -> torch.Tensor:
        """True where a report has a sentence, [B, S]."""
        return self.keys >= 0

    def to(self, device: str | torch.device) -> TextBatch:
        """Return the batch on `device`."""
        return TextBatch(
            self.ids.to(device),
            self.mask.to(device),
            self.sentence.to(device),
            self.keys.to(device),
        )


def collate(reports: Sequence[EncodedReport], pad: int) -> TextBatch:
    """Pad reports to the longest of them; at least one sentence column."""
    length = max(len(report.ids) for report in reports)
    count = max(1, *(len(report.keys) for report in reports))
    ids = torch.tensor([[*report.ids, *[pad] * (length - len(report.ids))] for report in reports])
    sentence = torch.tensor(
        [[*report.sentence, *[-1] * (length - len(report.ids))] for report in reports]
    )
    keys = torch.tensor([[*report.keys, *[-1] * (count - len(report.keys))] for report in reports])
    lengths = torch.tensor([len(report.ids) for report in reports])
    return TextBatch(ids, torch.arange(length) < lengths[:, None], sentence, keys)
