"""Reports as sentences: splitting that keeps decimals and abbreviations, the splitting of the
published codes, and the form in which two sentences are the same."""

from __future__ import annotations

import hashlib
import re

_ABBREVIATIONS = frozenset(
    {
        "dr",
        "mr",
        "mrs",
        "ms",
        "st",
        "vs",
        "no",
        "nos",
        "approx",
        "e.g",
        "i.e",
        "eg",
        "etc",
        "resp",
        "incl",
        "cf",
        "fig",
        "ca",
    }
    | {"al", "a.m", "p.m", "lt", "rt", "inf", "sup", "lat", "med", "prof", "dept", "mm", "cm"}
)
_UNITS = frozenset({"mm", "cm", "etc", "no", "a.m", "p.m"})
"""May close a sentence as well: they do where a capital or a list number follows."""
_END = re.compile(r"[.!?]+(?=\s|$)")
_LIST_NUMBER = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s+")
_WORD = re.compile(r"[^\W_]+(?:[.,/'][^\W_]+)*")
_PUBLISHED_END = re.compile(r"[0-9]+\.|\.")
_PUBLISHED_WORD = re.compile(r"\w+")


def split_sentences(report: str) -> list[str]:
    """Split a report into sentences, list numbers taken off; decimals ("1.5 cm") and abbreviations
    ("Dr. Hale") stay whole."""
    text = " ".join(report.split())
    sentences = []
    start = 0
    for match in _END.finditer(text):
        if _closes(text[start : match.start()], text[match.end() :]):
            sentences.append(text[start : match.end()])
            start = match.end()
    sentences.append(text[start:])
    stripped = (_LIST_NUMBER.sub("", sentence).strip().lstrip(".,;:!? ") for sentence in sentences)
    return [sentence for sentence in stripped if _WORD.search(sentence)]


def _closes(before: str, after: str) -> bool:
    """Tell whether the full stop between `before` (the sentence so far) and `after` ends a
    sentence."""
    words = before.split()
    if not words or (len(words) == 1 and words[0].isdigit() and len(words[0]) <= 2):
        return False  # a list number: "1. No pneumothorax"
    last = words[-1].lower().lstrip("(")
    if last in _UNITS:
        following = after.lstrip()
        return not following or not following[0].islower()
    is_initial = len(last) == 1 and last.isalpha() and words[-1].isupper()
    return last not in _ABBREVIATIONS and not is_initial


def words_of(sentence: str) -> list[str]:
    """Return the lower-case words of a sentence, decimals whole, punctuation dropped."""
    return _WORD.findall(sentence.lower())


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
