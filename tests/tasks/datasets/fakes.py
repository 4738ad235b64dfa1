"""Tiny fakes of the datasets in their native layouts, quirks included."""

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tasks.datasets._rle import encode_rle
from tests.bench.data.dicoms import write_dicom

Runs = dict[str, list[str]]


def box(size: int, top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def write_siim(
    root: Path, images: int = 30, size: int = 32, blank: str = " "
) -> dict[str, np.ndarray]:
    """Write a stage 1 tree and its table: every third image positive, every sixth with two masks.
    Return the true masks."""
    rng = np.random.default_rng(0)
    truth, rows = {}, []
    for number in range(images):
        image = f"1.2.276.{number}"
        folder = root / "dicom-images-train" / f"1.2.study.{number}" / f"1.2.series.{number}"
        fields = {
            "PatientID": f"patient-{number // 2}",
            "PatientSex": "MF"[number % 2],
            "PatientAge": f"{20 + number % 60:03d}Y",
        }
        pixels = rng.integers(0, 255, (size, size), dtype=np.uint8)
        write_dicom(folder / f"{image}.dcm", pixels, uid=image, ViewPosition="PA", **fields)
        masks = [box(size, 4, 4, 8), box(size, 16, 18, 6)][: (number % 3 == 0) + (number % 6 == 0)]
        truth[image] = np.maximum.reduce([np.zeros((size, size), np.uint8), *masks])
        rows += [(image, encode_rle(mask)) for mask in masks] or [(image, "-1")]
    order = rng.permutation(len(rows))
    lines = [f"ImageId,{blank}EncodedPixels"] + [
        f"{rows[place][0]},{blank}{rows[place][1]}" for place in order
    ]
    (root / "train-rle.csv").write_text("\n".join(lines) + "\n")
    return truth


REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with cough.

 COMPARISON:  None.

 FINDINGS:

 The lungs are clear.  There is a 1.5 cm nodule in the
 right upper lobe.  No pleural effusion

 IMPRESSION:

 1. Study number {number}.
 2. Right upper lobe nodule
"""


def write_mimic(root: Path, studies: int = 8, zipped: bool = True) -> None:
    """Write studies of a frontal and a lateral image, tables (gzipped as downloaded) and reports;
    study 3 has no text."""
    metadata, splits, labels = [], [], []
    for number in range(studies):
        subject, study = str(10000000 + number // 2), str(50000000 + number)
        folder = root / "files" / f"p{subject[:2]}" / f"p{subject}"
        (folder / f"s{study}").mkdir(parents=True)
        text = "\n IMPRESSION:  \n" if number == 3 else REPORT.format(number=number)
        (folder / f"s{study}.txt").write_text(text)
        for view in ("PA" if number % 2 else "AP", "LATERAL"):
            dicom = f"{number:08x}-{view}"
            pixels = np.full((20, 16), 10 * number % 256, np.uint8)
            Image.fromarray(pixels).save(folder / f"s{study}" / f"{dicom}.jpg")
            metadata.append((dicom, subject, study, view))
            splits.append(
                (dicom, study, subject, ("train", "train", "validate", "test")[number // 2 % 4])
            )
        labels.append((subject, study, "1.0" if number % 2 else "", "-1.0"))
    write_csv(
        root, "metadata", ("dicom_id", "subject_id", "study_id", "ViewPosition"), metadata, zipped
    )
    write_csv(root, "split", ("dicom_id", "study_id", "subject_id", "split"), splits, zipped)
    from tasks.datasets.mimic_cxr import MimicCxr

    names = MimicCxr.label_names
    rows = [
        (subject, study, first, second, *[""] * (len(names) - 2))
        for subject, study, first, second in labels
    ]
    write_csv(root, "chexpert", ("subject_id", "study_id", *names), rows, zipped)


def write_csv(
    root: Path, what: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]], zipped: bool
) -> None:
    path = root / f"mimic-cxr-2.0.0-{what}.csv{'.gz' if zipped else ''}"
    with gzip.open(path, "wt", newline="") if zipped else path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


STRUCTURE = (
    "#",
    "Template Name",
    "Filename",
    "Mask",
    "Resolution",
    "Top",
    "Left",
    "Width",
    "Height",
)


def write_covid(root: Path, images: int = 12) -> None:
    """Write images with outlines; image 1 lacks the right lung, image 2 all lungs, image 3 names a
    mask that is absent."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    rows: list[tuple[object, ...]] = []
    patients: list[tuple[object, ...]] = []
    for number in range(images):
        name = f"case {number}.{'png' if number % 2 else 'jpg'}"
        colour = np.full((40, 50, 3), 90, np.uint8)
        Image.fromarray(colour if number % 3 else colour[..., 0]).save(root / "images" / name)
        patients.append((str(number // 2) if number != 7 else "", name, "PA", "M", "50", "note"))
        boxes = {
            "Left Lung": (5, 28, 30, 15),
            "Right Lung": (5, 5, 30, 15),
            "Consolidation": (10, 6, 8, 8),
            "Airways": (0, 20, 9, 9),
        }
        if number in (1, 2):
            del boxes["Right Lung"]
        if number == 2:
            del boxes["Left Lung"]
        for template, (top, left, height, width) in boxes.items():
            file = f"{number}-{template[0]}.png"
            crop = np.zeros((height, width, 4), np.uint8)
            crop[..., 3], crop[1:-1, 1:-1, 1] = 255, 80
            if not (number == 3 and template == "Consolidation"):
                Image.fromarray(crop).save(root / "masks" / file)
            rows.append(
                (len(rows), template, name, f"masks/{file}", "50x40", top, left, width, height)
            )
    for file, header, lines in (
        ("structure.csv", STRUCTURE, rows),
        (
            "metadata.csv",
            ("patientid", "filename", "view", "sex", "age", "clinical_notes"),
            patients,
        ),
    ):
        with (root / file).open("w", newline="") as out:
            csv.writer(out).writerows([header, *lines])
