"""Reports as sentences: the splitting of the published codes, and the form in which two sentences
are the same."""

from __future__ import annotations

import hashlib
import re

from bench.core.sentences import WORD, split_sentences

__all__ = [
    "normalise",
    "published_sentences",
    "sentence_key",
    "split_sentences",
    "words_of",
]

_PUBLISHED_END = re.compile(r"[0-9]+\.|\.")
_PUBLISHED_WORD = re.compile(r"\w+")


def words_of(sentence: str) -> list[str]:
    """Return the lower-case words of a sentence, decimals whole, punctuation dropped."""
    return WORD.findall(sentence.lower())


def normalise(sentence: str) -> str:
    """Return the form in which two sentences are compared: lower case, words only, single
    spaces."""
    return " ".join(words_of(sentence))


def sentence_key(sentence: str) -> int:
    """Return a 63-bit number that is equal for sentences equal after normalisation, on every
    machine and rank."""
    digest = hashlib.blake2b(normalise(sentence).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def published_sentences(report: str) -> list[str]:
    """Return the sentences of a report as GLoRIA's and MGCA's code cuts them.

    Every full stop ends a sentence and takes the digits before it along, so that a list number goes
    and a decimal is cut ("of 1.5 cm" becomes "of" and "5 cm"). Sentences of one word are left out.
    What is left are lower-case words of ASCII letters, without punctuation.
    """
    text = report.replace("\n", " ")
    sentences = []
    for raw_sentence in _PUBLISHED_END.split(text):
        words = _PUBLISHED_WORD.findall(raw_sentence.replace("\ufffd\ufffd", " ").lower())
        if len(words) < 2:
            continue
        ascii_words = [word.encode("ascii", "ignore").decode() for word in words]
        sentences.append(" ".join(word for word in ascii_words if word))
    return [sentence for sentence in sentences if sentence]
