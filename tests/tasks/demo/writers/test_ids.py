"""Names never repeat, whatever the size of a demo, and a larger demo begins with those of a smaller
one."""

from __future__ import annotations

import pytest

from tasks.datasets.demos import covidx, iu_xray, mimic_cxr, nih, object_cxr, rsna, siim, vindr
from tasks.demo.writers import manifest
from tasks.demo.writers.dicom import uids
from tasks.demo.writers.ids import distinct

MANY = 200_000
NAMES = {
    "patients of MIMIC-CXR": mimic_cxr.subjects,
    "studies of MIMIC-CXR": mimic_cxr.study_names,
    "images of MIMIC-CXR": lambda seed, n: [mimic_cxr.image_name(seed, i, "PA") for i in range(n)],
    "patients of SIIM": siim.patient_names,
    "images of SIIM": lambda seed, n: [uids("siim", seed, i)[2] for i in range(n)],
    "patients of COVIDx": lambda seed, n: covidx.patient_names("covidx", seed, n),
    "images of COVIDx": lambda seed, n: covidx.image_names("covidx", seed, n),
    "patients of CXR-4": lambda seed, n: covidx.patient_names("covidx4", seed, n),
    "images of CXR-4": lambda seed, n: covidx.image_names("covidx4", seed, n),
    "images of RSNA": lambda seed, n: [rsna.image_name(seed, i) for i in range(n)],
    "images of VinDr-CXR": lambda seed, n: [vindr.image_name(seed, i) for i in range(n)],
    "studies of IU X-Ray": lambda seed, n: [iu_xray.study_name(seed, i) for i in range(n)],
    "images of Object-CXR": lambda seed, n: [object_cxr.image_name(seed, i) for i in range(n)],
    "images of NIH": lambda seed, n: [nih.image_name(i + 1, 0) for i in range(n)],
}
"""Those of CheXpert, its 5x200 and 8x200 sets and TBX11K are numbers."""


@pytest.mark.parametrize("what", NAMES)
def test_names_of_200000_studies_never_repeat(what: str) -> None:
    names = NAMES[what](1, MANY)
    assert len(names) >= MANY and len(set(names)) == len(names)


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
