"""The demo in the layout of MIMIC-CXR-JPG with MIMIC-CXR's reports beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Progress
from tasks.datasets.mimic_cxr import MimicCxr
from tasks.demo.beam.render import render
from tasks.demo.body.patient import Study, sample_study
from tasks.demo.members import Demo
from tasks.demo.reports.report import Report, write_report
from tasks.demo.writers import manifest
from tasks.demo.writers.files import write_jpeg
from tasks.demo.writers.ids import distinct, eight_digits

DEMO = MimicCxr.demo
TABLE = "mimic-cxr-2.0.0-{}.csv.gz"
METADATA = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,"
    "StudyDate,StudyTime,"
    "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning"
)
POSITION = {
    "PA": ("PA", "postero-anterior", "Erect"),
    "AP": ("AP", "antero-posterior", "Recumbent"),
    "LL": ("LATERAL", "lateral", "Erect"),
}
VISITS = (0, 1, 2, 3, 3, 4, 5, 5, 6, 6)
"""Patient of each study within a block of ten: three of its seven patients have two studies."""


Draw = Callable[[int, int], tuple[Study, Report]]
"""(seed, number) -> a study and its report."""
PRETRAINING = (2025, 24_000)
"""Seed and size of the demo that encoders are pre-trained on: a demo of another seed shares no id
with it."""


@dataclass(frozen=True)
class Layout:
    """Which set is written in this layout: its name, who is in it, its studies, and the split that
    a patient has in the original."""

    name: str
    demo: Demo
    draw: Draw
    original: Callable[[int], str]


def write(
    out: Path,
    *,
    studies: int,
    size: int,
    seed: int,
    workers: int = 2,
    progress: Progress | None = None,
    layout: Layout | None = None,
) -> None:
    """Write `studies` studies at `size` px into `out`, as `manifest.write` says.

    `layout` is for other sets of studies than that of MIMIC-CXR.
    """
    layout = layout or Layout("mimic_cxr", DEMO, drawn, original_split)
    manifest.write(
        layout.name,
        partial(_write_study, layout),
        tables,
        out,
        studies=studies,
        size=size,
        seed=seed,
        workers=workers,
        progress=progress,
        version=layout.demo.version,
    )


def tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    images = [image for study in written for image in study["images"]]
    names = ",".join(MimicCxr.label_names)
    manifest.write_table(
        out / TABLE.format("metadata"), METADATA, [image["metadata"] for image in images]
    )
    manifest.write_table(
        out / TABLE.format("split"),
        "dicom_id,study_id,subject_id,split",
        [image["split"] for image in images],
    )
    manifest.write_table(
        out / TABLE.format("chexpert"),
        f"subject_id,study_id,{names}",
        [study["labels"] for study in written],
    )
    return {
        "images": len(images),
        "studies": len(written),
        "patients": len({study["patient"] for study in written}),
    }


def study_of(seed: int, number: int) -> Study:
    """Return study `number`; a later visit follows from the patient's earlier one."""
    rng = DEMO.generator(seed, number)
    block, position = divmod(number, len(VISITS))
    if position and VISITS[position] == VISITS[position - 1]:
        return sample_study(rng, number, previous=study_of(seed, number - 1))
    return sample_study(rng, block * 7 + VISITS[position])


def drawn(seed: int, number: int) -> tuple[Study, Report]:
    """Return study `number` with its report."""
    study = study_of(seed, number)
    return study, write_report(study, np.random.default_rng((seed, number, 4)))


def subjects(seed: int, studies: int) -> tuple[str, ...]:
    """Return the id of every patient that a demo of so many studies may have."""
    return _ids(1, "subject", seed, studies + len(VISITS))


def study_names(seed: int, studies: int) -> tuple[str, ...]:
    """Return the id of every study."""
    return _ids(5, "study", seed, studies)


def _ids(first: int, what: str, seed: int, count: int) -> tuple[str, ...]:
    return distinct(eight_digits, (first, what, seed), count, _not_free(first, what, seed))


