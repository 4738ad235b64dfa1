"""Object-CXR (JF Healthcare, MIDL 2020 challenge) as downloaded; and the tasks on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, TaskSpec, dataset, task
from bench.data.notes import note, notes
from tasks.datasets._boxes import box_results, checked_boxes
from tasks.datasets._checks import compare, dropped_results, file_results
from tasks.datasets._rendered import Rendered
from tasks.demo.members import Demo

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd

    from tasks.datasets._shapes import Corners, Shape

PARTS = {"train": "train", "dev": "val", "test": "test"}
"""Folder and table of the download -> split."""
MOST_BOXES = 20
"""MGCA keeps this many objects of an image."""
PUBLISHED_COUNTS = {"images of train": 8000, "images of dev": 1000, "images of test": 1000}


@dataset
class ObjectCxr(Rendered):
    """Frontal radiographs as JPEG with foreign objects outlined as rectangles, ellipses or
    polygons; half have none.

    Official split: dev is val. Without test.csv, test is drawn from train. Boxes are tight; masks
    are the filled outlines. The download has no patient ids: an image counts as a patient of its
    own.
    """

    name = "object_cxr"
    title = "Object-CXR: foreign objects on chest radiographs (JF Healthcare, MIDL 2020)"
    licence = "terms of the challenge (see its page): research use"
    citation = (
        "JF Healthcare, Object-CXR: automatic detection of foreign objects on chest X-rays, MIDL "
        "2020"
    )
    how_to_get = (
        "https://web.archive.org/web/20201127235812/https://jfhealthcare.github.io/object-CXR/ "
        "(train and dev also at "
        "https://academictorrents.com/details/fdc91f11d7010f7259a05403fc9d00079a09f5d5): put "
        "train/, dev/, test/, train.csv, "
        "dev.csv and test.csv into $PLACE_BENCH_DATA/object_cxr/."
    )
    folders = ("object-CXR", "object-cxr", "Object-CXR", "objectcxr")
    marker = "dev.csv"
    mask_classes = ("foreign object",)
    box_classes = ("foreign object",)
    label_names = ("Foreign object",)
    demo = Demo(stream=14, as_original=300, more_test=340, test_share=0.2, changes=1)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image in the order of the tables; private columns: `annotation`,
        `line`, `rows`, `columns`, `rule`.

        `rule` says how objects become boxes and masks: tight (default), mgca, benchx. Raise
        DataError for a table without its columns, an image that occurs twice and images without a
        file; a wrong annotation is named when it is used.
        """
        import pandas as pd

        from bench.data.boxes import image_shapes
        from bench.data.tables import find_file
        from tasks.datasets._files import UNLISTED

        parts = [
            _part(root, folder, split)
            for folder, split in PARTS.items()
            if folder != "test" or find_file(root, "test.csv") is not None
        ]
        index = pd.concat(parts, ignore_index=True)
        strays = sum(notes(images).unmatched[UNLISTED] for images in parts)
        note(index, unmatched={UNLISTED: strays})
        shapes = image_shapes(index, root)
        rows = [height for height, _ in shapes]
        columns = [width for _, width in shapes]
        return index.assign(patient_id=index["image_id"], rule="tight", rows=rows, columns=columns)

    def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the boxes of one image, float32 [n, 5]; raise DataError naming table and line for
        an object that cannot be."""
        from tasks.datasets._shapes import centred_box

        shapes, tight = _shapes(row, root)
        if row["rule"] != "mgca":
            return tight
        return _checked(row, [centred_box(shape) for shape in shapes[:MOST_BOXES]], root)

    def mask(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the union of the filled outlines, uint8 [1, H, W]."""
        from tasks.datasets._dicom import image_size
        from tasks.datasets._shapes import fill_shapes

        shapes, _ = _shapes(row, root)
        return fill_shapes(shapes, *image_size(row, root), ellipses=row["rule"] != "benchx")[None]

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the number of images with the published ones, or a demo's with its own; name
        objects that cannot be."""
        index = self.index(root)
        return [
            *self.counts(index, root),
            *dropped_results(index),
            *box_results(self, index, root),
            *file_results(root, index["path"], self.how_to_get),
        ]

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the number of images with the published ones, or a demo's with its own."""
        counts = {
            f"images of {folder}": int((index["split"] == split).sum())
            for folder, split in PARTS.items()
        }
        counts["images with objects"] = int(index["label:Foreign object"].sum())
        return compare(root, counts, PUBLISHED_COUNTS)

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return MGCA's split (train.csv 90/10 with random_state 0, dev as test) with its boxes;
        BenchX's, the official one."""
        from tasks.datasets._reference_splits import ordered_validation

        if protocol == "mgca":
            train, dev = (
                index[index["split"] == split].assign(rule="mgca") for split in ("train", "val")
            )
            return ordered_validation(train, dev, 0.1)
        return index.assign(rule="benchx") if protocol == "benchx" else None

    def reference_subset(
        self, train: pd.DataFrame, protocol: str, fraction: float, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return MGCA's training images of one label fraction."""
        from tasks.datasets._reference_splits import chosen_subset

        return chosen_subset(train, fraction, seed) if protocol == "mgca" else None


def _part(root: Path, folder: str, split: str) -> pd.DataFrame:
    """Return the images of one table; test.csv names them by path, the others by file name."""
    import pandas as pd

    from bench.data.tables import (
        find_table,
        read_columns,
        read_table,
        require_filled,
        require_unique,
    )
    from tasks.datasets._files import locate, scan

    table = find_table(root, f"{folder}.csv")
    column = "image_path" if "image_path" in read_columns(table) else "image_name"
    rows = read_table(table, (column, "annotation"), key=column)
    rows = require_filled(rows, table, column)
    rows = rows.assign(**{column: rows[column].map(lambda text: text.rsplit("/", 1)[-1])})
    rows = require_unique(rows, column, table)
    images = pd.DataFrame(
        {
            "image_id": f"{folder}/" + rows[column],
            "split": split,
            "label:Foreign object": (rows["annotation"] != "").astype(int),
            "annotation": rows["annotation"],
            "line": rows.index,
        }
    )
    return locate(
        images,
        rows[column].tolist(),
        scan(root, [folder], ".jpg"),
        table=table,
        folder=root / folder,
        how_to_get=ObjectCxr.how_to_get,
    )


def _table(row: pd.Series, root: Path) -> Path:
    """Return the table an index row was read from."""
    from bench.data.tables import find_table

    return find_table(root, f"{row['path'].split('/')[0]}.csv")


def _shapes(row: pd.Series, root: Path) -> tuple[list[Shape], np.ndarray]:
    """Return the objects of an index row and their tight boxes; raise DataError for one that cannot
    be."""
    from tasks.datasets._shapes import parse_shapes

    where = f"table {_table(row, root)}, line {row['line']}, image '{row['image_id']}'"
    shapes = parse_shapes(row["annotation"], where)
    return shapes, _checked(row, [shape.bounds for shape in shapes], root)


def _checked(row: pd.Series, corners: Sequence[Corners], root: Path) -> np.ndarray:
    """Return the boxes of an index row's objects, float32 [n, 5]; raise DataError for one that
    cannot be."""
    import pandas as pd

    boxes_and_lines = {
        "boxes": tuple((*box, 0) for box in corners),
        "lines": (row["line"],) * len(corners),
    }
    return checked_boxes(
        pd.concat([row, pd.Series(boxes_and_lines, dtype=object)]), root, _table(row, root)
    )


task(
    TaskSpec(
        name="object_cxr_seg",
        kind="segmentation",
        dataset="object_cxr",
        title="Foreign object segmentation (Object-CXR)",
        main_metric="dice_global",
        groups=("segmentation",),
    )
)
task(
    TaskSpec(
        name="object_cxr_det",
        kind="detection",
        dataset="object_cxr",
        title="Foreign object detection (Object-CXR)",
        main_metric="map_rsna",
        groups=("detection",),
    )
)
