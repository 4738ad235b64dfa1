"""From a report to the words that are generated and scored: one named cleaning per source,
sentences ending in " ."."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from bench.text.sentences import sentences

STOP = "."


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
