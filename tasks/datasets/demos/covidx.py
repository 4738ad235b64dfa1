"""The demo with COVIDx's lists: PNG files in a folder per list; COVID-19 is opacities in both
lungs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Progress
from tasks.demo.beam.render import render
from tasks.demo.body.patient import RATES, Finding, Study, sample_study
from tasks.demo.members import Demo
from tasks.demo.writers import manifest
from tasks.demo.writers.files import write_png
from tasks.demo.writers.ids import distinct

CLASSES = ("Normal", "Pneumonia", "COVID-19")
SHARES = {"val": (0.6, 0.75), "test": (0.75, 1.0)}
SOURCES = ("rsna", "ricord", "bimcv", "stonybrook")
_BASE = {**dict.fromkeys(RATES, 0.0), "effusion": 0.1, "cardiomegaly": 0.15, "atelectasis": 0.08}
"""Distractors, equally often in every class."""


@dataclass(frozen=True)
class Layout:
    """Which set is written: its name, who is in it, (split, list, folder) of each list, and the
    word a list has for each class."""

    name: str
    demo: Demo
    lists: tuple[tuple[str, str, str], ...]
    words: Mapping[str, str]


def write(
    out: Path,
    layout: Layout,
    *,
    studies: int,
    size: int,
    seed: int,
    workers: int = 2,
    progress: Progress | None = None,
) -> None:
    """Write `studies` studies at `size` px into `out`, as `manifest.write` says."""
    study = partial(_write_study, layout)
    tables = partial(_tables, layout)
    manifest.write(
        layout.name,
        study,
        tables,
        out,
        studies=studies,
        size=size,
        seed=seed,
        workers=workers,
        progress=progress,
        version=layout.demo.version,
    )


def _tables(layout: Layout, out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the lists; return their counts."""
    counts = {}
    for split, name, _ in layout.lists:
        rows = [image["row"] for image in written if image["split"] == split]
        manifest.write_bytes(out / name, ("\n".join(rows) + "\n").encode())
        counts[f"rows of {name}"] = len(rows)
    return counts


def class_of(demo: Demo, seed: int, number: int) -> str:
    """Return the class of study `number`; the order within a block of three is drawn."""
    block, position = divmod(number, len(CLASSES))
    return str(demo.generator(seed, block, 1).permutation(CLASSES)[position])


def study_of(demo: Demo, seed: int, number: int) -> Study:
    """Return study `number`, of a patient of its own: devices and other findings in every class."""
    rng = demo.generator(seed, number)
    study = sample_study(rng, number, _BASE)
    name = class_of(demo, seed, number)
    side = str(rng.choice(["right", "left"]))
    if name == "Pneumonia":
        return replace(
            study, findings=(*study.findings, _opacity(rng, side, float(rng.uniform(0.45, 1))))
        )
    if name == "COVID-19":
        several = [
            _opacity(rng, side, float(rng.uniform(0.5, 1)))
            for side in ("right", "left", "right", "left")
        ]
        return replace(study, findings=(*study.findings, *several))
    return study


def _opacity(rng: np.random.Generator, side: str, amount: float) -> Finding:
    lobe = str(
        rng.choice(
            ["upper", "middle", "lower", "lower"]
            if side == "right"
            else ["upper", "lower", "lower"]
        )
    )
    return Finding(
        "consolidation",
        side,
        lobe,
        amount,
        float(rng.uniform(0.35, 1)),
        int(rng.integers(2**31)),
        "opacity",
    )


def split_of(layout: Layout, seed: int, number: int, studies: int) -> str:
    """Return the split of a study: about a quarter tests, where there is a list for it 15%
    validate."""
    share = layout.demo.generator(seed, number, 2).random()
    listed = [split for split, _, _ in layout.lists]
    original = next(
        (name for name, (low, high) in SHARES.items() if name in listed and low <= share < high),
        "train",
    )
    return layout.demo.split_of(number, studies, original)


def patient_names(layout: str, seed: int, studies: int) -> tuple[str, ...]:
    """Return the id of every patient, who has one image."""
    return distinct(_digits, (18, 26, layout, seed), studies)


def image_names(layout: str, seed: int, studies: int) -> tuple[str, ...]:
    """Return the name of every image file."""
    return tuple(f"{name}.png" for name in distinct(_digits, (0, 16, layout, seed), studies))


def _digits(start: int, stop: int, *parts: object) -> str:
    return manifest.digest(*parts)[start:stop]


def _write_study(layout: Layout, job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one image; return its line of a list and its ground truth."""
    study = study_of(layout.demo, job.seed, number)
    split = split_of(layout, job.seed, number, job.studies)
    file = image_names(layout.name, job.seed, job.studies)[number]
    patient = patient_names(layout.name, job.seed, job.studies)[number]
    folder = next(folder for name, _, folder in layout.lists if name == split)
    rendering = render(study, job.size)
    write_png(job.out / folder / file, rendering.image)
    word = layout.words.get(class_of(layout.demo, job.seed, number), "negative")
    drawn = _digits(16, 18, layout.name, job.seed, number)
    source = SOURCES[int(drawn, 16) % len(SOURCES)]
    truth = [manifest.truth(f"{folder}/{file}", rendering, study.findings, study.view)]
    return {"split": split, "row": f"{patient} {file} {word} {source}", "truth": truth}
