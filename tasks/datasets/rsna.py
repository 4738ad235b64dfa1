"""RSNA Pneumonia Detection Challenge (Kaggle 2018), stage 2 as downloaded; and the tasks on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, TaskSpec, dataset, task
from bench.core.errors import DataError
from bench.data.faults import fault
from tasks.datasets._boxes import Box, BoxRows, box_results, checked_boxes, filled_mask, number
from tasks.datasets._checks import compare, dropped_results, file_results
from tasks.datasets._rendered import Rendered
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TABLE = "stage_2_train_labels.csv"
CLASSES_TABLE = "stage_2_detailed_class_info.csv"
FILES = "stage_2_train_images"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
COLUMNS = ("patientId", "x", "y", "width", "height", "Target")
OPACITY = "Lung Opacity"
DETAILS = (OPACITY, "No Lung Opacity / Not Normal", "Normal")
DENSE_HELD_OUT = 10674 / 26684
"""MGCA sets aside 10,674 of the 26,684 images for detection and segmentation; of another number,
the same share."""
PUBLISHED_COUNTS = {
    "rows": 30227,
    "images": 26684,
    "positive images": 6012,
    "boxes": 9555,
    "images of class 'Lung Opacity'": 6012,
    "images of class 'No Lung Opacity / Not Normal'": 11821,
    "images of class 'Normal'": 8851,
}


@dataset
class Rsna(Rendered):
    """Frontal radiographs as DICOM; boxes around opacities suspicious for pneumonia, one table row
    each.

    An image counts as a patient of its own, as in the download, unless RSNA's mapping to NIH
    ChestX-ray14 stands beside the tables: then the NIH patient is the patient. A box that reaches
    beyond its image is cut at its edge.
    """

    name = "rsna"
    title = "RSNA Pneumonia Detection Challenge, stage 2 (Kaggle 2018)"
    licence = (
        "RSNA challenge terms: non-commercial research and education; images: NIH, no restriction"
    )
    citation = (
        "Shih et al., Radiology: Artificial Intelligence 2019; images from NIH ChestX-ray14 "
        "(Wang et al., CVPR 2017)"
    )
    how_to_get = (
        "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge: put "
        "stage_2_train_images/, stage_2_train_labels.csv and "
        "stage_2_detailed_class_info.csv into $PLACE_BENCH_DATA/rsna/ (to split by patient, "
        "add RSNA's "
        "pneumonia-challenge-dataset-mappings_2018.json)."
    )
    folders = ("rsna-pneumonia-detection-challenge", "rsna_pneumonia", "RSNA_Pneumonia", "RSNA")
    marker = TABLE
    label_names = ("Pneumonia",)
    mask_classes = ("pneumonia",)
    box_classes = ("pneumonia",)
    demo = Demo(stream=11, as_original=640, more_test=1560, changes=1)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image of the table, sorted by id; private columns: `boxes`, `lines`,
        `rows`, `columns`.

        Raise DataError naming table, line and image for a Target other than 0 and 1 or unlike that
        of an earlier row, a negative with a box, and a row that occurs twice; and for images
        without a file.
        """
        from bench.data.tables import find_table, read_table
        from tasks.datasets._dicom import header_columns
        from tasks.datasets._files import locate, scan

        table = find_table(root, TABLE)
        images = _group(read_table(table, COLUMNS, key="patientId"), table)
        images = locate(
            images,
            [f"{image}.dcm" for image in images["image_id"]],
            scan(root, [FILES], ".dcm"),
            table=table,
            folder=root / FILES,
            how_to_get=self.how_to_get,
        )
        images = images.assign(patient_id=_patients(root, images["image_id"]), split="")
        headers = header_columns(root, images["path"].tolist(), "rsna-headers-v1")
        return images.assign(
            **{name: headers[name].to_numpy() for name in ("view", "sex", "age", "rows", "columns")}
        )

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the counts of the table of labels with the published ones, or a demo's with its
        own."""
        boxes = int(index["boxes"].map(len).sum())
        positive = int((index["label:Pneumonia"] == 1).sum())
        counts = {
            "rows": len(index) - positive + boxes,
            "images": len(index),
            "positive images": positive,
            "boxes": boxes,
        }
        return compare(root, counts, PUBLISHED_COUNTS, "published for stage 2", partly=True)

    def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the boxes of one image, float32 [n, 5]; raise DataError naming table and line for
        one that cannot be."""
        return checked_boxes(row, root, root / TABLE)

    def mask(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the union of the filled boxes, uint8 [1, H, W]."""
        return filled_mask(row, root, self.boxes(row, root))

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the counts of both tables with the published ones, or a demo's with its own."""
        index = self.index(root)
        details = _details(root, index)
        counts = {f"images of class '{name}'": details.count(name) for name in DETAILS}
        return [
            *self.counts(index, root),
            *compare(root, counts, PUBLISHED_COUNTS, "published for stage 2", partly=True),
            *dropped_results(index),
            *box_results(self, index, root),
            *_patient_results(index),
            *file_results(root, index["path"], self.how_to_get),
        ]

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return the split of MGCA and GLoRIA (another one for dense tasks), or of BenchX."""
        from tasks.datasets._reference_splits import random_split, stratified_split

        if protocol in ("mgca", "gloria"):
            dense = kind in ("segmentation", "detection")
            return random_split(index, round(DENSE_HELD_OUT * len(index)) if dense else 0.3)
        return (
            stratified_split(index, index["label:Pneumonia"].to_numpy())
            if protocol == "benchx"
            else None
        )

    def reference_subset(
        self, train: pd.DataFrame, protocol: str, fraction: float, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return the training images of one label fraction as MGCA or BenchX drew them."""
        from tasks.datasets._mgca import sample_fraction
        from tasks.datasets._reference_splits import chosen_subset, stratified_subset

        if protocol == "benchx":
            return stratified_subset(train, fraction, train["label:Pneumonia"].to_numpy())
        if protocol != "mgca":
            return None
        dense = kind in ("segmentation", "detection")
        return chosen_subset(train, fraction, seed) if dense else sample_fraction(train, fraction)


def _group(rows: pd.DataFrame, table: Path) -> pd.DataFrame:
    """Return one row per image, sorted by id, with its label, its boxes and the lines they were
    read from."""
    boxes = BoxRows()
    for line, image, *words, target in rows.itertuples(name=None):
        where = f"table {table}, line {line}, image '{image}'"
        try:
            boxes.add(image, (f"Target {target}",), _box(words, target, where), line, where)
        except DataError as error:
            fault(error, image, table)
    images = boxes.table(["target"])
    images["label:Pneumonia"] = (images.pop("target") == "Target 1").astype(int)
    return images


def _box(words: Sequence[str], target: str, where: str) -> Box | None:
    if target not in ("0", "1"):
        raise DataError(
            f"{where}: Target is '{target[:20]}'.", "0 or 1 was expected; download it again."
        )
    if target == "0":
        if any(words):
            raise DataError(f"{where}: Target is 0 and there is a box.", "Download it again.")
        return None
    x, y, width, height = (number(word) for word in words)
    return (x, y, x + width, y + height, 0)


def _patients(root: Path, images: pd.Series) -> list[str]:
    """Return the NIH patient of every image where RSNA's mapping is there, else the image
    itself."""
    from bench.data.tables import find_file
    from bench.data.text import read_json

    path = find_file(root, MAPPING)
    if path is None:
        return images.tolist()
    entries = read_json(path)
    try:
        pairs = [(str(entry["subset_img_id"]), str(entry["img_id"])) for entry in entries]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"file {path} is not a list of subset_img_id and img_id: {error!r}.",
            "Download or remove it.",
        ) from error
    nih: dict[str, str] = {}
    for image, name in pairs:
        patient = nih.setdefault(image, name.split("_")[0])
        if patient != name.split("_")[0] or not patient.strip():
            message = f"file {path} gives image '{image}' the patients '{patient}' and '{name}'."
            fault(DataError(message, "Download or remove it."), image, path)
    unknown = [image for image in images if image not in nih]
    for image in unknown:
        message = f"file {path} lacks {len(unknown)} images of the table, e.g. '{image}'."
        fault(DataError(message, "Download or remove it."), image, path)
    return [nih.get(image, image) for image in images]


