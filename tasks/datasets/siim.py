"""SIIM-ACR Pneumothorax Segmentation (Kaggle 2019), stage 1 as downloaded; and the task on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, TaskSpec, dataset, task
from tasks.datasets._checks import compare, dropped_results, file_results
from tasks.datasets._rendered import Rendered
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TABLES = ("train-rle.csv", "stage_2_train.csv")
FOLDERS = {
    "train-rle.csv": ("dicom-images-train",),
    "stage_2_train.csv": ("dicom-images-train", "dicom-images-test", "stage_2_images"),
}
"""Where the images of a table lie: stage 2 labels the images of stage 1, its test images too."""
HEADER_LINES = 2
"""`csv_rows` counts from 0, the lines of the file from 1, and the first is the header."""
PUBLISHED_COUNTS = {
    "train-rle.csv": {
        "images": 10675,
        "positive images": 2379,
        "rows": 11582,
        "images with several masks": 624,
    },
    "stage_2_train.csv": {"images": 12047, "positive images": 2669, "rows": 12954},
}


@dataset
class Siim(Rendered):
    """Frontal radiographs as DICOM, pneumothorax masks as run lengths (several rows per image:
    their union)."""

    name = "siim"
    title = "SIIM-ACR Pneumothorax Segmentation, stage 1 or 2 (Kaggle 2019)"
    licence = "SIIM-ACR challenge terms: research and education, no redistribution"
    citation = (
        "SIIM-ACR Pneumothorax Segmentation challenge, 2019; images from NIH ChestX-ray14 (Wang "
        "et al., CVPR 2017)"
    )
    how_to_get = (
        "https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation: put "
        "dicom-images-train/ and train-rle.csv, or what Kaggle delivers today "
        "(stage_2_images/ and stage_2_train.csv), into $PLACE_BENCH_DATA/siim/."
    )
    folders = ("siim-acr-pneumothorax-segmentation", "siim-acr", "SIIM", "pneumothorax")
    marker = ("dicom-images-train", "stage_2_images")
    mask_classes = ("pneumothorax",)
    label_names = ("Pneumothorax",)
    demo = Demo(stream=1, as_original=600, more_test=1850, changes=2)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per annotated image; private columns: `rle` and `csv_rows` (per mask, in
        file order), `rows`, `columns`.

        The patient is the DICOM PatientID (the study where it is blank). Images of the tree without
        a row in the table have no annotation: they are left out (37 in the real stage 1) and
        counted in the notes (`unmatched`). Raise DataError for a table without its columns, an
        image of the table without a file, or a blank run length.
        """
        from bench.data.tables import find_table
        from tasks.datasets._dicom import header_columns
        from tasks.datasets._files import locate, scan

        table = find_table(root, *TABLES)
        images = _annotated_images(table)
        folders = _image_folders(root, table)
        images = locate(
            images,
            [f"{image}.dcm" for image in images["image_id"]],
            scan(root, folders, ".dcm"),
            table=table,
            folder=root / " or ".join(folders),
            how_to_get=self.how_to_get,
        )
        headers = header_columns(root, images["path"].tolist(), "siim-headers-v1")
        return _with_headers(images, headers)

    def mask(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the union of the image's runs, uint8 [1, H, W]; an empty mask where there are
        none."""
        import numpy as np

        from tasks.datasets._dicom import image_size
        from tasks.datasets._rle import decode_rle

        height, width = image_size(row, root)
        union = np.zeros((height, width), np.uint8)
        for runs, line in zip(row["rle"], row["csv_rows"], strict=True):
            if runs != "-1":
                number = line + HEADER_LINES
                where = f"table {_table_name(root)}, line {number}, image '{row['image_id']}'"
                union |= decode_rle(runs, height, width, where)
        return union[None]

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the counts with the published ones, or a demo's with its own; name images without
        annotation, and look for every file."""
        index = self.index(root)
        return [
            *self.counts(index, root),
            *dropped_results(index),
            *file_results(root, index["path"], self.how_to_get),
        ]

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the counts with the published ones of the table's stage, or a demo's with its
        own."""
        masks = index["rle"].map(len)
        positive = int((index["label:Pneumothorax"] == 1).sum())
        counts = {"images": len(index), "positive images": positive, "rows": int(masks.sum())}
        counts["images with several masks"] = int((masks > 1).sum())
        stage = _stage(_table_name(root))
        number = TABLES.index(stage) + 1
        return compare(root, counts, PUBLISHED_COUNTS[stage], f"published for stage {number}")

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return the row-level split of MGCA and GLoRIA for those protocols."""
        from tasks.datasets._mgca_siim import row_level_split

        return row_level_split(index) if protocol in ("mgca", "gloria") else None

    def reference_subset(
        self, train: pd.DataFrame, protocol: str, fraction: float, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return MGCA's and GLoRIA's training images: the positives, as many negatives, then a
        random part."""
        from tasks.datasets._mgca_siim import balanced_subset

        return balanced_subset(train, fraction, seed) if protocol in ("mgca", "gloria") else None


def _annotated_images(table: Path) -> pd.DataFrame:
    """Return one row per image of the table, in order of first appearance, with its runs and line
    numbers."""
    import pandas as pd

    from bench.data.tables import check_rows, read_table

    rows = read_table(table, ("ImageId", "EncodedPixels"), key="ImageId")
    rows = check_rows(
        rows,
        (rows["ImageId"] == "") | (rows["EncodedPixels"] == ""),
        table,
        lambda _: "a blank ImageId or EncodedPixels",
        key="ImageId",
    )
    runs: dict[str, list[tuple[int, str]]] = {}
    for line, image, run in rows.itertuples(name=None):
        runs.setdefault(image, []).append((line - HEADER_LINES, run))
    codes = [tuple(run for _, run in pairs) for pairs in runs.values()]
    lines = [tuple(row for row, _ in pairs) for pairs in runs.values()]
    return pd.DataFrame({"image_id": list(runs), "rle": codes, "csv_rows": lines})


def _stage(table: Path) -> str:
    """Return which of the known tables this one is."""
    return next(name for name in TABLES if table.name.lower().startswith(name))


def _image_folders(root: Path, table: Path) -> tuple[str, ...]:
    """Return the folders that hold the images of a table, as far as they are there."""
    folders = FOLDERS[_stage(table)]
    there = tuple(folder for folder in folders if (root / folder).is_dir())
    return there or folders


def _with_headers(images: pd.DataFrame, headers: pd.DataFrame) -> pd.DataFrame:
    study = images["path"].map(_study_of)
    positive = images["rle"].map(lambda runs: int(any(run != "-1" for run in runs)))
    return images.assign(
        patient_id=headers["patient_id"].where(headers["patient_id"] != "", study).to_numpy(),
        study_id=study,
        split="",
        **{name: headers[name].to_numpy() for name in ("view", "sex", "age", "rows", "columns")},
        **{"label:Pneumothorax": positive},
    )


def _study_of(path: str) -> str:
    """Return the study's folder, or the image itself where all lie in one folder."""
    folder_or_file = path.split("/")[1]
    return folder_or_file if path.count("/") > 1 else folder_or_file.rpartition(".")[0]


def _table_name(root: Path) -> Path:
    from bench.data.tables import find_table

    return find_table(root, *TABLES)


task(
    TaskSpec(
        name="siim_seg",
        kind="segmentation",
        dataset="siim",
        title="Pneumothorax segmentation (SIIM-ACR)",
        main_metric="dice_global",
        groups=("segmentation",),
        fractions=(0.1, 1.0),
        presets={"mgca": {"batch_size": "8"}},
    )
)
task(
    TaskSpec(
        name="siim_cls",
        kind="classification",
        dataset="siim",
        title="Pneumothorax classification (SIIM-ACR)",
        main_metric="auroc",
        groups=("classification",),
        presets={"benchx": {"lr": "1e-5", "batch_size": "128"}},
    )
)
task(
    TaskSpec(
        name="siim_ground",
        kind="grounding",
        dataset="siim",
        title="Where pneumothorax is, by its name (SIIM-ACR)",
        main_metric="shuffled_auc",
        groups=("grounding",),
        fractions=(1.0,),
        options={"source": "mask"},
    )
)
