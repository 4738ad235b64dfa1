"""From cleaned text to token ids and back: words of the training split, or WordPiece learned on
it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from bench.core.errors import DataError
from bench.core.words import cut_words
from tasks.report_generation.settings import ReportSettings

PAD = 0
BEGIN = 1
END = 2
UNKNOWN = 3
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")


class Vocabulary(Protocol):
    """Text to ids (without begin and end) and back."""

    def __len__(self) -> int:
        """Return the number of ids."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of cleaned text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` up to the first end."""
        ...

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return each id as it is shown beside a picture."""
        ...


def until_end(ids: Sequence[int]) -> list[int]:
    """Return `ids` up to the first end, without padding and begin."""
    tokens = []
    for token in ids:
        if token == END:
            break
        if token not in (PAD, BEGIN):
            tokens.append(int(token))
    return tokens


class WordVocabulary:
    """Words that occur at least `min_count` times in the training texts, sorted; all others are
    `<unk>`."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [*SPECIAL, *words]
        self.ids = {word: number for number, word in enumerate(self.words)}

    @classmethod
    def learn(cls, texts: Sequence[str], min_count: int) -> WordVocabulary:
        """Return the vocabulary of cleaned training texts; raise DataError where no word is
        left."""
        counts = Counter(word for text in texts for word in text.split())
        words = sorted(
            word for word, count in counts.items() if count >= min_count and word not in SPECIAL
        )
        if not words:
            raise DataError(
                f"no word occurs {min_count} times in {len(texts)} training reports.",
                "Lower min_count.",
            )
        return cls(words)

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Return one id per word."""
        return [self.ids.get(word, UNKNOWN) for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        """Return words joined by blanks."""
        return " ".join(self.pieces(until_end(ids)))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the words."""
        return [self.words[token] for token in ids]


class WordPieceVocabulary:
    """WordPiece learned on the training texts (HF tokenizers); unseen words are spelled from
    pieces, so `<unk>` is rare."""

    def __init__(self, texts: Sequence[str], size: int) -> None:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        self.tokenizer = Tokenizer(
            models.WordPiece(unk_token=SPECIAL[UNKNOWN], max_input_chars_per_word=100)
        )
        self.tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        self.tokenizer.decoder = decoders.WordPiece(cleanup=False)
        trainer = trainers.WordPieceTrainer(
            vocab_size=size, special_tokens=list(SPECIAL), show_progress=False
        )
        self.tokenizer.train_from_iterator(sorted(map(cut_words, texts)), trainer)

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Return the ids of the pieces."""
        return self.tokenizer.encode(cut_words(text), add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text, pieces joined to words; an unknown one reads `<unk>`."""
        return self.tokenizer.decode(until_end(ids), skip_special_tokens=False)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces."""
        return [str(self.tokenizer.id_to_token(int(token))) for token in ids]


def learn_vocabulary(texts: Sequence[str], settings: ReportSettings) -> Vocabulary:
    """Return the vocabulary of the settings, learned on cleaned training texts alone."""
    if settings.vocabulary == "wordpiece":
        return WordPieceVocabulary(texts, settings.pieces)
    return WordVocabulary.learn(texts, settings.min_count)


def through(vocabulary: Vocabulary, texts: Sequence[str], longest: int) -> list[str]:
    """Return texts as they come back from a vocabulary, cut after `longest` ids (R2Gen scores
    against these)."""
    return [vocabulary.decode(vocabulary.encode(text)[:longest]) for text in texts]
