"""SIIM-ACR Pneumothorax Segmentation (Kaggle 2019), stage 1 as downloaded; and the task on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import Finding, TaskSpec, dataset, task
from bench.errors import DataError
from tasks.datasets._checks import compare
from tasks.datasets._rendered import Rendered

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TABLES = ("train-rle.csv", "stage_2_train.csv")
FILES = "dicom-images-train"
PUBLISHED = {
    "images": 10675,
    "positive images": 2379,
    "rows": 11582,
    "images with several masks": 624,
}


@dataset
class Siim(Rendered):
    """Frontal radiographs as DICOM, pneumothorax masks as run lengths (several rows per image:
    their union)."""

    name = "siim"
    title = "SIIM-ACR Pneumothorax Segmentation, stage 1 (Kaggle 2019)"
    licence = "SIIM-ACR challenge terms: research and education, no redistribution"
    citation = (
        "SIIM-ACR Pneumothorax Segmentation challenge, 2019; images from NIH ChestX-ray14 (Wang "
        "et al., CVPR 2017)"
    )
    how_to_get = (
        "https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation: put "
        "dicom-images-train/ and train-rle.csv "
        "into $PLACE_BENCH_DATA/siim/."
    )
    folders = ("siim-acr-pneumothorax-segmentation", "siim-acr", "SIIM", "pneumothorax")
    marker = FILES
    mask_classes = ("pneumothorax",)
    label_names = ("Pneumothorax",)
    demo_studies = 400

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per annotated image; private columns: `rle` and `csv_rows` (per mask, in
        file order), `rows`, `columns`.

        The patient is the DICOM PatientID (the study where it is blank). Images of the tree without
        a row in the table have no annotation: they are left out (37 in the real stage 1) and
        counted in `attrs["dropped"]`. Raise DataError for a table without its columns, an image of
        the table without a file, or a blank run length.
        """
        from bench.data.tables import find_table
        from tasks.datasets._dicom import header_columns
        from tasks.datasets._files import locate, scan

        table = find_table(root, *TABLES)
        images = _annotated_images(table)
        names, files = [f"{image}.dcm" for image in images["image_id"]], scan(root, [FILES], ".dcm")
        images["path"] = locate(names, files, table, root / FILES, self.how_to_get)
        index = _with_headers(
            images, header_columns(root, images["path"].tolist(), "siim-headers-v1")
        )
        index.attrs["dropped"] = {"without a row in the table": len(files) - len(index)}
        return index

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
                where = f"table {_table_name(root)}, line {line + 2}, image '{row['image_id']}'"
                union |= decode_rle(runs, height, width, where)
        return union[None]

    def validate(self, root: Path) -> list[Finding]:
        """Compare the counts with the published ones, or a demo's with its own; name images without
        annotation."""
        index = self.index(root)
        masks = index["rle"].map(len)
        positive = int((index["label:Pneumothorax"] == 1).sum())
        found = {"images": len(index), "positive images": positive, "rows": int(masks.sum())}
        found["images with several masks"] = int((masks > 1).sum())
        findings = compare(root, found, PUBLISHED, "published for stage 1")
        spare = index.attrs["dropped"]["without a row in the table"]
        if spare:
            findings.append(
                Finding(
                    "warning", f"{spare} DICOM files have no row in the table and are left out."
                )
            )
        return findings

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

    from bench.data.tables import read_table

    rows = read_table(table, ("ImageId", "EncodedPixels"))
    blank = rows.index[(rows["ImageId"] == "") | (rows["EncodedPixels"] == "")]
    if len(blank):
        raise DataError(
            f"table {table}, line {blank[0] + 2}: a blank ImageId or EncodedPixels.",
            "Download it again.",
        )
    lines: dict[str, list[int]] = {}
    for line, image in enumerate(rows["ImageId"]):
        lines.setdefault(image, []).append(line)
    runs = rows["EncodedPixels"].tolist()
    return pd.DataFrame(
        {
            "image_id": list(lines),
            "rle": [tuple(runs[line] for line in own) for own in lines.values()],
            "csv_rows": [tuple(own) for own in lines.values()],
        }
    )


def _with_headers(images: pd.DataFrame, headers: pd.DataFrame) -> pd.DataFrame:
    study = images["path"].map(lambda path: path.split("/")[1].removesuffix(".dcm"))
    positive = images["rle"].map(lambda runs: int(any(run != "-1" for run in runs)))
    return images.assign(
        patient_id=headers["patient_id"].where(headers["patient_id"] != "", study).to_numpy(),
        study_id=study,
        split="",
        **{name: headers[name].to_numpy() for name in ("view", "sex", "age", "rows", "columns")},
        **{"label:Pneumothorax": positive},
    )


def _table_name(root: Path) -> Path:
    from bench.data.tables import find_table

    return find_table(root, *TABLES)


task(
    TaskSpec(
        name="siim_seg",
        kind="segmentation",
        dataset="siim",
        title="Pneumothorax segmentation (SIIM-ACR)",
        main_metric="dice_per_image",
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
