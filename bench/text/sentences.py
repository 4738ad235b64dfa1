"""A report as sentences: lower case, words by single blanks, without punctuation; and where in
them a comma stood."""

from __future__ import annotations

import re

from bench.text.lines import close_lines

_ENUMERATOR = re.compile(r"(?:(?<=^)|(?<=[.\s]))\(?\d{1,2}[.)]\s+(?=\D)")
_DECIMAL = re.compile(r"(?<=\d)\.(?=\d)")
_ANSWERED = re.compile(r"\?(?=\s*(?:no|none|yes)\b)")
_QUERIED = re.compile(r"(?:^|(?<=[.;:,] ))\?\s?(?=[^\W\d_])")
_ABBREVIATED = re.compile(r"\b(vs|dr|approx)\.(?=\s)")
_VALUE = r"(?::| [-\u2013\u2014])\s"
_NEXT_ITEM = re.compile(rf"({_VALUE}[^,.;:]*),(?=\s*[^\W\d_][\w /]{{0,40}}{_VALUE})")
"""What stands between a "finding: value" (or "finding - value") and the next one of a list."""
_RUN_ON_ITEM = re.compile(rf"({_VALUE}[^,.;:]*?\w)\s(?=[A-Z]\w*(?:[ /]\w+){{0,3}}{_VALUE})")
"""The same without a mark between the two: the next one begins with a capital."""
_SENTENCE = re.compile(r"(?<!\d)\.+|\.+(?!\d)|[!?;|\u2022]+")
_POINT = "\ue000"
_WORD = re.compile(rf"[^\W_]+(?:[{_POINT}'-][^\W_]+)*")
_COMMA = re.compile(r"[,:()\[\]]")


def sentences(text: str) -> list[str]:
    """Return the sentences of a report, lower case, words by single blanks, without punctuation;
    decimals (1.5) stay whole.

    White space of every kind, also U+2028 and U+0085, separates words; a line may end a sentence
    (`close_lines`), and so do semicolons and the items of a list of findings with their values.
    List numbers go; text of any script is kept.
    """
    cleaned = (" ".join(_WORD.findall(raw)).replace(_POINT, ".") for raw in _raw(text))
    return [sentence for sentence in cleaned if sentence]


def divided(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return the sentences of a report, each with the places of the blanks in it where a comma, a
    colon or a bracket stood."""
    pairs = [_divide(raw) for raw in _raw(text)]
    return [(sentence, commas) for sentence, commas in pairs if sentence]


def _divide(raw: str) -> tuple[str, tuple[int, ...]]:
    words: list[str] = []
    commas = []
    length = 0
    end = 0
    for match in _WORD.finditer(raw):
        if words and _COMMA.search(raw, end, match.start()):
            commas.append(length - 1)
        words.append(match[0])
        length += len(match[0]) + 1
        end = match.end()
    return " ".join(words).replace(_POINT, "."), tuple(commas)


def _raw(text: str) -> list[str]:
    """Return the sentences of a report in lower case as they are written, decimal points as one
    letter."""
    flat = _ENUMERATOR.sub(". ", " ".join(close_lines(text).split()))
    flat = _NEXT_ITEM.sub(r"\1.", _RUN_ON_ITEM.sub(r"\1. ", flat)).lower()
    flat = _ABBREVIATED.sub(r"\1", _ANSWERED.sub(" ", _QUERIED.sub("query ", flat)))
    return _SENTENCE.split(_DECIMAL.sub(_POINT, flat) + " ")