@lru_cache(maxsize=4)
def _not_free(first: int, what: str, seed: int) -> frozenset[str]:
    """Return the ids that a demo of this seed leaves to that of pre-training."""
    seed_there, studies = PRETRAINING
    if seed == seed_there:
        return frozenset()
    return frozenset(distinct(eight_digits, (first, what, seed_there), studies + len(VISITS)))


def image_name(seed: int, number: int, view: str) -> str:
    """Return the id of one image, 160 bits of a hash."""
    return hashed_id("image", seed, number, view)


def hashed_id(*parts: object) -> str:
    """Return an id that depends on `parts` alone, in the form of MIMIC-CXR's images."""
    digest = manifest.digest(*parts)
    return "-".join(digest[n : n + 8] for n in range(0, 40, 8))


def original_split(patient: int) -> str:
    """Return the split of a patient: one in twenty validates, one in twenty tests."""
    return {3: "validate", 11: "test"}.get(patient % 20, "train")


def held_out(patient: int) -> str:
    """Return the split of a patient of a set that nothing is trained on."""
    return "test"


def split_of(layout: Layout, patient: int, studies: int) -> str:
    """Return the split of patient `patient` in a demo of so many studies."""
    block, position = divmod(patient, len(set(VISITS)))
    first = block * len(VISITS) + VISITS.index(position)
    return layout.demo.split_of(first, studies, layout.original(patient))


def _write_study(layout: Layout, job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one study's images and report; return its rows of the tables."""
    study, report = layout.draw(job.seed, number)
    subject = subjects(job.seed, job.studies)[study.patient.number]
    name = study_names(job.seed, job.studies)[number]
    split = split_of(layout, study.patient.number, job.studies)
    manifest.write_bytes(folder_of(job.out, subject) / f"s{name}.txt", report.text.encode())
    views = (study.view, "LL") if study.lateral else (study.view,)
    images = [_write_image(job, study, number, view, (subject, name), split) for view in views]
    truth = [image["truth"] for image in images]
    return {
        "patient": subject,
        "images": images,
        "labels": label_row(subject, name, report),
        "truth": truth,
    }


def folder_of(out: Path, subject: str) -> Path:
    """Return the folder of a patient."""
    return out / "files" / f"p{subject[:2]}" / f"p{subject}"


def _write_image(
    job: manifest.Job, study: Study, number: int, view: str, ids: Sequence[str], split: str
) -> dict[str, Any]:
    image_id = image_name(job.seed, number, view)
    rendering = render(study, job.size, view)
    subject, name = ids
    write_jpeg(folder_of(job.out, subject) / f"s{name}" / f"{image_id}.jpg", rendering.image)
    return {
        "metadata": metadata_row(image_id, study, view, (subject, name), job.size),
        "split": f"{image_id},{name},{subject},{split}",
        "truth": manifest.truth(image_id, rendering, study.findings, view),
    }


def metadata_row(image_id: str, study: Study, view: str, ids: Sequence[str], size: int) -> str:
    """Return the row of an image in the metadata table; `ids` are those of patient and study."""
    position, meaning, orientation = POSITION[view]
    procedure = "CHEST (PORTABLE AP)" if study.view == "AP" else "CHEST (PA AND LAT)"
    date = 21_100_101 + 10_000 * (study.patient.number % 80) + 100 * study.order
    time = f"{80_000 + study.seed % 60_000}.{study.seed % 1000:03d}"
    fields = (
        image_id,
        *ids,
        procedure,
        position,
        size,
        size,
        date,
        time,
        procedure,
        meaning,
        orientation,
    )
    return ",".join(map(str, fields))


def label_row(subject: str, name: str, report: Report) -> str:
    """Return the row of a study in the table of labels."""
    values = [
        "" if (value := report.labels.get(label)) is None else f"{value:.1f}"
        for label in MimicCxr.label_names
    ]
    return ",".join([subject, name, *values])
