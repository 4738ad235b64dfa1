"""Names never repeat, whatever the size of a demo, and a larger demo begins with those of a smaller
one."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tasks.datasets.demos import (
    chexpert,
    covidx,
    iu_xray,
    mimic_cxr,
    nih,
    object_cxr,
    rsna,
    siim,
    tbx11k,
    vindr,
)
from tasks.datasets.tbx11k import TYPES
from tasks.demo.body.patient import RATES, Study
from tasks.demo.reports import visits
from tasks.demo.writers import manifest
from tasks.demo.writers.dicom import uids
from tasks.demo.writers.ids import distinct

MANY = 200_000
NAMES = {
    "patients of MIMIC-CXR": mimic_cxr.subjects,
    "studies of MIMIC-CXR": mimic_cxr.study_names,
    "images of MIMIC-CXR": lambda seed, n: [mimic_cxr.image_name(seed, i, "PA") for i in range(n)],
    "patients of SIIM": siim.patient_names,
    "patients of COVIDx": lambda seed, n: covidx.patient_names("covidx", seed, n),
    "images of COVIDx": lambda seed, n: covidx.image_names("covidx", seed, n),
    "patients of CXR-4": lambda seed, n: covidx.patient_names("covidx4", seed, n),
    "images of CXR-4": lambda seed, n: covidx.image_names("covidx4", seed, n),
    "images of RSNA": lambda seed, n: [rsna.image_name(seed, i) for i in range(n)],
    "images of VinDr-CXR": lambda seed, n: [vindr.image_name(seed, i) for i in range(n)],
    "studies of IU X-Ray": lambda seed, n: [iu_xray.study_name(seed, i) for i in range(n)],
    "images of Object-CXR": lambda seed, n: [object_cxr.image_name(seed, i) for i in range(n)],
    "images of NIH": lambda seed, n: [nih.image_name(i // 2 + 1, i % 2) for i in range(n)],
    "images of CheXpert": lambda seed, n: [
        chexpert.image_name("train", i // 2, i % 2, "PA", 1) for i in range(n)
    ],
    "images of TBX11K": lambda seed, n: [tbx11k.image_name(TYPES[i % 3], i) for i in range(n)],
}
"""Those of the 5x200 and 8x200 sets are CheXpert's."""


@pytest.mark.parametrize("what", NAMES)
def test_names_of_200000_studies_never_repeat(what: str) -> None:
    names = NAMES[what](1, MANY)
    assert len(names) >= MANY and len(set(names)) == len(names)


@pytest.mark.parametrize("dataset", ["siim", "rsna", "vindr"])
def test_uids_of_studies_series_and_images_never_repeat(dataset: str) -> None:
    names = [
        uid for seed in (0, 1) for number in range(30_000) for uid in uids(dataset, seed, number)
    ]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 64, "DICOM allows no more"


@pytest.mark.parametrize("module", [siim, rsna, nih, vindr, chexpert, mimic_cxr])
def test_visits_of_one_patient_are_numbered(module: ModuleType) -> None:
    """What is named by patient and visit (NIH, CheXpert, the ids in RSNA's mapping) is unique."""
    studies = [study_of(module, number) for number in range(600)]
    visits_of_patients = [(study.patient.number, study.order) for study in studies]
    assert len(set(visits_of_patients)) == len(studies)
    assert max(study.order for study in studies) == 1


def study_of(module: Any, number: int) -> Study:
    if module.study_of is not visits.study_of:
        return module.study_of(0, number)
    every = getattr(module, "EVERY", 20)
    return visits.study_of(0, number, module.DEMO.stream, RATES, every)


@pytest.mark.parametrize("what", NAMES)
def test_a_larger_demo_begins_with_the_names_of_a_smaller_one(what: str) -> None:
    assert tuple(NAMES[what](0, 300)[:200]) == tuple(NAMES[what](0, 200))[:200]


def test_a_name_that_is_taken_is_drawn_again() -> None:
    def first_letter(key: str, number: int, attempt: int = 0) -> str:
        return f"{key}{(number // 3 + attempt) % 8}"

    assert distinct(first_letter, ("x",), 6) == ("x0", "x1", "x2", "x3", "x4", "x5")


def test_demos_of_the_usual_size_keep_their_names() -> None:
    digest = manifest.digest
    assert mimic_cxr.subjects(0, 1200)[7] == str(
        10_000_000 + int(digest("subject", 0, 7)[:12], 16) % 9_999_999
    )
    assert covidx.patient_names("covidx", 0, 360)[9] == digest("covidx", 0, 9)[18:26]
    patient = siim.study_of(0, 11).patient
    assert siim.patient_names(0, 400)[11] == digest("siim", 0, patient.seed)[:8]