def _patient_results(index: pd.DataFrame) -> list[CheckResult]:
    patients = index["patient_id"].nunique()
    if patients < len(index):
        return [CheckResult("ok", f"{patients} patients, from RSNA's mapping to NIH ChestX-ray14.")]
    return [CheckResult("ok", f"every image is a patient of its own: no {MAPPING}.")]


def _details(root: Path, index: pd.DataFrame) -> list[str]:
    """Return the detailed class of every image; raise DataError for an unknown one, or one that
    contradicts the labels."""
    from bench.data.tables import find_table, read_table

    table = find_table(root, CLASSES_TABLE)
    rows = read_table(table, ("patientId", "class"), key="patientId").drop_duplicates()
    label = dict(zip(index["image_id"], index["label:Pneumonia"], strict=True))
    for line, image, name in rows.itertuples(name=None):
        if name not in DETAILS or (image in label and label[image] != int(name == OPACITY)):
            raise DataError(
                f"table {table}, line {line}, image '{image}': class '{name[:40]}' and "
                f"Target {label.get(image)}.",
                f"Classes: {', '.join(DETAILS)}; '{OPACITY}' is Target 1.",
            )
    return rows["class"].tolist()


task(
    TaskSpec(
        name="rsna_cls",
        kind="classification",
        dataset="rsna",
        title="Pneumonia classification (RSNA)",
        main_metric="auroc",
        groups=("classification",),
        presets={"gloria": {"lr": "5e-4", "clip": "none"}, "benchx": {"batch_size": "32"}},
    )
)
task(
    TaskSpec(
        name="rsna_zs",
        kind="zero_shot",
        dataset="rsna",
        title="Pneumonia by prompts (RSNA)",
        main_metric="auroc",
        groups=("zero_shot",),
        fractions=(1.0,),
    )
)
task(
    TaskSpec(
        name="rsna_seg",
        kind="segmentation",
        dataset="rsna",
        title="Pneumonia segmentation, filled boxes (RSNA)",
        main_metric="dice_global",
        groups=("segmentation",),
        presets={"mgca": {"batch_size": "16"}},
    )
)
task(
    TaskSpec(
        name="rsna_det",
        kind="detection",
        dataset="rsna",
        title="Pneumonia detection (RSNA)",
        main_metric="map_rsna",
        groups=("detection",),
    )
)
task(
    TaskSpec(
        name="rsna_ground",
        kind="grounding",
        dataset="rsna",
        title="Where pneumonia is, by its name (RSNA)",
        main_metric="shuffled_auc",
        groups=("grounding",),
        fractions=(1.0,),
        options={"source": "box"},
    )
)
