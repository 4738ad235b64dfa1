"""The recogniser of entities that MedTrim's published code has (icon-lab/MedTrim 28d08ff, MIT),
re-implemented with its defects from a description, on lists of our own.

It looks for plain words in a clause: no negation unless asked, capitals hide a word, so does the
end of a clause without a blank, what was taken for an adjective is gone before diseases are looked
for, and every adjective of a clause belongs to all its diseases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bench.text.clauses import Said
from bench.text.words import read_words

_LISTS = read_words("published.toml")
ADJECTIVES: tuple[str, ...] = tuple(_LISTS["words"]["adjectives"])
SIDES: tuple[str, ...] = tuple(_LISTS["words"]["sides"])
_NEGATIONS: tuple[str, ...] = tuple(_LISTS["words"]["negations"])
_LABEL_OF: Mapping[str, str] = {
    form: label for label, forms in _LISTS["diseases"].items() for form in forms
}
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_CLAUSE = re.compile(r"\bbut\b|\bwith\b|\b, which\b")
_REST = re.compile(r" (?:without|rather than) .*", re.DOTALL)
_NO_LETTER = re.compile(r"[^a-zA-Z]")


def published_findings(report: str, *, negation: bool = False) -> dict[str, Said]:
    """Return the findings that the published recogniser sees, with all adjectives and sides of
    their clauses.

    With `negation` a clause that holds a negation word gives nothing; the shipped script does not
    look at these.
    """
    findings: dict[str, Said] = {}
    for sentence in _SENTENCE.split(report):
        for raw in _CLAUSE.split(sentence):
            clause = " " + _NO_LETTER.sub(" ", _REST.sub("", raw))
            if negation and any(f" {word} " in clause for word in _NEGATIONS):
                continue
            adjectives, clause = _take(clause, ADJECTIVES)
            sides, clause = _take(clause, SIDES)
            forms, _ = _take(clause, tuple(_LABEL_OF))
            for form in sorted(forms):
                label = _LABEL_OF[form]
                findings[label] = findings.get(label, Said()) | Said(adjectives, sides)
    return findings


def _take(clause: str, words: Sequence[str]) -> tuple[frozenset[str], str]:
    """Return which of `words` stand between blanks in a clause, and the clause without them."""
    taken = set()
    for word in sorted(words, key=len, reverse=True):
        if f" {word} " in clause:
            taken.add(word)
            clause = clause.replace(word, "")
    return frozenset(taken), clause
