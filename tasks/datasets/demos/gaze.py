"""A reader of rendered radiographs: what is dictated, when each word is spoken, and where the eyes
rest meanwhile."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.sentences import split_sentences
from tasks.datasets.demos import mimic_cxr
from tasks.demo.beam.render import Rendering, render
from tasks.demo.body.patient import Study, sample_study
from tasks.demo.members import Demo
from tasks.demo.reports.report import Report, write_report
from tasks.demo.writers import manifest
from tasks.demo.writers.files import write_jpeg

MIMIC = "mimic_cxr"
"""The folder of MIMIC-CXR's layout in such a demo."""
WORDS = {
    "effusion": "effusion",
    "pneumothorax": "pneumothora",
    "consolidation": "opaci|consolidat|pneumonia|infiltrat",
    "atelectasis": "atelecta|volume loss",
    "nodule": "nodul|mass",
    "edema": "edema|congesti|vascular",
    "cardiomegaly": "heart|cardiac|cardiomegal",
    "fracture": "fracture",
    "device": "tube|line|catheter|pacemaker|picc|port|lead",
}
"""How a sentence that tells of a finding may name it."""
SECONDS_A_WORD = 60 / 150
PAUSE = 0.5
"""Seconds between two sentences."""
FIRST = 2.0
"""Seconds in which the image is looked over before the first word."""
DEGREES = 25
"""Visual degrees along the side of an image."""
WANDERING = 0.25
"""Share of the fixations of a sentence on a finding that are elsewhere in the lungs."""
DURATION = (-1.3, 0.5)
"""Mean and deviation of the logarithm of a fixation's seconds."""
GAP = 0.04
"""Seconds between two fixations."""


@dataclass(frozen=True)
class Look:
    """One fixation: x, y in pixels, start and duration in seconds."""

    x: float
    y: float
    start: float
    duration: float


@dataclass(frozen=True)
class Dictation:
    """What one reader says and sees: words with begin and end in seconds, fixations, and the
    findings that each sentence tells of."""

    words: Sequence[tuple[str, float, float]]
    looks: Sequence[Look]
    told: Sequence[Sequence[str]]

    @property
    def text(self) -> str:
        """Return the words as one text."""
        return " ".join(word for word, _, _ in self.words)


@dataclass(frozen=True)
class Read:
    """A study as it is written in MIMIC-CXR's layout, and what its readers need."""

    image_id: str
    study: Study
    report: Report
    rendering: Rendering
    split: str
    row: Mapping[str, Any]


def study_of(demo: Demo, seed: int, number: int) -> Study:
    """Return study `number`, each of a patient of its own, without a lateral image."""
    return sample_study(demo.generator(seed, number), number)


def split_of(demo: Demo, number: int, studies: int) -> str:
    """Return the split of a patient in a demo of so many studies."""
    return demo.split_of(number, studies, mimic_cxr.original_split(number))


def write_study(demo: Demo, name: str, job: manifest.Job, number: int) -> Read:
    """Write one frontal image and its report in MIMIC-CXR's layout; return its rows of the
    tables."""
    study = study_of(demo, job.seed, number)
    report = write_report(study, demo.generator(job.seed, number, 1))
    out = job.out / MIMIC
    subject = mimic_cxr.subjects(job.seed, job.studies)[number]
    study_name = mimic_cxr.study_names(job.seed, job.studies)[number]
    image_id = mimic_cxr.hashed_id(name, job.seed, number)
    rendering = render(study, job.size)
    folder = mimic_cxr.folder_of(out, subject)
    write_jpeg(folder / f"s{study_name}" / f"{image_id}.jpg", rendering.image)
    manifest.write_bytes(folder / f"s{study_name}.txt", report.text.encode())
    split = split_of(demo, number, job.studies)
    ids = (subject, study_name)
    row = {
        "patient": subject,
        "study_id": study_name,
        "labels": mimic_cxr.label_row(subject, study_name, report),
        "images": [
            {
                "metadata": mimic_cxr.metadata_row(image_id, study, study.view, ids, job.size),
                "split": f"{image_id},{study_name},{subject},{split}",
            }
        ],
    }
    return Read(image_id, study, report, rendering, split, row)


def truth_of(read: Read, dictation: Dictation) -> list[dict[str, Any]]:
    """Return the ground truth of an image, with the findings that each sentence tells of."""
    record = manifest.truth(read.image_id, read.rendering, read.study.findings, read.study.view)
    return [{**record, "sentences": [list(names) for names in dictation.told]}]


