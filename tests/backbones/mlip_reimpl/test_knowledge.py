"""Every term that a report may name has a definition; those of a user are checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backbones.mlip_reimpl.knowledge import (
    PLACES,
    TERMS,
    read_definitions,
    require_definitions,
    terms_named,
)
from bench.core.errors import PlaceBenchError, SettingError
from bench.text import definitions
from bench.text.clauses import SIDES
from bench.text.observations import DISEASES


def test_every_finding_and_every_place_of_one_has_a_definition() -> None:
    assert set(PLACES) == set(SIDES)
    assert set(DISEASES) <= set(TERMS) and len(set(TERMS)) == len(TERMS)
    for term in TERMS:
        assert definitions[term].endswith("."), term


def test_an_entity_without_a_definition_is_an_error_that_names_it() -> None:
    without = {term: text for term, text in definitions.items() if term != "Edema"}
    with pytest.raises(SettingError, match="no definition of Edema"):
        require_definitions(without)


@pytest.mark.parametrize(
    ("report", "named"),
    [
        ("Small left pleural effusion.", {"Pleural Effusion", "left lung"}),
        ("No pneumothorax.", {"Pneumothorax"}),
        (
            "Bilateral basal atelectasis.",
            {"Atelectasis", "left lung", "right lung", "lung base"},
        ),
        ("The lungs are clear.", set()),
        ("", set()),
    ],
)
def test_a_report_names_its_findings_and_their_places(report: str, named: set[str]) -> None:
    assert terms_named(report) == named


def test_the_sentences_of_a_user_replace_ours(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"Edema": "Water.", "aorta": "A vessel."}))
    sentences = read_definitions(path)
    assert sentences["Edema"] == "Water." and tuple(sentences) == TERMS
    assert sentences["Fracture"] == definitions["Fracture"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"Oedema": "Water.", "Gout": "Pain.", "Edema": "Water."}',
            "'Oedema' and 'Gout', which are",
        ),
        ('{"edema": "Water."}', "'edema', which is no finding"),
        ('{"Edema": " "}', "definition of 'Edema' is ' '"),
        ('{"Edema": 3}', "definition of 'Edema' is 3"),
        ("[1]", "an object was expected"),
        ("{", "damaged"),
    ],
)
def test_definitions_that_cannot_be_used_are_named(
    content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(PlaceBenchError, match=message) as caught:
        read_definitions(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"none\.json: there is no such file"):
        read_definitions(tmp_path / "none.json")
