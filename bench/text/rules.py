"""A rule-based labeler of the 14 CheXpert observations: mentions, then negation and doubt around
each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bench.text import mentions as words
from bench.text.observations import (
    DISEASES,
    NEGATIVE,
    NO_FINDING,
    OBSERVATIONS,
    POSITIVE,
    UNCERTAIN,
    UNMENTIONED,
)
from bench.text.sentences import sentences

_NEGATION = re.compile(rf"\b(?:{words.NEGATIONS})\b")
_PSEUDO = re.compile(rf"\b(?:{words.PSEUDO_NEGATIONS})\b")
_DOUBT = re.compile(rf"\b(?:{words.DOUBTS})\b")
_SOFT_DOUBT = re.compile(rf"\b{words.SOFT_DOUBTS}\b")
_END = re.compile(rf"\b(?:{words.ENDS})\b")
_NEGATED_AFTER = re.compile(rf"\b(?:{words.NEGATED_AFTER})\b")
_DOUBTED_AFTER = re.compile(rf"\b(?:{words.DOUBTED_AFTER})\b")
_NOT_EXCLUDED = re.compile(rf"\b{words.NOT_EXCLUDED}\b")
_VALUE_ABSENT = re.compile(words.VALUE_ABSENT)
_VALUE_DOUBTED = re.compile(words.VALUE_DOUBTED)
_OWN_STATUS = re.compile(words.OWN_STATUS)
_HEADED = re.compile(r" (?:no|not|without|negative|there (?:is|are) no)\b")
_BOUND = re.compile(r"\b(?:and|or|nor)\b")
_NEXT_STATEMENT = re.compile(rf" (?={words.SIZES}\b)(?!.*\b(?:or|nor)\b)")
_REACH_AFTER = 60
"""Characters behind a mention within which it may still be negated or doubted."""
_RANK = {POSITIVE: 3, UNCERTAIN: 2, NEGATIVE: 1}
_DISEASE = [OBSERVATIONS.index(name) for name in DISEASES]


def label_reports(texts: Sequence[str]) -> np.ndarray:
    """Return the observations of reports, int8 [n, 14] in the order of OBSERVATIONS: 1, 0, -1, or
    -2 where not mentioned.

    Over the sentences of a report, positive wins over uncertain over negative (CheXpert). No
    Finding is 1 where nothing but support devices is positive or uncertain.
    """
    return (
        np.stack([_label(text) for text in texts])
        if len(texts)
        else np.zeros((0, len(OBSERVATIONS)), np.int8)
    )


def _label(text: str) -> np.ndarray:
    statuses = np.full(len(OBSERVATIONS), UNMENTIONED, np.int8)
    for sentence in sentences(text):
        for observation, status in label_sentence(sentence):
            if (
                statuses[observation] == UNMENTIONED
                or _RANK[status] > _RANK[int(statuses[observation])]
            ):
                statuses[observation] = status
    if not np.isin(statuses[_DISEASE], (POSITIVE, UNCERTAIN)).any():
        statuses[OBSERVATIONS.index(NO_FINDING)] = POSITIVE
    return statuses


@lru_cache(maxsize=200_000)
def label_sentence(sentence: str) -> tuple[tuple[int, int], ...]:
    """Return (place in OBSERVATIONS, status) of everything a cleaned sentence mentions."""
    labels: list[tuple[int, int]] = []
    for name in words.MENTION_PATTERNS:
        statuses = {mention.status for mention in mentions_of(sentence, name)}
        labels += [
            (OBSERVATIONS.index(name), status)
            for status in sorted(whole_status(sentence, name, statuses))
        ]
    return tuple(labels)


@dataclass(frozen=True)
class Mention:
    """One mention of an observation in a cleaned sentence: `sentence[start:end]`, and what is said
    of it."""

    name: str
    start: int
    end: int
    status: int


def mentions_of(sentence: str, name: str) -> list[Mention]:
    """Return the mentions of one observation by its names, in order."""
    pattern = words.MENTION_PATTERNS[name]
    matches = _without_heading(list(pattern.finditer(sentence)), sentence)
    return [
        Mention(name, match.start(), match.end(), _status(sentence, match.start(), match.end()))
        for match in matches
    ]


def _without_heading(matches: list[re.Match[str]], sentence: str) -> list[re.Match[str]]:
    """Return the mentions but for one that only heads the statement about itself ("effusion: no
    large effusion")."""
    if len(matches) < 2 or matches[0].start():
        return matches
    return matches[1:] if _HEADED.match(sentence, matches[0].end()) else matches


def whole_status(sentence: str, name: str, own: set[int]) -> set[int]:
    """Return what a sentence says of an observation, also where it does so without its name:
    normal, or at the border."""
    if name in words.BORDERLINE_PATTERNS and words.BORDERLINE_PATTERNS[name].search(sentence):
        return {UNCERTAIN}
    if not own and name in words.NORMAL_PATTERNS and words.NORMAL_PATTERNS[name].search(sentence):
        return {NEGATIVE}
    return own


def _status(sentence: str, start: int, end: int) -> int:
    before = _reach_before(sentence[:start])
    after = _reach_after(sentence[end:])
    if _VALUE_ABSENT.match(after):
        return NEGATIVE
    cleared = _PSEUDO.sub(_blanks, f"{before} {sentence[start:end]}")
    negated = _last(_NEGATION, cleared)
    if negated <= len(before) - start + _next_statement(sentence, start, after):
        negated = 0
    doubted = _last(_DOUBT, _SOFT_DOUBT.sub(_blanks, before) if negated else before)
    if _DOUBTED_AFTER.match(after) or _VALUE_DOUBTED.match(after) or doubted > negated:
        return UNCERTAIN
    if negated or _NEGATED_AFTER.search(after):
        return NEGATIVE
    return UNCERTAIN if _is_not_excluded(after) else POSITIVE


def _last(cue: re.Pattern[str], text: str) -> int:
    """Return where the last of the cues ends: the nearest to a mention counts; 0 for none."""
    return max((match.end() for match in cue.finditer(text)), default=0)


def _blanks(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _is_not_excluded(after: str) -> bool:
    """Say whether what follows a mention leaves it open, and not the next mention."""
    cue = _NOT_EXCLUDED.search(after)
    if cue is None:
        return False
    between = after[: cue.start()]
    return bool(_BOUND.search(between)) or not _mentions_anything(between)


def _mentions_anything(text: str) -> bool:
    return any(pattern.search(text) for pattern in words.MENTION_PATTERNS.values())


def _next_statement(sentence: str, start: int, after: str) -> int:
    """Return where the last statement of its own behind another mention begins, up to `start`; 0
    where there is none.

    It begins with a size ("no pneumothorax small effusion"), or is the mention itself, where
    something is said of it ("no pneumothorax effusion unchanged").
    """
    begins = [
        match.end()
        for match in _NEXT_STATEMENT.finditer(sentence)
        if match.end() <= start and _mentions_anything(sentence[: match.start()])
    ]
    if _OWN_STATUS.match(after) and _ends_with_mention(sentence[:start].rstrip()):
        begins.append(start)
    return max(begins, default=0)


def _ends_with_mention(text: str) -> bool:
    return any(
        match.end() == len(text)
        for pattern in words.MENTION_PATTERNS.values()
        for match in pattern.finditer(text)
    )


def _reach_before(text: str) -> str:
    """Return the text before a mention back to where a cue's reach would have ended."""
    ends = [match.end() for match in _END.finditer(text)]
    # "there is no effusion": what follows the last end still counts, the end itself does not.
    return text[ends[-1] :] if ends else text


def _reach_after(text: str) -> str:
    stop = _END.search(text)
    return text[: stop.start() if stop else len(text)][:_REACH_AFTER].lstrip()
