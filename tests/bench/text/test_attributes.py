"""The similarity of studies by findings, adjectives and sides: against the published code's numbers
and a set-by-set reference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.text.attributes import (
    ADJECTIVES,
    READERS,
    SIDES,
    WEIGHTS,
    Attributes,
    attribute_similarity,
    encode,
    findings,
)
from bench.text.clauses import Said
from bench.text.observations import DISEASES
from tests.support.medtrim import study_of

PARITY = json.loads(
    (Path(__file__).parents[2] / "parity" / "medtrim" / "similarity.json").read_text()
)


def iou(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


def reference(anchor: Mapping[str, Said], other: Mapping[str, Said]) -> float:
    """Return S as it is written."""
    a, r = (set(study) or {"No Finding"} for study in (anchor, other))
    total = 0.85 * len(a & r) / len(a | r)
    for label in set(anchor) & set(other):
        total += 0.10 * iou(anchor[label].adjectives, other[label].adjectives) / len(anchor)
        total += 0.05 * iou(anchor[label].sides, other[label].sides) / len(anchor)
    return total


def test_similarity_equals_the_published_code() -> None:
    studies = [study_of(entries) for entries in PARITY["studies"]]
    words = {kind: set[str]() for kind in ("adjectives", "sides")}
    for said in (said for study in studies for said in study.values()):
        words["adjectives"] |= said.adjectives
        words["sides"] |= said.sides
    attributes = encode(studies, sorted(words["adjectives"]), sorted(words["sides"]))
    similarity = attribute_similarity(attributes, attributes, tuple(PARITY["weights"]))
    np.testing.assert_allclose(similarity, PARITY["S"], rtol=1e-9, atol=1e-12)


SAID = st.builds(
    Said,
    st.frozensets(st.sampled_from(ADJECTIVES[:4])),
    st.frozensets(st.sampled_from(SIDES[:3])),
)
STUDIES = st.lists(st.dictionaries(st.sampled_from(DISEASES[:4]), SAID), min_size=1, max_size=6)


@given(STUDIES, STUDIES)
@settings(deadline=None)
def test_similarity_equals_sets_compared_one_by_one(
    anchors: list[dict[str, Said]], others: list[dict[str, Said]]
) -> None:
    similarity = attribute_similarity(encode(anchors), encode(others))
    expected = [[reference(anchor, other) for other in others] for anchor in anchors]
    np.testing.assert_allclose(similarity, expected, rtol=1e-12)


def test_two_normal_studies_are_alike_in_their_label_alone() -> None:
    normal, ill = encode([findings("")]), encode([findings("Small left effusion.")])
    assert attribute_similarity(normal, normal) == WEIGHTS[0]
    assert attribute_similarity(ill, ill) == pytest.approx(1)
    assert attribute_similarity(normal, ill) == attribute_similarity(ill, normal) == 0


def test_similarity_is_that_of_the_anchor() -> None:
    both, one = (encode([findings(text)]) for text in ("Effusion. Nodule.", "Effusion."))
    assert attribute_similarity(both, one) == pytest.approx(0.425 + 0.075)
    assert attribute_similarity(one, both) == pytest.approx(0.425 + 0.15)


def test_findings_are_those_that_are_not_denied_with_all_that_is_said_of_them() -> None:
    read = findings("Small left effusion. Layering effusion. No pneumothorax. Possible nodule.")
    assert set(read) == {"Pleural Effusion", "Lung Lesion"}
    assert read["Pleural Effusion"] == Said(frozenset(("small", "layering")), frozenset(("left",)))


def test_a_report_without_a_sentence_is_no_finding() -> None:
    for read in READERS.values():
        assert encode([read("")]).labels.tolist() == [[False] * len(DISEASES) + [True]]


def test_attributes_survive_being_packed() -> None:
    attributes = encode([findings("Small left effusion."), findings(""), findings("Hazy opacity.")])
    unpacked = Attributes.unpacked(attributes.packed())
    for name in ("findings", "adjectives", "sides"):
        np.testing.assert_array_equal(getattr(attributes, name), getattr(unpacked, name))
    assert len(unpacked.take(np.array([2]))) == 1


@pytest.mark.parametrize("reader", READERS)
def test_every_word_that_a_reader_gives_has_a_number(reader: str) -> None:
    texts = ["mild to moderate left basilar opacity seen .", "Diffuse patchy edema bilaterally."]
    assert encode([READERS[reader](text) for text in texts]).findings.any(axis=1).all()
