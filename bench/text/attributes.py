"""How alike two studies are by what their reports name: findings first, then their adjectives and
sides (MedTrim, arXiv 2504.15929)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from bench.text import clauses, published
from bench.text.clauses import Said
from bench.text.entity import entities
from bench.text.observations import DISEASES

Findings = Mapping[str, Said]
"""What a study has: finding -> what is said of it. Nothing is *no finding*."""
WEIGHTS = (0.85, 0.10, 0.05)
"""How much findings, adjectives and sides count."""
ADJECTIVES = tuple(dict.fromkeys((*clauses.ADJECTIVES, *published.ADJECTIVES)))
SIDES = tuple(dict.fromkeys((*clauses.SIDES, *published.SIDES)))


@lru_cache(maxsize=1_000_000)
def findings(report: str) -> Findings:
    """Return the findings that a report does not deny, each with all adjectives and sides that it
    gives it."""
    named: dict[str, Said] = {}
    for entity in entities(report):
        if not entity.negated:
            said = Said(entity.adjectives, entity.sides)
            named[entity.label] = named.get(entity.label, Said()) | said
    return MappingProxyType(named)


READERS: Mapping[str, Callable[[str], Findings]] = {
    "ours": findings,
    "published": lru_cache(maxsize=1_000_000)(published.published_findings),
}
"""Who reads the findings of a report: `bench.text.entity`, or the published recogniser."""


@dataclass(frozen=True)
class Attributes:
    """What n studies have, in numbers: findings bool [n, D], and for each its adjectives
    bool [n, D, A] and sides bool [n, D, K]."""

    findings: np.ndarray
    adjectives: np.ndarray
    sides: np.ndarray

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def labels(self) -> np.ndarray:
        """Return the findings with *no finding* behind them, bool [n, D + 1]."""
        return np.column_stack([self.findings, ~self.findings.any(axis=1)])

    def take(self, rows: np.ndarray) -> Attributes:
        """Return those of some studies."""
        return Attributes(self.findings[rows], self.adjectives[rows], self.sides[rows])

    def packed(self) -> np.ndarray:
        """Return all in one array, bool [n, D, 1 + A + K]."""
        return np.concatenate([self.findings[:, :, None], self.adjectives, self.sides], axis=2)

    @classmethod
    def unpacked(cls, packed: np.ndarray) -> Attributes:
        """Return what `packed` gave for the words of this module."""
        cut = 1 + len(ADJECTIVES)
        return cls(packed[:, :, 0], packed[:, :, 1:cut], packed[:, :, cut:])


def encode(
    studies: Sequence[Findings],
    adjectives: Sequence[str] = ADJECTIVES,
    sides: Sequence[str] = SIDES,
) -> Attributes:
    """Return the attributes of studies; every adjective and side must be among the words given."""
    number_of = {word: number for number, word in enumerate(adjectives)}
    number_of_side = {word: number for number, word in enumerate(sides)}
    shape = (len(studies), len(DISEASES))
    attributes = Attributes(
        np.zeros(shape, bool),
        np.zeros((*shape, len(adjectives)), bool),
        np.zeros((*shape, len(sides)), bool),
    )
    for row, study in enumerate(studies):
        for label, said in study.items():
            column = DISEASES.index(label)
            attributes.findings[row, column] = True
            attributes.adjectives[row, column, [number_of[word] for word in said.adjectives]] = True
            attributes.sides[row, column, [number_of_side[word] for word in said.sides]] = True
    return attributes


def attribute_similarity(
    anchors: Attributes,
    references: Attributes,
    weights: tuple[float, float, float] = WEIGHTS,
) -> np.ndarray:
    """Return how alike each anchor and each reference are, float64 [a, r] in 0..1.

    S(a, r) = w0 |A & R| / |A | R| + w1 / |A| sum over d in A & R of IoU(adjectives of d) +
    w2 / |A| (the same of sides). A and R are label sets, *no finding* a label; the last two terms
    count findings alone and are 0 for an anchor without one; two empty sets are the same. S is not
    symmetric. (MedTrim, arXiv 2504.15929.)
    """
    both = _shared(anchors.labels, references.labels)
    either = anchors.labels.sum(1)[:, None] + references.labels.sum(1)[None] - both
    similarity = weights[0] * both / either
    count = np.maximum(anchors.findings.sum(1), 1)[:, None]
    for column in range(anchors.findings.shape[1]):
        rows = np.flatnonzero(anchors.findings[:, column])
        columns = np.flatnonzero(references.findings[:, column])
        if not len(rows) or not len(columns):
            continue
        adjectives = _overlap(
            anchors.adjectives[rows, column], references.adjectives[columns, column]
        )
        sides = _overlap(anchors.sides[rows, column], references.sides[columns, column])
        block = np.ix_(rows, columns)
        similarity[block] += (weights[1] * adjectives + weights[2] * sides) / count[rows]
    return similarity


def _shared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one.astype(float) @ other.T.astype(float)


def _overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the intersection over union of sets bool [a, k] and [r, k]; 1 for two empty ones."""
    both = _shared(one, other)
    either = one.sum(1)[:, None] + other.sum(1)[None] - both
    return np.divide(both, either, out=np.ones_like(both), where=either > 0)
