"""The demo in the layout of CheXpert v1.0-small: JPEG tree, `train.csv` labelled from reports,
`valid.csv` from the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tasks.datasets._chexpert import COLUMNS, LABELS
from tasks.datasets.chexpert import Chexpert
from tasks.datasets.demos import exclusive
from tasks.demo.beam.render import render
from tasks.demo.body.patient import RATES, Study, sample_study
from tasks.demo.reports.labels import true_labels
from tasks.demo.reports.report import Report, write_report
from tasks.demo.writers import manifest
from tasks.demo.writers.files import write_jpeg
from tasks.labelling.observations import FIVE

DEMO = Chexpert.demo
FOLDER = "CheXpert-v1.0-small"
CHEXPERT_RATES = {
    **RATES,
    "effusion": 0.34,
    "consolidation": 0.28,
    "atelectasis": 0.3,
    "edema": 0.26,
    "cardiomegaly": 0.3,
}
SEXES = {"M": "Male", "F": "Female"}


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    images = [image for study in written for image in study["images"]]
    parts = {
        name: [image for image in images if image["folder"] == name] for name in ("train", "valid")
    }
    for name, rows in parts.items():
        manifest.write_table(
            out / f"{name}.csv", ",".join(COLUMNS), [image["row"] for image in rows]
        )
    counts = {f"rows of {name}.csv": len(rows) for name, rows in parts.items()}
    counts["frontal images of valid.csv"] = sum(image["frontal"] for image in parts["valid"])
    return counts


def study_of(seed: int, number: int) -> Study:
    """Return study `number`: one in eight is a later visit of the patient before it, a quarter have
    one finding alone."""
    rng = DEMO.generator(seed, number)
    if _alone(seed, number):
        study = exclusive.study_of(DEMO, seed, number, FIVE)
        return replace(study, patient=replace(study.patient, number=number))
    if number % 8 == 7:
        return sample_study(rng, number, CHEXPERT_RATES, previous=study_of(seed, number - 1))
    return sample_study(rng, number, CHEXPERT_RATES)


def report_of(seed: int, number: int, study: Study) -> Report:
    """Return the report of study `number`."""
    if _alone(seed, number):
        return exclusive.report_of(DEMO, seed, number, study, FIVE)
    return write_report(study, DEMO.generator(seed, number, 4))


def _alone(seed: int, number: int) -> bool:
    """Say whether a study is one of those that the 5x200 set is drawn from."""
    return number % 8 != 7 and bool(DEMO.generator(seed, number, 5).random() < 0.25)


def folder_of(seed: int, first: int, studies: int) -> str:
    """Return the folder of a patient, whose first study is number `first`: valid for one in four,
    else train."""
    original = "valid" if DEMO.generator(seed, first, 6).random() < 0.25 else "train"
    return DEMO.split_of(first, studies, original, test="valid")


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    """Write one study's images; return a row of a table and the ground truth of each."""
    study = study_of(job.seed, number)
    folder = folder_of(job.seed, study.patient.number, job.studies)
    reported = report_of(job.seed, number, study).labels
    labels: Mapping[str, int] = reported if folder == "train" else true_labels(study)
    views = (study.view, "LL") if study.lateral else (study.view,)
    images = [
        _write_image(job, study, folder, labels, view, position)
        for position, view in enumerate(views, 1)
    ]
    return {"images": images, "truth": [image["truth"] for image in images]}


def image_name(folder: str, patient: int, visit: int, view: str, place: int) -> str:
    """Return the id of one image of a patient's visit, its path without an ending."""
    kind = "lateral" if view == "LL" else "frontal"
    return f"{folder}/patient{patient + 1:05d}/study{visit + 1}/view{place}_{kind}"


def _write_image(
    job: manifest.Job, study: Study, folder: str, labels: Mapping[str, int], view: str, place: int
) -> dict[str, Any]:
    image_id = image_name(folder, study.patient.number, study.order, view, place)
    rendering = render(study, job.size, view)
    write_jpeg(job.out / f"{image_id}.jpg", rendering.image)
    return {
        "folder": folder,
        "frontal": view != "LL",
        "row": image_row(image_id, study, view, labels),
        "truth": manifest.truth(image_id, rendering, study.findings, view),
    }


def image_row(image_id: str, study: Study, view: str, labels: Mapping[str, int]) -> str:
    """Return an image's line of `train.csv` or `valid.csv`: labels as 1.0, 0.0, -1.0 or blank."""
    frontal, projection = ("Lateral", "") if view == "LL" else ("Frontal", view)
    facts = (
        f"{FOLDER}/{image_id}.jpg",
        SEXES[study.patient.sex],
        study.patient.age,
        frontal,
        projection,
    )
    values = ["" if (value := labels.get(label)) is None else f"{value:.1f}" for label in LABELS]
    return ",".join(map(str, (*facts, *values)))


write = partial(manifest.write, "chexpert", _write_study, _tables, version=DEMO.version)
"""Write `studies` studies at `size` px into `out`, as `manifest.write` says."""
