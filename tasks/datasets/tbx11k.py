"""TBX11K, simplified (Kaggle: data.csv) or as first released (COCO JSON and lists); and the task on
it."""

from __future__ import annotations

import ast
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

TABLE = "data.csv"
FILES = "images"
LISTS = "lists"
COLUMNS = ("fname", "image_height", "image_width", "target", "image_type", "bbox")
TARGETS = {"tb": 1, "no_tb": 0}
TYPES = ("healthy", "sick_but_no_tb", "tb")
PUBLISHED_COUNTS = {"images": 8399, "healthy": 3800, "sick_but_no_tb": 3800, "tb": 799}


@dataset
class Tbx11k(Rendered):
    """Frontal radiographs (512 px PNG): healthy, sick but no tuberculosis, tuberculosis with boxes
    around its areas.

    Read from data.csv of the simplified version, or where that is not there from the first release:
    `lists/` and the COCO files of `annotations/json/`, whose boxes are in pixels of the 512 px
    images (those of its XML files are in pixels of larger images that were never released, and are
    not read). No official split is used: the labels of the first release's test images are
    withheld. There are no patient ids: an image counts as a patient of its own.
    """

    name = "tbx11k"
    title = "TBX11K: tuberculosis with boxes (simplified version or first release)"
    licence = "research with citation, as the authors ask; simplified version: see its Kaggle page"
    citation = "Liu et al., Rethinking Computer-aided Tuberculosis Diagnosis, CVPR 2020"
    how_to_get = (
        "https://www.kaggle.com/datasets/vbookshelf/tbx11k-simplified (images/ and data.csv) or "
        "https://mmcheng.net/tb/ (imgs/, lists/, annotations/), into $PLACE_BENCH_DATA/tbx11k/."
    )
    folders = ("tbx11k-simplified", "TBX11K", "TBX11K/TBX11K")
    marker = (TABLE, LISTS)
    mask_classes = ("tuberculosis",)
    box_classes = ("tuberculosis",)
    label_names = ("Tuberculosis",)
    demo = Demo(stream=15, as_original=400, more_test=375, changes=1)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image, sorted by name; private columns: `boxes`, `lines`, `rows`,
        `columns`, `image_type`, `table`.

        Raise DataError naming file and line for an unknown target or type, rows of one image that
        contradict each other, a tuberculosis without a box or another image with one, and images
        without a file.
        """
        from bench.data.tables import find_file, find_table
        from tasks.datasets._files import locate, scan

        if find_file(root, TABLE) is None and (root / LISTS).is_dir():
            from tasks.datasets._tbx11k_release import read_release

            return read_release(root, self.how_to_get)
        table = find_table(root, TABLE)
        images = _simplified(table)
        images = locate(
            images,
            images["image_id"].tolist(),
            scan(root, [FILES], ".png"),
            table=table,
            folder=root / FILES,
            how_to_get=self.how_to_get,
        )
        return images.assign(patient_id=images["image_id"], split="", table=table.name)

    def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the boxes of one image, float32 [n, 5]; raise DataError naming file and line for
        one that cannot be."""
        return checked_boxes(row, root, root / row["table"])

    def mask(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the union of the filled boxes, uint8 [1, H, W]."""
        return filled_mask(row, root, self.boxes(row, root))

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare images by type with the published counts, or a demo's with its own."""
        index = self.index(root)
        return [
            *self.counts(index, root),
            *dropped_results(index),
            *box_results(self, index, root),
            *file_results(root, index["path"], self.how_to_get),
        ]

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare images by type with the published counts, or a demo's with its own."""
        counts = {"images": len(index)} | {
            kind: int((index["image_type"] == kind).sum()) for kind in TYPES
        }
        counts["boxes"] = int(index["boxes"].map(len).sum())
        return compare(root, counts, PUBLISHED_COUNTS, "published for the simplified version")

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return BenchX's split: 70/15/15, stratified on tuberculosis."""
        from tasks.datasets._reference_splits import stratified_split

        return (
            stratified_split(index, index["label:Tuberculosis"].to_numpy())
            if protocol == "benchx"
            else None
        )

    def reference_subset(
        self, train: pd.DataFrame, protocol: str, fraction: float, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return BenchX's training list of one label fraction."""
        from tasks.datasets._reference_splits import stratified_subset

        return (
            stratified_subset(train, fraction, train["label:Tuberculosis"].to_numpy())
            if protocol == "benchx"
            else None
        )


def _simplified(table: Path) -> pd.DataFrame:
    """Return one row per image of data.csv, sorted by name, with its boxes and the lines they were
    read from."""
    from bench.data.tables import read_table

    boxes = BoxRows()
    for line, image, *facts, text in read_table(table, COLUMNS, key="fname").itertuples(name=None):
        where = f"table {table}, line {line}, image '{image}'"
        try:
            _check_row(where, *facts)
            boxes.add(image, tuple(facts), _box(text, facts[2], where), line, where)
        except DataError as error:
            fault(error, image, table)
    images = boxes.table(["rows", "columns", "target", "image_type"])
    images["label:Tuberculosis"] = images.pop("target").map(TARGETS)
    return images.astype({"rows": int, "columns": int})


def _check_row(where: str, height: str, width: str, target: str, kind: str) -> None:
    if target not in TARGETS or kind not in TYPES or (kind == "tb") != (target == "tb"):
        hint = f"Expected {', '.join(TARGETS)}; {', '.join(TYPES)}."
        raise DataError(f"{where}: target '{target[:20]}', image_type '{kind[:20]}'.", hint)
    if not all(side.isdecimal() and len(side) < 7 for side in (height, width)):
        raise DataError(
            f"{where}: image size '{width[:10]}' x '{height[:10]}'.", "Whole numbers were expected."
        )


def _box(text: str, target: str, where: str) -> Box | None:
    """Return the box of "{'xmin': 1.0, 'ymin': ..., 'width': ..., 'height': ...}"; None for
    "none"."""
    if (text.lower() == "none") == (target == "tb"):
        raise DataError(
            f"{where}: target '{target}' and bbox '{text[:40]}'.",
            "Tuberculosis has a box, another image has none.",
        )
    if target != "tb":
        return None
    try:
        parts = ast.literal_eval(text)
        x, y, width, height = (
            number(str(parts[name])) for name in ("xmin", "ymin", "width", "height")
        )
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as error:
        raise DataError(
            f"{where}: bbox '{text[:60]}' is not a box.",
            "xmin, ymin, width and height were expected.",
        ) from error
    return (x, y, x + width, y + height, 0)


task(
    TaskSpec(
        name="tbx11k_seg",
        kind="segmentation",
        dataset="tbx11k",
        title="Tuberculosis segmentation, filled boxes (TBX11K)",
        main_metric="dice_global",
        groups=("segmentation",),
    )
)
