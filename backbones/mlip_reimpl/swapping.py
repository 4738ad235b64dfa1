"""Reports in which left and right, or the names of two findings, are exchanged.

Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.text.attributes import findings

_OTHER_SIDE = {"left": "right", "lul": "rul", "lll": "rll"}
_OTHER_SIDE |= {other: side for side, other in _OTHER_SIDE.items()}
_SIDE = re.compile(rf"\b(?:{'|'.join(_OTHER_SIDE)})(?=\b|ward)", re.IGNORECASE)
_LATERAL = frozenset(("left", "right"))
NAMES: Mapping[str, str] = {
    "Cardiomegaly": "cardiomegaly",
    "Lung Opacity": "opacity",
    "Lung Lesion": "nodule",
    "Edema": "edema",
    "Consolidation": "consolidation",
    "Pneumonia": "pneumonia",
    "Atelectasis": "atelectasis",
    "Pneumothorax": "pneumothorax",
    "Pleural Effusion": "pleural effusion",
    "Fracture": "fracture",
}
"""The findings that are exchanged, and the word that is put in for each."""
_FORMS = {name: re.compile(rf"\b{word}s?\b", re.IGNORECASE) for name, word in NAMES.items()}
_FORMS["Pleural Effusion"] = re.compile(r"\b(?:pleural )?effusions?\b", re.IGNORECASE)
_FORMS["Lung Opacity"] = re.compile(r"\bopacit(?:y|ies)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Exchanged:
    """A report with or without an exchange in it."""

    text: str
    is_changed: bool


def mirrored(report: str) -> str | None:
    """Return a report with left and right exchanged; None where no finding is on one side alone."""
    if not any(len(said.sides & _LATERAL) == 1 for said in findings(report).values()):
        return None
    text = _SIDE.sub(_other_side, report)
    return None if text == report else text


def renamed(report: str, draw: float) -> str | None:
    """Return a report with one of its findings called by the name of another that it has not, both
    chosen by `draw` in [0, 1); None where it has none that can be."""
    named = findings(report)
    present = [name for name in NAMES if name in named and _FORMS[name].search(report)]
    absent = [name for name in NAMES if name not in named]
    pairs = [(name, other) for name in present for other in absent]
    if not pairs:
        return None
    name, other = pairs[int(draw * len(pairs))]
    return _FORMS[name].sub(lambda match: _cased(NAMES[other], match[0]), report)


def exchange(report: str, draws: Sequence[float]) -> Exchanged | None:
    """Return a report as it is, or in half of all cases with a side or a finding exchanged; None
    where neither can be. `draws`: three uniform numbers in [0, 1)."""
    whether, which, what = draws
    texts = [text for text in (mirrored(report), renamed(report, what)) if text is not None]
    if not texts:
        return None
    if whether >= 0.5:
        return Exchanged(report, False)
    return Exchanged(texts[int(which * len(texts))], True)


def _other_side(match: re.Match[str]) -> str:
    return _cased(_OTHER_SIDE[match[0].lower()], match[0])


def _cased(word: str, like: str) -> str:
    """Return a word in capitals, with a capital, or in lower case, as another one is."""
    if like.isupper():
        return word.upper()
    return word.capitalize() if like[0].isupper() else word
