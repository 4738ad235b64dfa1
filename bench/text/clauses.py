"""Which finding of a sentence a side or an adjective belongs to.

A sentence is cut where a statement ends: at commas and at the words of words/clauses.toml. What is
said within a statement belongs to its finding. Where it has several, a word belongs to the one it
stands before, or, behind a preposition, to the one before it. A statement without a finding speaks
of the one before ("effusion, small") or, at the beginning, of the one that follows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.text.observations import DEVICES
from bench.text.rules import Mention
from bench.text.words import read_words

LATERAL = frozenset(("left", "right", "bilateral"))
"""Sides of the body; the others are places within a lung."""
_ATTRIBUTES = read_words("attributes.toml")
SIDES: tuple[str, ...] = tuple(_ATTRIBUTES["sides"])
ADJECTIVES: tuple[str, ...] = tuple(
    name for group in _ATTRIBUTES["adjectives"].values() for name in group
)
_CLAUSES = read_words("clauses.toml")
_WITHOUT_SIDE = ("Cardiomegaly", "Enlarged Cardiomediastinum", "Edema", DEVICES)
"""Findings that have no side because another one in the same breath has one."""


def _any_of(forms: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)")


_SIDE_PATTERNS = {name: _any_of(forms) for name, forms in _ATTRIBUTES["sides"].items()}
_ADJECTIVE_PATTERNS = {
    name: _any_of(forms)
    for group in _ATTRIBUTES["adjectives"].values()
    for name, forms in group.items()
}
_NOT_SIDES = _any_of(_ATTRIBUTES["not_sides"]["forms"])
_CUTS = {kind: _any_of(_CLAUSES[kind]) for kind in ("same", "beside", "new", "and", "on")}
_OF = _any_of(_CLAUSES["of"])
_ELSEWHERE = _any_of(_CLAUSES["elsewhere"])
_JOINED = re.compile(r"\b(?:and|or|nor|plus)\b")
_STRONGEST = ("same", "beside", "new", "and", "on", "comma")
"""Of several cuts in one place the first of these counts."""


@dataclass(frozen=True)
class Said:
    """What is said of one finding."""

    adjectives: frozenset[str] = frozenset()
    sides: frozenset[str] = frozenset()

    def __or__(self, other: Said) -> Said:
        return Said(self.adjectives | other.adjectives, self.sides | other.sides)


@dataclass(frozen=True)
class _Word:
    """A side or adjective in its place."""

    start: int
    end: int
    said: Said


@dataclass
class _Statement:
    """A piece of a sentence between two cuts, the places of its findings and its attributes."""

    start: int
    end: int
    cut: str
    heads: list[int] = field(default_factory=list)
    words: list[_Word] = field(default_factory=list)

    @property
    def said(self) -> Said:
        """Return all its attributes together."""
        return _together(word.said for word in self.words)


def attributes_of(
    sentence: str, commas: Sequence[int], mentions: Sequence[Mention]
) -> tuple[Said, ...]:
    """Return what a cleaned sentence says of each of its `mentions` (in order of their start);
    `commas` are the places of its commas."""
    if not mentions:
        return ()
    statements = _statements(sentence, commas, mentions)
    said = [Said() for _ in mentions]
    for statement in statements:
        for word in statement.words if statement.heads else ():
            head = _head_of(word, statement, sentence, mentions)
            said[head] |= word.said
        _share(statement, sentence, mentions, said)
    _give_away(statements, sentence, mentions, said)
    _equate(statements, said)
    return tuple(said)


def _together(parts: Iterable[Said]) -> Said:
    whole = Said()
    for part in parts:
        whole |= part
    return whole


# --------------------------------------------------------------------------------------- statements
def _statements(
    sentence: str, commas: Sequence[int], mentions: Sequence[Mention]
) -> list[_Statement]:
    """Return the statements of a sentence; a cut inside a mention does not count."""
    cuts = [(place, place, "comma") for place in commas]
    for kind, pattern in _CUTS.items():
        cuts += [(*match.span(), kind) for match in pattern.finditer(sentence)]
    inside = [range(mention.start + 1, mention.end) for mention in mentions]
    cuts = [cut for cut in cuts if not any(cut[0] in span for span in inside)]
    statements = [_Statement(0, len(sentence), "new")]
    for start, end, kind in sorted(cuts, key=lambda cut: (cut[0], -cut[1])):
        last = statements[-1]
        if sentence[last.start : start].strip():
            last.end = start
            statements.append(_Statement(end, len(sentence), kind))
        else:  # nothing between two cuts: they are one
            last.start = max(last.start, end)
            last.cut = (
                min(last.cut, kind, key=_STRONGEST.index) if last is not statements[0] else kind
            )
    _fill(statements, sentence, mentions)
    return statements


def _fill(statements: list[_Statement], sentence: str, mentions: Sequence[Mention]) -> None:
    for place, mention in enumerate(mentions):
        _around(statements, mention.start).heads.append(place)
    for word in _words(sentence):
        _around(statements, word.start).words.append(word)


def _around(statements: list[_Statement], place: int) -> _Statement:
    return next(
        each for each in reversed(statements) if each.start <= place or each is statements[0]
    )


def _words(sentence: str) -> list[_Word]:
    """Return the sides and adjectives of a sentence in order."""
    placed = _NOT_SIDES.sub(lambda match: " " * len(match[0]), sentence)
    words = [
        _Word(*match.span(), Said(sides=frozenset((name,))))
        for name, pattern in _SIDE_PATTERNS.items()
        for match in pattern.finditer(placed)
    ]
    words += [
        _Word(*match.span(), Said(adjectives=frozenset((name,))))
        for name, pattern in _ADJECTIVE_PATTERNS.items()
        for match in pattern.finditer(sentence)
    ]
    return sorted(words, key=lambda word: (word.start, word.end))


def places_in(text: str) -> frozenset[str]:
    """Return the sides and places that a piece of text in lower case names."""
    return _together(word.said for word in _words(text)).sides


def says_only_attributes(text: str) -> bool:
    """Say whether a piece of a cleaned sentence holds nothing but sides and adjectives."""
    rest = text
    for pattern in (*_SIDE_PATTERNS.values(), *_ADJECTIVE_PATTERNS.values()):
        rest = pattern.sub(" ", rest)
    return not rest.strip()


# --------------------------------------------------------------------------------- one statement
def _head_of(word: _Word, statement: _Statement, sentence: str, mentions: Sequence[Mention]) -> int:
    """Return the place of the mention that a word of the same statement belongs to."""
    inside = [h for h in statement.heads if mentions[h].start <= word.start < mentions[h].end]
    if inside:
        return inside[-1]
    before = [head for head in statement.heads if mentions[head].end <= word.start]
    after = [head for head in statement.heads if mentions[head].start > word.start]
    if not before or not after:
        return (after or before[-1:])[0]
    between = sentence[mentions[before[-1]].end : mentions[after[0]].start]
    offset = word.start - mentions[before[-1]].end
    joints = [match.start() for match in _JOINED.finditer(between)]
    if joints:
        return before[-1] if offset < joints[-1] else after[0]
    return before[-1] if _OF.search(between[:offset]) else after[0]


def _share(
    statement: _Statement, sentence: str, mentions: Sequence[Mention], said: list[Said]
) -> None:
    """Give the side of one finding to those it is joined with and of which none is said: "left
    effusion and atelectasis", "effusion and atelectasis on the left"."""
    joined = [
        (one, other)
        for one, other in itertools.pairwise(statement.heads)
        if _go_together(mentions[one], mentions[other], sentence)
    ]
    for one, other in joined:
        _lend(said, one, other, mentions[other].name)
    for one, other in reversed(joined):
        if _OF.search(sentence[mentions[other].end : statement.end]):
            _lend(said, other, one, mentions[one].name)


