"""VinDr-CXR 1.0.0 as downloaded from PhysioNet, or as Kaggle has it; and the tasks on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contracts import CheckResult, TaskSpec, dataset, task
from bench.core.errors import DataError
from bench.data.faults import fault
from bench.data.notes import note, notes
from tasks.datasets._boxes import Box, box_results, checked_boxes, filled_mask, merge_boxes, number
from tasks.datasets._checks import compare, dropped_results, file_results
from tasks.datasets._rendered import Rendered
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SPLITS = ("train", "test")
BOXES = "annotations/annotations_{}.csv"
LABELS = "annotations/image_labels_{}.csv"
KAGGLE = "train.csv"
"""Kaggle's one table, of boxes, findings and readers at once."""
BOXLESS = "readings and findings without a row in the table of boxes"
CONSENSUS = "consensus"
"""The reader of a table that names none."""
CORNERS = ("x_min", "y_min", "x_max", "y_max")
NO_FINDING = "No finding"
FINDINGS = (
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Consolidation",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Nodule/Mass",
    "Other lesion",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
)
OTHERS = (
    "Clavicle fracture",
    "Edema",
    "Emphysema",
    "Enlarged PA",
    "Lung cavity",
    "Lung cyst",
    "Mediastinal shift",
    "Rib fracture",
    "COPD",
    "Lung tumor",
    "Pneumonia",
    "Tuberculosis",
    "Other diseases",
    "Other disease",
)
PUBLISHED_COUNTS = {
    "images of train": 15000,
    "images of test": 3000,
    "readings of train": 45000,
    "readings of test": 3000,
}
PUBLISHED_COUNTS_KAGGLE = {"images": 15000, "readings": 45000, "rows": 67914}


