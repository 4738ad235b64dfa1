"""What a report says of each finding: that it is there or not, on which side, in which form."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from bench.text import mentions as words
from bench.text.clauses import Said, attributes_of, says_only_attributes
from bench.text.observations import DEVICES, NEGATIVE, OBSERVATIONS, UNCERTAIN
from bench.text.rules import Mention, mentions_of, whole_status
from bench.text.sentences import divided


@dataclass(frozen=True)
class Entity:
    """One finding that a report names.

    `label`: one of the 12 abnormal observations; `sentence`: the place of its sentence among those
    of `bench.text.sentences.sentences` (the sentence of a `Region` is counted otherwise, by
    `split_sentences`); `negated`, `uncertain`: what is said of it (neither: it is there);
    `adjectives` and `sides`: those of its own clause, each by the word that stands for it in
    words/attributes.toml.
    """

    label: str
    sentence: int
    negated: bool
    uncertain: bool
    adjectives: frozenset[str]
    sides: frozenset[str]


def entities(report: str) -> tuple[Entity, ...]:
    """Return what a report says of its findings, in the order of the text.

    A report that names none, or has no word, gives (). Support Devices and No Finding are no
    findings.
    """
    return tuple(
        Entity(
            mention.name,
            number,
            mention.status == NEGATIVE,
            mention.status == UNCERTAIN,
            said.adjectives,
            said.sides,
        )
        for number, (sentence, commas) in enumerate(divided(report))
        for mention, said in _read(sentence, commas)
    )


@lru_cache(maxsize=200_000)
def _read(sentence: str, commas: tuple[int, ...]) -> tuple[tuple[Mention, Said], ...]:
    """Return the findings of a cleaned sentence and what is said of each; every distinct sentence
    is read once."""
    mentions = sorted(
        itertools.chain.from_iterable(_mentions(sentence, name) for name in words.MENTION_PATTERNS),
        key=lambda mention: (mention.start, mention.end, OBSERVATIONS.index(mention.name)),
    )
    said = attributes_of(sentence, commas, mentions)
    pairs = zip(mentions, said, strict=True)
    return tuple(_without_repeats([pair for pair in pairs if pair[0].name != DEVICES]))


def _mentions(sentence: str, name: str) -> list[Mention]:
    """Return the mentions of an observation, also one that a sentence makes without its name."""
    mentions = _joined(mentions_of(sentence, name), sentence)
    stated = {mention.status for mention in mentions}
    whole = whole_status(sentence, name, stated)
    if whole == stated:
        return mentions
    (status,) = whole
    spans = [(mention.start, mention.end) for mention in mentions] or [_unnamed(sentence, name)]
    return [Mention(name, start, end, status) for start, end in spans]


def _joined(mentions: Sequence[Mention], sentence: str) -> list[Mention]:
    """Return the mentions, one for two names that make one with the words between them: "hazy left
    opacity"."""
    joined: list[Mention] = []
    for mention in mentions:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.status == mention.status
            and says_only_attributes(sentence[last.end : mention.start])
        ):
            joined[-1] = replace(last, end=mention.end)
        else:
            joined.append(mention)
    return joined


def _unnamed(sentence: str, name: str) -> tuple[int, int]:
    """Return where a sentence says of an observation that it is absent or at the border."""
    for patterns in (words.BORDERLINE_PATTERNS, words.NORMAL_PATTERNS):
        match = patterns[name].search(sentence) if name in patterns else None
        if match:
            return match.span()
    raise AssertionError(f"{name} is not spoken of in: {sentence}")  # whole_status has seen it


def _without_repeats(pairs: Sequence[tuple[Mention, Said]]) -> list[tuple[Mention, Said]]:
    """Return the pairs without those that say the same of the same observation again."""
    different = {(mention.name, mention.status, said): mention for mention, said in reversed(pairs)}
    ordered = sorted(different.items(), key=lambda item: (item[1].start, item[1].end))
    return [(mention, said) for (_, _, said), mention in ordered]
