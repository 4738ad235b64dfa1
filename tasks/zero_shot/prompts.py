"""Prompts per class: severity x subtype x location sets, single sentences, templates, positive and
negative pairs.

The sets follow GLoRIA's description (every severity x subtype x location string of five findings:
210, 15, 192, 18 and 54 of them); the words are ours. GLoRIA's own are read from its source file
(`prompt_file.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from bench.core.errors import SettingError
from tasks.labelling.wording import TEMPLATES, sentence

SETS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "Atelectasis": (
        ("", "mild", "minimal"),
        (
            "atelectasis",
            "subsegmental atelectasis",
            "linear atelectasis",
            "plate-like atelectasis",
            "compressive atelectasis",
            "lobar atelectasis",
            "atelectasis with volume loss",
        ),
        (
            "",
            "at the left base",
            "at the right base",
            "at both bases",
            "in the left lower lobe",
            "in the right lower lobe",
            "in the right middle lobe",
            "in the lingula",
            "in the left upper lobe",
            "behind the heart",
        ),
    ),
    "Cardiomegaly": (
        ("", "mild", "severe"),
        (
            "cardiomegaly",
            "enlargement of the heart",
            "enlarged cardiac silhouette",
            "widening of the heart shadow",
            "increase of the cardiothoracic ratio",
        ),
        ("",),
    ),
    "Consolidation": (
        ("", "patchy", "dense", "increasing"),
        (
            "consolidation",
            "airspace consolidation",
            "lobar consolidation",
            "confluent consolidation",
            "consolidation with air bronchograms",
            "alveolar consolidation",
        ),
        (
            "",
            "in the left lower lobe",
            "in the right lower lobe",
            "in the left upper lobe",
            "in the right upper lobe",
            "in the right middle lobe",
            "at both bases",
            "around the hila",
        ),
    ),
    "Edema": (
        ("", "mild", "moderate", "severe", "worsening", "improving"),
        ("pulmonary edema", "interstitial edema", "alveolar edema"),
        ("",),
    ),
    "Pleural Effusion": (
        ("", "small", "large"),
        (
            "pleural effusion",
            "layering effusion",
            "effusion with blunting of the costophrenic angle",
        ),
        (
            "",
            "on the left",
            "on the right",
            "on both sides",
            "at the left base",
            "at the right base",
        ),
    ),
}
NEGATIVE_TEMPLATES = (
    "There is no {}.",
    "No evidence of {}.",
    "The radiograph shows no {}.",
    "{} is not seen.",
    "Without {}.",
    "{} is absent.",
)


@dataclass(frozen=True)
class ClassPrompts:
    """What one class is asked by; `negative` only for pairs."""

    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()


def prompt_set(label: str) -> tuple[str, ...]:
    """Return every severity x subtype x location prompt of one of the five findings; raise
    SettingError for another label."""
    if label not in SETS:
        raise SettingError(
            f"there is no prompt set for '{label}'.",
            f"Sets: {', '.join(SETS)}; or use prompts=ensemble.",
        )
    combinations = product(*SETS[label])
    return tuple(" ".join(filter(None, words)) for words in combinations)


def build(kind: str, label: str, count: int | None, rng: np.random.Generator) -> ClassPrompts:
    """Return the prompts of one class.

    `kind` single: one sentence; ensemble: all templates; pairs: all templates and their negations;
    sets: `count` of the class's prompt set, drawn by `rng` (None: all).
    """
    if kind == "sets":
        every = prompt_set(label)
        if count is None:
            return ClassPrompts(every)
        numbers = sorted(rng.permutation(len(every))[:count].tolist())
        return ClassPrompts(tuple(every[number] for number in numbers))
    templates = TEMPLATES[:1] if kind == "single" else TEMPLATES
    negations = NEGATIVE_TEMPLATES if kind == "pairs" else ()
    return ClassPrompts(
        tuple(sentence(template, label) for template in templates),
        tuple(sentence(template, label) for template in negations),
    )
