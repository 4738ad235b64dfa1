"""How a label is said: in a phrase, and in a sentence as a report has it."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "No Finding": "no acute cardiopulmonary abnormality",
    "Enlarged Cardiomediastinum": "widened mediastinum",
    "Cardiomegaly": "enlarged heart",
    "Edema": "pulmonary edema",
    "Support Devices": "support devices",
    "Fracture": "rib fracture",
    "COVID-19": "COVID-19 pneumonia",
}
"""How a label is said in a sentence where its name alone is not what a report says."""
TEMPLATES = (
    "There is {}.",
    "Findings consistent with {}.",
    "The radiograph shows {}.",
    "{} is seen.",
    "Findings suggest {}.",
    "{} is present.",
)


def phrase(label: str) -> str:
    """Return how a label is said inside a sentence."""
    return WORDS.get(label, label.replace("_", " ").replace("/", " or ").lower())


def sentence(template: str, label: str) -> str:
    """Return a template filled with a label, its first letter a capital."""
    text = template.format(phrase(label))
    return text[0].upper() + text[1:]
