"""ChestX-Det10: boxes of ten findings on images of NIH ChestX-ray14, as downloaded; and the task on
it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contracts import CheckResult, TaskSpec, dataset, task
from bench.core.errors import DataError
from bench.data.faults import fault
from bench.data.notes import note, notes
from tasks.datasets._boxes import Box, box_results, checked_boxes, number
from tasks.datasets._checks import compare, dropped_results, file_results
from tasks.datasets._rendered import Rendered
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SPLITS = ("train", "test")
FINDINGS = (
    "Atelectasis",
    "Calcification",
    "Consolidation",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Fracture",
    "Mass",
    "Nodule",
    "Pneumothorax",
)
NIH_NAME = re.compile(r"(\d{8})_\d{3}")
"""A file name of ChestX-ray14: patient and follow-up."""
AGAIN = "Download it again."
PUBLISHED_COUNTS = {"images of train": 3001, "images of test": 542}


@dataset
class ChestXDet10(Rendered):
    """Frontal radiographs as PNG with boxes of ten findings, drawn by three radiologists; official
    split.

    A file named as in ChestX-ray14 tells its patient; one with a number alone counts as a patient
    of its own.
    """

    name = "chestxdet10"
    title = "ChestX-Det10: boxes of ten findings on ChestX-ray14 (Deepwise)"
    licence = "as on its page; images of NIH ChestX-ray14: no restriction, with attribution"
    citation = "Liu et al., ChestX-Det10, arXiv 2006.10550, 2020"
    how_to_get = (
        "https://github.com/Deepwise-AILab/ChestX-Det10-Dataset: put train.json, test.json and the "
        "unpacked train_data/ and test_data/ into $PLACE_BENCH_DATA/chestxdet10/."
    )
    folders = ("ChestX-Det10", "ChestX-Det10-Dataset", "chestx-det10")
    marker = ("train.json", "train_data")
    label_names = FINDINGS
    box_classes = FINDINGS
    demo = Demo(stream=33, as_original=400, more_test=340, test_share=0.25)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image; private columns: `boxes`, `lines` (the number of the image's
        entry, per box), `rows`, `columns`.

        Raise DataError naming file and entry for one without its three fields, an unknown finding,
        a box of other than four numbers, an image that occurs twice, and images without a file.
        """
        import pandas as pd

        from bench.data.boxes import image_shapes
        from tasks.datasets._files import UNLISTED

        parts = [_part(root, split) for split in SPLITS]
        index = pd.concat(parts, ignore_index=True)
        note(index, unmatched={UNLISTED: sum(notes(part).unmatched[UNLISTED] for part in parts)})
        shapes = image_shapes(index, root)
        rows = [height for height, _ in shapes]
        columns = [width for _, width in shapes]
        return index.assign(rows=rows, columns=columns)

    def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the boxes of one image, float32 [n, 5]; raise DataError naming file and entry for
        one that cannot be."""
        table = _file(root, row["path"].split("/")[0].removesuffix("_data"))
        return checked_boxes(row, root, table, len(FINDINGS))

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the number of images with the published ones, or a demo's with its own."""
        counts = {f"images of {split}": int((index["split"] == split).sum()) for split in SPLITS}
        return compare(root, counts, PUBLISHED_COUNTS)

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the counts, name boxes that cannot be, and look for every file."""
        index = self.index(root)
        return [
            *self.counts(index, root),
            *dropped_results(index),
            *box_results(self, index, root),
            *file_results(root, index["path"], self.how_to_get),
        ]


def _file(root: Path, split: str) -> Path:
    from bench.data.tables import find_table

    return find_table(root, f"{split}.json")


def _part(root: Path, split: str) -> pd.DataFrame:
    """Return one row per image of one split: labels, boxes and file."""
    import pandas as pd

    from bench.data.text import read_json
    from tasks.datasets._files import locate, scan

    path = _file(root, split)
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise DataError(f"file {path} is no list of images.", AGAIN)
    rows: dict[str, dict[str, Any]] = {}
    for line, entry in enumerate(entries, 1):
        where = f"file {path}, entry {line}"
        facts = entry if isinstance(entry, dict) else {}
        name = facts.get("file_name")
        try:
            row = _row(facts, line, where)
            if row["image_id"] in rows:
                raise DataError(f"{where}: image '{row['image_id']}' occurs twice.", AGAIN)
        except DataError as error:
            fault(error, Path(name).stem if isinstance(name, str) else "", path)
            continue
        rows[row["image_id"]] = row
    images = pd.DataFrame(list(rows.values())).assign(split=split)
    return locate(
        images,
        [f"{image}.png" for image in images["image_id"]],
        scan(root, [f"{split}_data"], ".png"),
        table=path,
        folder=root / f"{split}_data",
        how_to_get=ChestXDet10.how_to_get,
    )


def _row(facts: Mapping[str, Any], line: int, where: str) -> dict[str, Any]:
    """Return the columns of one entry; raise DataError for one that is none."""
    name = facts.get("file_name")
    if not isinstance(name, str) or not Path(name).stem:
        raise DataError(f"{where}: file_name is {str(name)[:40]!r}.", AGAIN)
    image = Path(name).stem
    findings = facts.get("syms")
    corners = facts.get("boxes")
    if not isinstance(findings, list) or not isinstance(corners, list):
        raise DataError(f"{where}, image '{image}': no lists 'syms' and 'boxes'.", AGAIN)
    if len(findings) != len(corners):
        raise DataError(
            f"{where}, image '{image}': {len(findings)} 'syms' and {len(corners)} 'boxes'.", AGAIN
        )
    boxes = [
        _box(finding, box, f"{where}, image '{image}'")
        for finding, box in zip(findings, corners, strict=True)
    ]
    patient = NIH_NAME.fullmatch(image)
    drawn = {FINDINGS[box[4]] for box in boxes}
    return {
        "image_id": image,
        "patient_id": patient.group(1) if patient else image,
        **{f"label:{finding}": int(finding in drawn) for finding in FINDINGS},
        "boxes": tuple(boxes),
        "lines": (line,) * len(boxes),
    }


def _box(finding: object, corners: object, where: str) -> Box:
    if finding not in FINDINGS:
        raise DataError(
            f"{where}: finding '{str(finding)[:40]}'.", f"Known: {', '.join(FINDINGS)}."
        )
    if not isinstance(corners, Sequence) or isinstance(corners, str) or len(corners) != 4:
        raise DataError(
            f"{where}: a box of {str(corners)[:60]}, four numbers were expected.", AGAIN
        )
    x1, y1, x2, y2 = (number(str(corner)) for corner in corners)
    return x1, y1, x2, y2, FINDINGS.index(str(finding))


task(
    TaskSpec(
        name="chestxdet10_ground",
        kind="grounding",
        dataset="chestxdet10",
        title="Where each of ten findings is, by its name (ChestX-Det10)",
        main_metric="shuffled_auc",
        groups=("grounding",),
        fractions=(1.0,),
        options={"source": "box"},
    )
)
