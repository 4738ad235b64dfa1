"""A shortcut made on purpose: rendered radiographs in the layout of NIH ChestX-ray14 with a letter
burnt in whose presence goes with the label; and the task on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, TaskSpec, dataset, task
from bench.core.errors import DataError
from bench.data.faults import fault
from tasks.datasets._checks import compare
from tasks.datasets.nih import TABLES, Nih
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

BOXES = "BBox_List_2017.csv"
BOX_COLUMNS = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")
LABEL = "Effusion"
PARTS = ("same", "unlinked", "reversed")
"""The parts of the test images: letter and label go together as in training, by chance, and the
other way round."""


@dataset
class Marker(Nih):
    """Rendered radiographs with a letter in a corner, present on 95% of the training images with an
    effusion and on 5% of those without; each test image stands in three parts.

    The layout is NIH's with its list of boxes and two columns more: `Marker` (0 or 1), `Part`.
    """

    name = "marker"
    title = "Burnt-in letter (rendered)"
    licence = "made by place-bench; as its code"
    citation = "no publication"
    how_to_get = "It exists only as rendered data: place-bench data make-demo marker."
    folders = ()
    marker = ()
    box_classes = (LABEL,)
    demo = Demo(stream=43, as_original=560, more_test=300, test_share=0.25)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image of the table; private columns: `marker`, `boxes`.

        Raise DataError naming table and line for another value of `Marker` or `Part`, and for
        boxes of another label or of an image that is not in the table; and as NIH's index does.
        """
        from bench.data.tables import find_table, read_table

        index = super().index(root)
        table = find_table(root, *TABLES)
        rows = read_table(table, ("Image Index", "Marker", "Part"), key="Image Index")
        rows = _checked(rows, table).set_index("Image Index")
        index = index[index["image_id"].isin(rows.index)].reset_index(drop=True)
        boxes = _boxes(find_table(root, BOXES), set(index["image_id"]))
        return index.assign(
            marker=index["image_id"].map(rows["Marker"]).astype(int),
            part=index["image_id"].map(rows["Part"]),
            boxes=index["image_id"].map(lambda image: boxes.get(image, ())),
        )

    def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the boxes of the effusions of one image, float32 [n, 5]."""
        import numpy as np

        return np.array(row["boxes"], np.float32).reshape(-1, 5)

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the counts of a demo, those of parts, letters and boxes too, with its own."""
        counts = self.counted(index)
        for part in PARTS:
            counts[f"images of part {part}"] = int((index["part"] == part).sum())
        counts["images with the letter"] = int(index["marker"].sum())
        counts["boxes"] = int(index["boxes"].map(len).sum())
        return compare(root, counts, {})


def _checked(rows: pd.DataFrame, table: Path) -> pd.DataFrame:
    """Return the rows whose `Marker` and `Part` are among the words that there are."""
    from bench.data.tables import check_rows

    for column, words in (("Marker", ("0", "1")), ("Part", ("train", *PARTS))):
        wrong = ~rows[column].isin(words)

        def said(row: pd.Series, column: str = column) -> str:
            """Return what is wrong with a row."""
            return f"{column} is '{row[column][:60]}'"

        expected = f"Known: {', '.join(words)}."
        rows = check_rows(rows, wrong, table, said, expected, key="Image Index")
    return rows


def _boxes(table: Path, images: set[str]) -> dict[str, tuple[tuple[float, ...], ...]]:
    """Return the boxes of every image that has any: x1, y1, x2, y2, class."""
    from bench.data.tables import read_table
    from tasks.datasets._boxes import number

    boxes: dict[str, tuple[tuple[float, ...], ...]] = {}
    rows = read_table(table, BOX_COLUMNS, key="Image Index")
    for line, (image, label, *sides) in zip(rows.index, rows.to_numpy().tolist(), strict=True):
        if image not in images or label != LABEL:
            message = (
                f"table {table}, line {line}: a box of '{label[:60]}' in image '{image[:60]}'."
            )
            hint = f"Boxes of {LABEL} in images of {TABLES[1]} were expected."
            fault(DataError(message, hint), image, table)
            continue
        x, y, width, height = (number(side) for side in sides)
        boxes[image] = (*boxes.get(image, ()), (x, y, x + width, y + height, 0.0))
    return boxes


task(
    TaskSpec(
        name="marker_cls",
        kind="classification",
        dataset="marker",
        title="Effusion with a misleading letter (rendered)",
        main_metric="auroc",
        groups=("classification",),
        options={"labels": (LABEL,), "gap": ("part", "same", "reversed")},
    )
)
