"""The published recogniser of MedTrim: what it reads, and each of its defects beside ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.text.attributes import READERS
from bench.text.published import published_findings
from tests.support.medtrim import study_of

PARITY = json.loads(
    (Path(__file__).parents[2] / "parity" / "medtrim" / "entities.json").read_text()
)


@pytest.mark.parametrize("row", range(len(PARITY["texts"])))
def test_it_reads_what_the_published_code_reads(row: int) -> None:
    text = PARITY["texts"][row]
    assert published_findings(text) == study_of(PARITY["as_shipped"][row])
    negated = published_findings(text, negation=True)
    assert negated == study_of(PARITY["with_negation_words"][row])


def both(text: str) -> tuple[set[str], set[str]]:
    """Return the findings of a text as ours and as the published recogniser read them."""
    return set(READERS["ours"](text)), set(READERS["published"](text))


@pytest.mark.parametrize(
    ("text", "ours", "published"),
    [
        ("There is no pneumothorax.", set(), {"Pneumothorax"}),
        ("SMALL PNEUMOTHORAX.", {"Pneumothorax"}, set()),
        ("Small pneumothorax without tension.", {"Pneumothorax"}, set()),
        ("There is an enlarged heart.", {"Cardiomegaly"}, set()),
    ],
)
def test_its_defects_are_not_ours(text: str, ours: set[str], published: set[str]) -> None:
    assert both(text) == (ours, published)


def test_every_adjective_of_a_clause_goes_to_all_its_findings_there() -> None:
    text = "there is mild edema and large effusion."
    adjectives = frozenset(("mild", "large"))
    assert {said.adjectives for said in READERS["published"](text).values()} == {adjectives}
    ours = READERS["ours"](text)
    assert ours["Edema"].adjectives == {"mild"}
    assert ours["Pleural Effusion"].adjectives == {"large"}
