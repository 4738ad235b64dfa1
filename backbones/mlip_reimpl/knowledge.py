"""What a report's findings and places mean, in sentences, for a method that learns from them.
Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from bench.core.cards import read_json_object
from bench.core.errors import SettingError, in_words
from bench.core.registry import suggest
from bench.text import definitions, entities
from bench.text.observations import DISEASES

_EXAMPLE = 'Write one plain sentence for it, such as {"Cardiomegaly": "The heart is enlarged."}.'
PLACES: Mapping[str, tuple[str, ...]] = {
    "left": ("left lung",),
    "right": ("right lung",),
    "bilateral": ("left lung", "right lung"),
    "upper": ("upper lobe",),
    "middle": ("middle lobe",),
    "lower": ("lower lobe",),
    "base": ("lung base",),
    "apex": ("lung apex",),
    "diffuse": (),
}
"""Side or place of a finding (words/attributes.toml) -> the terms whose definitions it has."""
TERMS = (*DISEASES, *dict.fromkeys(term for terms in PLACES.values() for term in terms))
"""What reports are read for, in the order of the vectors: findings, then places."""


def require_definitions(sentences: Mapping[str, str], terms: Collection[str] = TERMS) -> None:
    """Raise SettingError naming every term that has no definition."""
    without = [term for term in terms if not sentences.get(term)]
    if without:
        raise SettingError(f"there is no definition of {in_words(without)}.", _EXAMPLE)


require_definitions(definitions)


def read_definitions(path: Path | None) -> dict[str, str]:
    """Return the sentence of every term; those of a JSON object in `path` replace ours.

    Raise SettingError or CheckpointError where the file is not there, is no JSON object, names a
    term that is none, or says nothing of one.
    """
    sentences = {term: definitions[term] for term in TERMS}
    if path is None:
        return sentences
    if not path.is_file():
        raise SettingError(f"definitions={path}: there is no such file.", _EXAMPLE)
    given = read_json_object(path, _EXAMPLE)
    unknown = [term for term in given if term not in definitions]
    if unknown:
        raise SettingError(
            f"{path} defines {in_words([repr(term) for term in unknown])}, which "
            f"{'is' if len(unknown) == 1 else 'are'} no finding or anatomical term of bench.text.",
            suggest(unknown[0], definitions),
        )
    for term, sentence in given.items():
        if not (isinstance(sentence, str) and sentence.strip()):
            raise SettingError(
                f"{path}: the definition of '{term}' is {sentence!r}, a sentence was expected.",
                _EXAMPLE,
            )
    return {term: given.get(term, sentence) for term, sentence in sentences.items()}


def terms_named(report: str) -> frozenset[str]:
    """Return the terms of all findings that a report speaks of, denied ones too, and of where they
    are."""
    named: set[str] = set()
    for entity in entities(report):
        named.add(entity.label)
        named.update(term for side in entity.sides for term in PLACES[side])
    return frozenset(named)
