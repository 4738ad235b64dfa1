"""Entities of reports: the demo's reports against what they were written from, and the traps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.text import Entity, definitions, entities
from bench.text.clauses import ADJECTIVES, LATERAL, SIDES
from bench.text.observations import DISEASES, OBSERVATIONS
from bench.text.rules import label_sentence
from bench.text.sentences import divided, sentences
from tasks.datasets.demos.mimic_cxr import drawn
from tasks.demo.reports import phrases
from tests.bench.text.cases import FLAT

REPORTS = [drawn(2025, number) for number in range(400)]
SPOKEN = {
    "pneumothorax": "Pneumothorax",
    "effusion": "Pleural Effusion",
    "atelectasis": "Atelectasis",
    "nodule": "Lung Lesion",
    "fracture": "Fracture",
}
"""Findings of the demo with a side that its reports always call by name."""


def stated(report: str) -> dict[str, bool]:
    """Return finding -> is it there (or in doubt), as a report says it in all its sentences."""
    values: dict[str, bool] = {}
    for entity in entities(report):
        values[entity.label] = values.get(entity.label, False) or not entity.negated
    return values


def test_labels_and_negation_of_the_demo_are_read() -> None:
    hits = misses = extra = 0
    for _, report in REPORTS:
        got = set(stated(f"{report.findings}\n{report.impression}").items())
        wanted = {(label, bool(v)) for label, v in report.labels.items() if label in DISEASES}
        hits += len(got & wanted)
        misses += len(wanted - got)
        extra += len(got - wanted)
    assert hits > 1500
    assert 2 * hits / (2 * hits + misses + extra) >= 0.95


def test_sides_of_the_demo_are_read() -> None:
    right = []
    for study, report in REPORTS:
        read = entities(f"{report.findings}\n{report.impression}")
        for name, label in SPOKEN.items():
            truth = {finding.side for finding in study.named(name)}
            named = [
                entity.sides for entity in read if entity.label == label and not entity.negated
            ]
            if truth:
                right.append(truth == frozenset().union(*named) & LATERAL)
    assert len(right) > 200
    assert np.mean(right) >= 0.95


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_phrase_of_the_demo_gives_its_side_to_all_its_findings(side: str) -> None:
    fill = {"side": side, "lobe": "upper", "where": "apical", "size": "small", "degree": "mild",
    "dense": "dense", "mm": 9, "cm": 2, "rib": "sixth", "portion": "lateral", "zone": "apex",
    "displaced": "mildly"}  # fmt: skip
    for texts in (phrases.PRESENT, phrases.UNCERTAIN):
        for text, labels in itertools.chain.from_iterable(texts.values()):
            if "{side}" not in text or "Support Devices" in labels:
                continue
            written = text.replace("{degree}ly", "{displaced}").format(**fill)
            sides = [entity.sides & LATERAL for entity in entities(written)]
            assert sides and set(sides) == {frozenset((side,))}, written


def only(report: str) -> Entity:
    (entity,) = entities(report)
    return entity


def words(report: str) -> dict[str, tuple[set[str], set[str]]]:
    """Return finding -> adjectives and sides."""
    return {e.label: (set(e.adjectives), set(e.sides)) for e in entities(report)}


# -------------------------------------------------------------------------------------------- traps
def test_a_negation_denies_the_finding() -> None:
    assert only("No pneumothorax is seen.").negated
    nodule = {e.label: e.negated for e in entities("No consolidation, but a small nodule is seen.")}
    assert nodule == {"Consolidation": True, "Lung Lesion": False}


def test_capitals_hide_nothing() -> None:
    assert entities("SMALL LEFT PLEURAL EFFUSION.") == entities("small left pleural effusion.")
    assert only("Small Left Pleural Effusion").sides == {"left"}


@pytest.mark.parametrize(
    "text", ["Small pneumothorax without tension.", "Small pneumothorax", "pneumothorax,small"]
)
def test_a_finding_at_the_end_of_its_clause_is_read(text: str) -> None:
    assert only(text).label == "Pneumothorax" and only(text).adjectives == {"small"}


def test_an_adjective_inside_the_name_of_a_finding_hides_it_not() -> None:
    assert only("Enlarged heart.").label == "Cardiomegaly"
    assert only("The heart is moderately enlarged.").adjectives == {"moderate"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "Moderate cardiomegaly with mild pulmonary edema.",
            {"Cardiomegaly": ({"moderate"}, set()), "Edema": ({"mild"}, set())},
        ),
        (
            "Small left effusion and large right pneumothorax.",
            {"Pleural Effusion": ({"small"}, {"left"}), "Pneumothorax": ({"large"}, {"right"})},
        ),
        (
            "Effusion on the left is large, and on the right there is atelectasis.",
            {"Pleural Effusion": ({"large"}, {"left"}), "Atelectasis": (set(), {"right"})},
        ),
        (
            "Bibasilar atelectasis and small right effusion.",
            {
                "Atelectasis": (set(), {"base", "bilateral"}),
                "Pleural Effusion": ({"small"}, {"right"}),
            },
        ),
        (
            "Right chest tube with small left pneumothorax.",
            {"Pneumothorax": ({"small"}, {"left"})},
        ),
        (
            "Mild left atelectasis, moderate right effusion, no pneumothorax.",
            {
                "Atelectasis": ({"mild"}, {"left"}),
                "Pleural Effusion": ({"moderate"}, {"right"}),
                "Pneumothorax": (set(), set()),
            },
        ),
    ],
)
def test_an_attribute_belongs_to_its_own_finding(
    text: str, wanted: dict[str, tuple[set[str], set[str]]]
) -> None:
    assert words(text) == wanted


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("On the left, there is a small effusion.", {"left"}),
        ("Pleural effusion (small, left).", {"left"}),
        ("Effusion: small, left.", {"left"}),
        ("The left lung is clear, there is a right effusion.", {"right"}),
        ("RLL atelectasis.", {"right", "lower"}),
        ("Right-sided effusion.", {"right"}),
        ("Effusions, left greater than right.", {"left", "right"}),
        ("Atelectasis, right-greater-than-left.", {"left", "right"}),
        (
            "Consolidation in the right upper lobe and the left lower lobe.",
            {"right", "upper", "left", "lower"},
        ),
        ("Effusion on the right, and the left lung is clear.", {"right"}),
        ("Moderate left and small right pleural effusions.", {"left", "right"}),
        ("The heart is at the upper limits of normal.", set()),
        ("Left ventricular configuration, cardiomegaly.", set()),
    ],
)
def test_sides_are_found_where_they_stand(text: str, sides: set[str]) -> None:
    assert only(text).sides == sides


@pytest.mark.parametrize(
    ("text", "adjectives"),
    [
        ("Mild-to-moderate edema.", {"mild", "moderate"}),
        ("Nondisplaced fracture.", {"nondisplaced"}),
        ("Non-displaced fracture.", {"nondisplaced"}),
        ("Displaced fracture.", {"displaced"}),
        ("Old fracture.", {"chronic"}),
        ("64-year-old man with an effusion.", set()),
    ],
)
def test_adjectives_are_read_by_the_word_that_stands_for_them(
    text: str, adjectives: set[str]
) -> None:
    assert only(text).adjectives == adjectives


def test_two_names_of_one_thing_have_one_place() -> None:
    for text in (
        "Patchy opacity at the right base, which may reflect atelectasis.",
        "Opacity most likely reflects atelectasis at the right base.",
    ):
        assert [entity.sides for entity in entities(text)] == [{"right", "base"}] * 2


def test_a_change_is_that_of_the_finding_before_it() -> None:
    text = "Small left effusion, not significantly changed. Edema, larger on the left."
    effusion, edema = entities(text)
    assert effusion.adjectives == {"small", "unchanged"} and effusion.sentence == 0
    assert edema.adjectives == set() and edema.sentence == 1


@pytest.mark.parametrize("text", ["", " \n", "...", "Normal.", "A right PICC is in place."])
def test_a_report_without_a_finding_gives_none(text: str) -> None:
    assert entities(text) == ()


# --------------------------------------------------------------------------- agreement with the labeler
@pytest.mark.parametrize(("text", "_"), FLAT)
def test_entities_say_what_the_labeler_says(text: str, _: str) -> None:
    status = {(False, False): 1, (True, False): 0, (False, True): -1}
    for number, sentence in enumerate(sentences(text)):
        said = {
            (OBSERVATIONS.index(e.label), status[e.negated, e.uncertain])
            for e in entities(text)
            if e.sentence == number
        }
        labels = {pair for pair in label_sentence(sentence) if OBSERVATIONS[pair[0]] in DISEASES}
        assert said == labels


@pytest.mark.parametrize(("text", "_"), FLAT)
def test_divided_sentences_are_the_sentences(text: str, _: str) -> None:
    assert [sentence for sentence, _ in divided(text)] == sentences(text)


def test_commas_stand_at_blanks() -> None:
    ((sentence, commas),) = divided("A 1.5 cm nodule (left), stable")
    assert [sentence[:place] for place in commas] == ["a 1.5 cm nodule", "a 1.5 cm nodule left"]


# ---------------------------------------------------------------------------------------- word lists
def test_every_attribute_is_read_by_the_word_that_stands_for_it() -> None:
    for word in SIDES:
        assert word in entities(f"{word} atelectasis")[0].sides
    for word in ADJECTIVES:
        if word not in ("healed", "free"):
            assert word in entities(f"{word} atelectasis")[0].adjectives, word


def test_every_observation_and_forty_terms_are_defined_in_a_sentence() -> None:
    assert set(OBSERVATIONS) <= set(definitions) and len(definitions) == 40
    for meaning in definitions.values():
        assert meaning[0].isupper() and meaning.endswith(".") and meaning.count(".") == 1