def mimic_tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables of MIMIC-CXR; return their counts."""
    return mimic_cxr.tables(out / MIMIC, written, seed)


# ------------------------------------------------------------------------------------- the reader
def dictate(read: Read, rng: np.random.Generator) -> Dictation:
    """Return what a reader says of an image and where the eyes rest: near the finding that is
    spoken of, now and then elsewhere; over the lungs where nothing is found."""
    sections = " ".join(part for part in (read.report.findings, read.report.impression) if part)
    words: list[tuple[str, float, float]] = []
    looks = _scan(read.rendering, rng, 0.0, FIRST)
    told = []
    now = FIRST
    for sentence in split_sentences(sections):
        begin = now
        for word in sentence.split():
            words.append((word, round(now, 3), round(now + 0.9 * SECONDS_A_WORD, 3)))
            now += SECONDS_A_WORD
        names = findings_of(sentence, read.rendering)
        told.append(names)
        start = looks[-1].start + looks[-1].duration + GAP if looks else begin
        if names:
            looks += _rest(read.rendering, names, sentence, rng, start, now)
        else:
            looks += _scan(read.rendering, rng, start, now)
        now += PAUSE
    return Dictation(words, looks, told)


def findings_of(sentence: str, rendering: Rendering) -> list[str]:
    """Return the findings of an image that a sentence names."""
    lower = sentence.lower()
    return [
        name
        for name, pattern in WORDS.items()
        if rendering.parts.get(name) and re.search(pattern, lower)
    ]


def _rest(
    rendering: Rendering,
    names: Sequence[str],
    sentence: str,
    rng: np.random.Generator,
    start: float,
    end: float,
) -> list[Look]:
    """Return fixations around a finding, one visual degree wide, a part of them over the lungs."""
    parts = [part for name in names for part in rendering.parts[name]]
    parts = _on_side(parts, sentence) or parts
    side = max(rendering.image.shape)
    looks = []
    now = start
    while now < end:
        if rng.random() < WANDERING:
            x, y = _point(rendering.lungs, rng)
        else:
            x, y = _point(parts[int(rng.integers(len(parts)))], rng)
            x, y = (float(value + rng.normal(0, side / DEGREES)) for value in (x, y))
        looks.append(_look(x, y, now, rng))
        now += looks[-1].duration + GAP
    return looks


def parts_told(rendering: Rendering, name: str, sentence: str) -> list[np.ndarray]:
    """Return the parts of a finding that a sentence tells of: those on its side, where it names
    one; masks in the pixels of the image."""
    parts = rendering.parts[name]
    return _on_side(parts, sentence) or list(parts)


def _on_side(parts: Sequence[np.ndarray], sentence: str) -> list[np.ndarray]:
    """Return the parts on the side that a sentence names; the patient's right is left in the
    image."""
    sides = [word for word in ("right", "left") if word in sentence.lower()]
    if len(sides) != 1:
        return []
    chosen = []
    for part in parts:
        middle = float(np.nonzero(part)[1].mean())
        if (middle < part.shape[1] / 2) == (sides[0] == "right"):
            chosen.append(part)
    return chosen


def _scan(rendering: Rendering, rng: np.random.Generator, start: float, end: float) -> list[Look]:
    """Return a path over the lungs, from top to bottom."""
    times = []
    now = start
    while now < end:
        times.append((now, float(rng.lognormal(*DURATION))))
        now += times[-1][1] + GAP
    points = sorted((_point(rendering.lungs, rng) for _ in times), key=lambda point: point[1])
    return [
        Look(round(x, 1), round(y, 1), round(begin, 3), round(long, 3))
        for (x, y), (begin, long) in zip(points, times, strict=True)
    ]


def _look(x: float, y: float, start: float, rng: np.random.Generator) -> Look:
    duration = float(rng.lognormal(*DURATION))
    return Look(round(x, 1), round(y, 1), round(start, 3), round(duration, 3))


def _point(mask: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return the middle of a pixel of a mask, of the whole image where it is empty."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return float(rng.uniform(0, mask.shape[1])), float(rng.uniform(0, mask.shape[0]))
    chosen = int(rng.integers(len(rows)))
    return float(columns[chosen]) + 0.5, float(rows[chosen]) + 0.5


def boxes_of_lungs(rendering: Rendering) -> dict[str, tuple[int, int, int, int]]:
    """Return x1, y1, x2, y2 of each lung."""
    boxes = {}
    middle = rendering.lungs.shape[1] // 2
    halves = {"right lung": slice(0, middle), "left lung": slice(middle, None)}
    for name, columns in halves.items():
        rows, across = np.nonzero(rendering.lungs[:, columns])
        if len(rows):
            start = columns.start + int(across.min())
            end = columns.start + int(across.max()) + 1
            boxes[name] = (start, int(rows.min()), end, int(rows.max()) + 1)
    return boxes