@dataset
class Vindr(Rendered):
    """Frontal radiographs as DICOM; in train three readers per image, in test a consensus; 14
    findings with boxes.

    An image has a finding where any of its readers says so. The boxes that readers of one image
    drew of one finding are merged: a box joins the group whose mean box it overlaps at an
    intersection over union of 0.4 or more, and a group becomes its mean box; one reader's box alone
    is kept. The other 8 local and 6 global classes are left out. The download has no patient ids:
    an image counts as a patient of its own. Masks are the filled boxes of all findings together.
    Kaggle's release (`train.csv` and `train/`) is PhysioNet's train without a split: the labels of
    its test images were never given out, and its ids are not PhysioNet's.
    """

    name = "vindr"
    title = "VinDr-CXR 1.0.0 (PhysioNet)"
    licence = "PhysioNet Credentialed Health Data License 1.5.0: no redistribution"
    citation = "Nguyen et al., VinDr-CXR, Scientific Data 2022; PhysioNet 2021"
    how_to_get = (
        "https://physionet.org/content/vindr-cxr/1.0.0/: put train/, test/ and annotations/, or of "
        "https://www.kaggle.com/c/vinbigdata-chest-xray-abnormalities-detection train/ and "
        "train.csv, into $PLACE_BENCH_DATA/vindr/."
    )
    folders = (
        "vindr-cxr",
        "vindr-cxr/1.0.0",
        "VinDr-CXR",
        "VinDr_CXR",
        "vinbigdata-chest-xray-abnormalities-detection",
    )
    marker = (LABELS.format("train"), "train/*.dicom")
    label_names = FINDINGS
    box_classes = FINDINGS
    mask_classes = ("finding",)
    demo = Demo(stream=13, as_original=400, more_test=340, test_share=0.25, changes=1)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image; private columns: `boxes`, `lines`, `readers` (per box),
        `any_finding`, `rows`, `columns`.

        Raise DataError naming table and line for an unknown class, a label other than 0 and 1, an
        image that a reader read twice, a box of no finding, and for images without labels or
        without a file.
        """
        import pandas as pd

        from tasks.datasets._dicom import header_columns
        from tasks.datasets._files import UNLISTED

        parts = [_part(root, split) for split in _splits(root)]
        index = pd.concat(parts, ignore_index=True)
        _check_apart(index, root)
        noted = [notes(images) for images in parts]
        note(
            index,
            unmatched={
                count_name: sum(counts.unmatched[count_name] for counts in noted)
                for count_name in (UNLISTED, BOXLESS)
            },
            facts={"rows": sum(counts.facts["rows"] for counts in noted)},
        )
        headers = header_columns(root, index["path"].tolist(), "vindr-headers-v1")
        return index.assign(
            patient_id=index["image_id"],
            **{name: headers[name] for name in ("sex", "age", "rows", "columns")},
        )

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare images and readings with the published counts, or a demo's with its own."""
        if _is_kaggle(root):
            counts = {"images": len(index), "readings": int(index["readings"].sum())}
            counts["rows"] = notes(index).facts["rows"]
            return compare(root, counts, PUBLISHED_COUNTS_KAGGLE, "published by Kaggle")
        parts = {split: index[index["split"] == split] for split in SPLITS}
        counts = {f"images of {split}": len(images) for split, images in parts.items()}
        counts |= {
            f"readings of {split}": int(images["readings"].sum()) for split, images in parts.items()
        }
        return compare(root, counts, PUBLISHED_COUNTS)

    def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the merged boxes of one image, float32 [n, 5]; raise DataError naming table and
        line for one that cannot be."""
        import numpy as np

        folder = row["path"].split("/")[0]  # `split` may say val by now
        drawn = checked_boxes(row, root, _box_table(root, folder), len(FINDINGS))
        if folder == "test":
            return drawn
        merged = merge_boxes(
            list(zip((tuple(box) for box in drawn.tolist()), row["readers"], strict=True))
        )
        return np.array(merged, np.float32).reshape(-1, 5)

    def mask(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the union of the merged boxes of all findings, filled, uint8 [1, H, W]."""
        boxes = self.boxes(row, root)
        boxes[:, 4] = 0
        return filled_mask(row, root, boxes)

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the counts, name boxes that cannot be, and look for every file."""
        index = self.index(root)
        return [
            *self.counts(index, root),
            *dropped_results(index),
            *box_results(self, index, root),
            *file_results(root, index["path"], self.how_to_get),
        ]

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return BenchX's split: of the official train, as many images as test has are val,
        stratified on any finding.

        Raise DataError for Kaggle's release: its strata have the sizes of BenchX's lists, but which
        images fall into val agrees with them no better than by chance.
        """
        from tasks.datasets._reference_splits import stratified_validation

        if protocol != "benchx":
            return None
        if not index["split"].eq("test").any():
            raise DataError(
                "BenchX's split of VinDr-CXR cannot be made from Kaggle's release.",
                "Use PhysioNet's release, lists of your own, or --protocol default.",
            )
        return stratified_validation(index, "any_finding")

    def reference_subset(
        self, train: pd.DataFrame, protocol: str, fraction: float, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return BenchX's training list of one label fraction."""
        from tasks.datasets._reference_splits import stratified_subset

        return (
            stratified_subset(train, fraction, train["any_finding"].to_numpy())
            if protocol == "benchx"
            else None
        )


def _is_kaggle(root: Path) -> bool:
    """Say whether a folder holds Kaggle's release."""
    from bench.data.tables import find_file

    return find_file(root, LABELS.format("train")) is None and find_file(root, KAGGLE) is not None


def _splits(root: Path) -> tuple[str, ...]:
    return ("train",) if _is_kaggle(root) else SPLITS


def _box_table(root: Path, split: str) -> Path:
    from bench.data.tables import find_table

    return find_table(root, KAGGLE if _is_kaggle(root) else BOXES.format(split))


def _part(root: Path, split: str) -> pd.DataFrame:
    """Return one row per image of one split: labels, how often it was read, boxes and file."""
    from bench.data.tables import find_table
    from tasks.datasets._files import locate, scan

    kaggle = _is_kaggle(root)
    statements = _annotations(_box_table(root, split)) if kaggle else _labels(root, split)
    images = _per_image(statements)
    labels = find_table(root, KAGGLE if kaggle else LABELS.format(split))
    located = locate(
        images,
        [f"{image}.dicom" for image in images["image_id"]],
        scan(root, [split], ".dicom"),
        table=labels,
        folder=root / split,
        how_to_get=Vindr.how_to_get,
    )
    table = _box_table(root, split)
    rows = _annotations(table)
    boxes = _boxes(rows, table, labels, images["image_id"], located["image_id"])
    described = located.assign(split="" if kaggle else split, **boxes)
    boxless = len(_statements(statements) - _statements(rows))
    note(
        described,
        unmatched={**notes(described).unmatched, BOXLESS: boxless},
        facts={"rows": len(rows)},
    )
    return described


def _labels(root: Path, split: str) -> pd.DataFrame:
    """Return a row per reading and finding of a table of labels: `image_id`, `reader`, `class_name`
    ("" for none of `FINDINGS`)."""
    import numpy as np
    import pandas as pd

    from bench.data.tables import check_rows, find_table, read_table, require_filled
    from tasks.datasets._labels import read_labels

    table = find_table(root, LABELS.format(split))
    rows = read_table(table, ("image_id", *FINDINGS), optional=("rad_id",), key="image_id")
    rows = require_filled(rows, table, "image_id")
    rows = rows.assign(reader=rows.get("rad_id", CONSENSUS))
    rows = check_rows(
        rows,
        rows.duplicated(["image_id", "reader"]),
        table,
        lambda row: f"image '{row['image_id']}' occurs twice",
        key="image_id",
    )
    labels = read_labels(rows, FINDINGS, table, key="image_id")
    wrong = ~labels.isin([0, 1]).all(axis=1)
    rows = check_rows(
        rows.loc[labels.index], wrong, table, lambda _: "a label is neither 0 nor 1", key="image_id"
    )
    keys = rows[["image_id", "reader"]]
    places, findings = np.nonzero(labels.loc[rows.index].to_numpy())
    stated = keys.iloc[places].assign(class_name=np.array(FINDINGS)[findings])
    return pd.concat([keys.assign(class_name=""), stated], ignore_index=True)


def _per_image(said: pd.DataFrame) -> pd.DataFrame:
    """Return one row per image, in order of first appearance: its labels (any reader's), and by how
    many it was read."""
    import pandas as pd

    groups = said.groupby("image_id", sort=False)
    named = groups["class_name"].agg(set)
    labels = {
        f"label:{name}": named.map(lambda names, name=name: int(name in names)) for name in FINDINGS
    }
    return pd.DataFrame(labels).assign(readings=groups["reader"].nunique()).reset_index()


def _statements(said: pd.DataFrame) -> set[tuple[str, str, str]]:
    """Return (image, reader, finding) of every finding, and (image, reader, "") of every
    reading."""
    findings = said[said["class_name"].isin(FINDINGS)]
    columns = ["image_id", "reader", "class_name"]
    both = (findings[columns], said.assign(class_name="")[columns])
    return {row for rows in both for row in rows.itertuples(index=False, name=None)}


def _annotations(table: Path) -> pd.DataFrame:
    """Return the rows of a table of boxes: image, class, reader and corners."""
    from bench.data.tables import read_table, require_filled

    columns = ("image_id", "class_name", *CORNERS)
    rows = read_table(table, columns, optional=("rad_id",), key="image_id")
    rows = require_filled(rows, table, "image_id")
    rows = rows.assign(reader=rows.get("rad_id", CONSENSUS))
    return rows[["image_id", "class_name", "reader", *CORNERS]]


def _boxes(
    rows: pd.DataFrame, table: Path, labels: Path, labelled: pd.Series, images: pd.Series
) -> dict[str, list[Any]]:
    """Return columns `boxes`, `lines`, `readers` and `any_finding` for `images` of one split;
    `labelled` are those of its table of `labels`."""
    boxes_of: dict[str, list[tuple[Box, int, str]]] = {image: [] for image in labelled}
    seen: set[str] = set()
    for line, image, name, reader, *corners in rows.itertuples(name=None):
        where = f"table {table}, line {line}, image '{image}'"
        try:
            _check_row(where, name, corners)
            if image not in boxes_of:
                message = f"{where}: the image is not in {labels.name}."
                raise DataError(message, "Download both tables again.")
        except DataError as error:
            fault(error, image, table)
            continue
        seen |= {image} if name != NO_FINDING else set()
        if name in FINDINGS:
            x1, y1, x2, y2 = (number(corner) for corner in corners)
            boxes_of[image].append(((x1, y1, x2, y2, FINDINGS.index(name)), line, reader))
    columns: dict[str, list[Any]] = {"boxes": [], "lines": [], "readers": [], "any_finding": []}
    for image in images:
        columns["boxes"].append(tuple(box for box, _, _ in boxes_of[image]))
        columns["lines"].append(tuple(line for _, line, _ in boxes_of[image]))
        columns["readers"].append(tuple(reader for _, _, reader in boxes_of[image]))
        columns["any_finding"].append(int(image in seen))
    return columns


def _check_row(where: str, name: str, corners: list[str]) -> None:
    if name not in (*FINDINGS, *OTHERS, NO_FINDING):
        raise DataError(
            f"{where}: class_name is '{name[:40]}'.",
            f"Known: {', '.join((*FINDINGS, *OTHERS, NO_FINDING))}.",
        )
    if name == NO_FINDING and any(corners):
        raise DataError(f"{where}: '{NO_FINDING}' with a box.", "Download it again.")


def _check_apart(index: pd.DataFrame, root: Path) -> None:
    """Make an image that stands in train and in test a fault."""
    for image in index["image_id"][index["image_id"].duplicated()]:
        message = f"image '{image}' is in train and in test of {root / 'annotations'}."
        fault(DataError(message, "Download the tables again."), image, root / "annotations")


task(
    TaskSpec(
        name="vindr_cls",
        kind="classification",
        dataset="vindr",
        title="14 findings (VinDr-CXR)",
        main_metric="auroc",
        groups=("classification",),
        options={"mode": "multilabel"},
    )
)
task(
    TaskSpec(
        name="vindr_seg",
        kind="segmentation",
        dataset="vindr",
        title="Where any of 14 findings is, filled boxes (VinDr-CXR)",
        main_metric="dice_global",
        groups=("segmentation",),
    )
)
task(
    TaskSpec(
        name="vindr_det",
        kind="detection",
        dataset="vindr",
        title="Detection of 14 findings (VinDr-CXR)",
        main_metric="ap40",
        groups=("detection",),
    )
)
task(
    TaskSpec(
        name="vindr_ground",
        kind="grounding",
        dataset="vindr",
        title="Where each of 14 findings is, by its name (VinDr-CXR)",
        main_metric="shuffled_auc",
        groups=("grounding",),
        fractions=(1.0,),
        options={"source": "box"},
    )
)