def _go_together(one: Mention, other: Mention, sentence: str) -> bool:
    """Say whether two mentions of one status are joined by a word between them."""
    joined = _JOINED.search(sentence, one.end, other.start)
    return joined is not None and one.status == other.status


def _lend(said: list[Said], lender: int, taker: int, name: str) -> None:
    if name not in _WITHOUT_SIDE and not said[taker].sides:
        said[taker] |= Said(sides=said[lender].sides & LATERAL)


# ------------------------------------------------------------------------------ between statements
def _give_away(
    statements: Sequence[_Statement],
    sentence: str,
    mentions: Sequence[Mention],
    said: list[Said],
) -> None:
    """Give what statements without a finding say to the finding they speak of."""
    for number, statement in enumerate(statements):
        if statement.heads or not statement.words:
            continue
        if _ELSEWHERE.search(sentence, statement.start, statement.end):
            continue
        for head in _spoken_of(statements, number):
            goes_on = statement.cut == "and" and statements[number - 1].heads[-1:] == [head]
            said[head] |= statement.said if goes_on else _missing(said[head], statement.said)


def _spoken_of(statements: Sequence[_Statement], number: int) -> list[int]:
    """Return the findings that a statement without one speaks of."""
    after = next((each for each in statements[number + 1 :] if each.heads), None)
    before = next((each for each in reversed(statements[:number]) if each.heads), None)
    cut = statements[number].cut
    leads_on = cut == "and" and number + 1 < len(statements) and statements[number + 1].cut == "new"
    if after is not None and (before is None or cut == "new" or leads_on):
        return after.heads
    if before is None or cut in ("beside", "new"):
        return []
    return before.heads[-1:]


def _missing(said: Said, more: Said) -> Said:
    """Return what `more` adds; a side only where none of its sort is there."""
    lateral = more.sides & LATERAL if not said.sides & LATERAL else frozenset()
    within = more.sides - LATERAL if not said.sides - LATERAL else frozenset()
    return Said(more.adjectives, lateral | within)


def _equate(statements: Sequence[_Statement], said: list[Said]) -> None:
    """Give findings that are said to be the same thing the place of each other."""
    with_heads = [statement for statement in statements if statement.heads]
    for one, other in itertools.pairwise(with_heads):
        if other.cut != "same":
            continue
        for head in other.heads:
            said[head] |= Said(sides=_missing(said[head], said[one.heads[-1]]).sides)
        said[one.heads[-1]] |= Said(sides=_missing(said[one.heads[-1]], said[other.heads[0]]).sides)
