"""From a report to the words that are generated and scored: one named cleaning per source,
sentences ending in " ."."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tasks.datasets._lines import close_lines

STOP = "."
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


def sentences(text: str) -> list[str]:
    """Return the sentences of a report, lower case, words by single blanks, without punctuation;
    decimals (1.5) stay whole.

    White space of every kind, also U+2028 and U+0085, separates words; a line may end a sentence
    (`close_lines`), and so do semicolons and the items of a list of findings with their values.
    List numbers go; text of any script is kept.
    """
    flat = _ENUMERATOR.sub(". ", " ".join(close_lines(text).split()))
    flat = _NEXT_ITEM.sub(r"\1.", _RUN_ON_ITEM.sub(r"\1. ", flat)).lower()
    flat = _ABBREVIATED.sub(r"\1", _ANSWERED.sub(" ", _QUERIED.sub("query ", flat)))
    parts = _SENTENCE.split(_DECIMAL.sub(_POINT, flat) + " ")
    cleaned = [
        " ".join(_WORD.findall(sentence_text)).replace(_POINT, ".") for sentence_text in parts
    ]
    return [sentence for sentence in cleaned if sentence]


def clean_plain(text: str) -> str:
    """Return all sentences joined by " . ", with a full stop at the end; "" for a text without a
    word."""
    cleaned = sentences(text)
    return f" {STOP} ".join(cleaned) + f" {STOP}" if cleaned else ""


_R2GEN_MARKS = re.compile(
    r"[.,?;*!%^&_+():-\[\]{}\"/\\\\']"
)  # ":-[" is a range, as in the reference: hyphens stay


def clean_r2gen(text: str, repeated: str = ".") -> str:
    """Return text as R2Gen's tokenizer cleans it: lower case, list numbers out, " . " between
    sentences.

    Marks are deleted, not replaced: "1.5" becomes "15". `repeated` characters are first reduced to
    one.
    """
    flat = re.sub(f"([{repeated}])\\1+", r"\1", " ".join(text.split()))
    parts = re.sub(r"(^|[. ])[1-5]\. ", r"\1", flat).lower().split(". ")
    cleaned = [" ".join(_R2GEN_MARKS.sub("", sentence).split()) for sentence in parts]
    return (
        f" {STOP} ".join(sentence for sentence in cleaned if sentence) + f" {STOP}"
        if any(cleaned)
        else ""
    )


def clean_mimic(text: str) -> str:
    """Return a MIMIC-CXR report as R2Gen cleans it: marks of de-identification (`___`) go as
    well."""
    return clean_r2gen(text, repeated="._")


CLEANINGS: Mapping[str, Callable[[str], str]] = {
    "plain": clean_plain,
    "iu": clean_r2gen,
    "mimic": clean_mimic,
}


def clean(text: object, how: str) -> str:
    """Return `text` cleaned; what is no text (a missing value) is ""."""
    return CLEANINGS[how](text) if isinstance(text, str) else ""


def split_sentences(cleaned: str) -> list[str]:
    """Return the sentences of cleaned text."""
    return [
        stripped for sentence in f" {cleaned} ".split(f" {STOP} ") if (stripped := sentence.strip())
    ]
