"""A tiny fake of every registered dataset, in each layout it is read in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.contracts import DATASETS, Dataset
from tasks.datasets._exclusive import EIGHT
from tasks.datasets.covidx import Covidx, Covidx4
from tasks.datasets.vindr import FINDINGS, NO_FINDING
from tests.bench.data.dicoms import write_dicom
from tests.support.chestxdet10 import write_chestxdet10
from tests.support.gaze import write_egd, write_reflacx
from tests.support.marker import write_marker
from tests.support.mimic5x200 import write_mimic5x200
from tests.support.ms_cxr import write_ms_cxr
from tests.support.nih import write_nih
from tests.support.object_cxr import write_object_cxr
from tests.support.rsna import write_rsna
from tests.support.tbx11k import write_release, write_tbx11k
from tests.support.vindr import write_vindr
from tests.tasks.datasets.chexpert_fakes import write_chexpert
from tests.tasks.datasets.fakes import write_covid, write_mimic, write_siim

XML = """<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR{n}"/>
<AbstractText Label="FINDINGS">Effusion {n}</AbstractText>
<AbstractText Label="IMPRESSION">Normal chest</AbstractText>
<parentImage id="CXR{n}_IM-1"/></eCitation>"""


def picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 24), grey, np.uint8)).save(path)


def write_covidx(root: Path, dataset: Covidx | Covidx4, images: int = 12) -> None:
    """Write the lists of one version with a PNG a line."""
    words = [word for word, _ in dataset.words]
    for start, (_, name, folder) in enumerate(dataset.lists):
        lines = []
        for number in range(images):
            file = f"f{start}_{number}.png"
            picture(root / folder / file, 20 * start + number)
            lines.append(f"p{start}_{number // 2} {file} {words[number % len(words)]} rsna")
        (root / name).write_text("\n".join(lines) + "\n")


def write_annotation(root: Path, mimic: bool = False) -> None:
    """Write R2Gen's release: eight entries, two images each (one for MIMIC-CXR)."""
    content: dict[str, list[dict]] = {"train": [], "val": [], "test": []}
    for number in range(8):
        study = f"CXR{number}_IM-1"
        folder = f"p10/p1000{number}/s5000{number}" if mimic else study
        files = [f"{folder}/{view}.png" for view in range(1 if mimic else 2)]
        entry: dict[str, Any] = {"id": study, "report": f"Report {number}.", "image_path": files}
        entry |= {"study_id": 50000 + number, "subject_id": 10000 + number} if mimic else {}
        content[("train", "train", "val", "test")[number % 4]].append(entry)
        for view, file in enumerate(files):
            picture(root / "images" / file, 10 * number + view)
    (root / "annotation.json").write_text(json.dumps(content))


def write_open_i(root: Path) -> None:
    """Write eight reports of Open-I with an image each."""
    (root / "ecgen-radiology").mkdir(parents=True)
    for number in range(8):
        (root / "ecgen-radiology" / f"{number}.xml").write_text(XML.format(n=number))
        picture(root / "NLMCXR_png" / f"CXR{number}_IM-1.png", 10 * number)


def write_indiana(root: Path) -> None:
    """Write Kaggle's tables of Open-I: eight studies with two views; one report over two lines."""
    views, reports = [], []
    for number in range(8):
        for place, view in enumerate(("Frontal", "Lateral")):
            file = f"{number}_IM-0001-{place}001.dcm.png"
            picture(root / "images" / "images_normalized" / file, 10 * number + place)
            views.append(f"{number},{file},{view}")
        findings = '"Clear, said ""well"".\nNo effusion."' if number == 1 else f"Findings {number}"
        reports.append(f"{number},normal,normal,Chest,,,{findings},Normal")
    head = "uid,MeSH,Problems,image,indication,comparison,findings,impression"
    (root / "indiana_reports.csv").write_text("\n".join([head, *reports]) + "\n")
    head = "uid,filename,projection"
    (root / "indiana_projections.csv").write_text("\n".join([head, *views]) + "\n")


def write_siim_flat(root: Path) -> None:
    """Write what Kaggle delivers today: stage_2_train.csv and all images in one folder."""
    write_siim(root)
    (root / "train-rle.csv").rename(root / "stage_2_train.csv")
    (root / "stage_2_images").mkdir()
    for path in (root / "dicom-images-train").rglob("*.dcm"):
        path.rename(root / "stage_2_images" / path.name)
    for folder in sorted((root / "dicom-images-train").rglob("*"), reverse=True):
        folder.rmdir()
    (root / "dicom-images-train").rmdir()


def write_vindr_kaggle(root: Path) -> None:
    """Write Kaggle's release: twelve images, three readers each; every third has two findings."""
    rows = []
    for number in range(12):
        name = f"k{number:02d}"
        pixels = np.full((30, 40), 10 + number, np.uint8)
        write_dicom(root / "train" / f"{name}.dicom", pixels, uid=f"1.{number}")
        for reader in ("R8", "R9", "R10"):
            ill = number % 3 == 0 and reader != "R10"
            found = (FINDINGS[0], FINDINGS[7]) if ill else (NO_FINDING,)
            box = "4,5,14,15" if ill else ",,,"
            rows += [f"{name},{finding},0,{reader},{box}" for finding in found]
    head = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
    (root / "train.csv").write_text("\n".join([head, *rows]) + "\n")


FAKES: dict[str, Callable[[Path], object]] = {
    "chestxdet10": write_chestxdet10,
    "chexpert": write_chexpert,
    "chexpert5x200": write_chexpert,
    "chexpert8x200": lambda root: write_chexpert(root, train=40, classes=EIGHT),
    "covid_seg": write_covid,
    "covidx": lambda root: write_covidx(root, Covidx()),
    "covidx4": lambda root: write_covidx(root, Covidx4()),
    "egd_cxr": write_egd,
    "iu_xray": write_annotation,
    "iu_xray xml": write_open_i,
    "iu_xray kaggle": write_indiana,
    "marker": write_marker,
    "mimic5x200": write_mimic5x200,
    "mimic_cxr": write_mimic,
    "mimic_cxr_r2gen": lambda root: write_annotation(root, mimic=True),
    "ms_cxr": write_ms_cxr,
    "nih": write_nih,
    "object_cxr": write_object_cxr,
    "reflacx": write_reflacx,
    "rsna": write_rsna,
    "siim": write_siim,
    "siim flat": write_siim_flat,
    "tbx11k": write_tbx11k,
    "tbx11k release": write_release,
    "vindr": write_vindr,
    "vindr kaggle": write_vindr_kaggle,
}


def dataset_of(fake: str) -> Dataset:
    """Return the dataset that a fake belongs to."""
    return DATASETS.get(fake.partition(" ")[0])
