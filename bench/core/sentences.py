"""Where the sentences of a report begin and end. Decimals ("1.5 cm") and abbreviations ("Dr. Hale")
stay whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

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
WORD = re.compile(r"[^\W_]+(?:[.,/'][^\W_]+)*")


def split_sentences(report: str) -> list[str]:
    """Split a report into sentences, list numbers taken off; decimals ("1.5 cm") and abbreviations
    ("Dr. Hale") stay whole."""
    text = " ".join(report.split())
    return [_stripped(text[start:end]) for start, end in sentence_spans(text)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return where each sentence of `split_sentences` begins and ends in a text whose blanks are
    single, list numbers included."""
    return [(start, end) for start, end in _spans(text) if WORD.search(_stripped(text[start:end]))]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _END.finditer(text):
        if _closes(text[start : match.start()], text[match.end() :]):
            yield start, match.end()
            start = match.end()
    yield start, len(text)


def _stripped(sentence: str) -> str:
    return _LIST_NUMBER.sub("", sentence).strip().lstrip(".,;:!? ")


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
