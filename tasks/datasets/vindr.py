"""VinDr-CXR 1.0.0 as downloaded from PhysioNet; and the tasks on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contracts import Finding, TaskSpec, dataset, task
from bench.errors import DataError
from tasks.datasets._boxes import Box, box_findings, checked_boxes, filled_mask, merge_boxes, number
from tasks.datasets._checks import compare
from tasks.datasets._rendered import Rendered

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SPLITS = ("train", "test")
BOXES, LABELS = "annotations/annotations_{}.csv", "annotations/image_labels_{}.csv"
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
PUBLISHED = {
    "images of train": 15000,
    "images of test": 3000,
    "readings of train": 45000,
    "readings of test": 3000,
}


@dataset
class Vindr(Rendered):
    """Frontal radiographs as DICOM; in train three readers per image, in test a consensus; 14
    findings with boxes.

    An image has a finding where any of its readers says so. The boxes that readers of one image
    drew of one finding are merged: a box joins the group whose mean box it overlaps at an
    intersection over union of 0.4 or more, and a group becomes its mean box; one reader's box alone
    is kept. The other 8 local and 6 global classes are left out. The download has no patient ids:
    an image counts as a patient of its own. Masks are the filled boxes of all findings together.
    """

    name = "vindr"
    title = "VinDr-CXR 1.0.0 (PhysioNet)"
    licence = "PhysioNet Credentialed Health Data License 1.5.0: no redistribution"
    citation = "Nguyen et al., VinDr-CXR, Scientific Data 2022; PhysioNet 2021"
    how_to_get = (
        "https://physionet.org/content/vindr-cxr/1.0.0/: put train/, test/ and annotations/ into "
        "$PLACE_BENCH_DATA/vindr/."
    )
    folders = ("vindr-cxr", "vindr-cxr/1.0.0", "VinDr-CXR", "VinDr_CXR")
    marker = "annotations/image_labels_train.csv"
    label_names = FINDINGS
    box_classes = FINDINGS
    mask_classes = ("finding",)
    demo_studies = 400

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image; private columns: `boxes`, `lines`, `readers` (per box),
        `any_finding`, `rows`, `columns`.

        Raise DataError naming table and line for an unknown class, a label other than 0 and 1, an
        image that a reader read twice, a box of no finding, and for images without labels or
        without a file.
        """
        import pandas as pd

        from tasks.datasets._dicom import header_columns
        from tasks.datasets._files import locate, scan

        parts = []
        for split in SPLITS:
            part = _labelled(root, split)
            names = [f"{image}.dicom" for image in part["image_id"]]
            files = scan(root, [split], ".dicom")
            part["path"] = locate(
                names, files, root / LABELS.format(split), root / split, self.how_to_get
            )
            parts.append(part.assign(split=split, **_boxes(root, split, part["image_id"])))
        index = pd.concat(parts, ignore_index=True)
        _check_apart(index, root)
        headers = header_columns(root, index["path"].tolist(), "vindr-headers-v1")
        return index.assign(
            patient_id=index["image_id"],
            **{name: headers[name] for name in ("sex", "age", "rows", "columns")},
        )

    def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the merged boxes of one image, float32 [n, 5]; raise DataError naming table and
        line for one that cannot be."""
        import numpy as np

        folder = row["path"].split("/")[0]  # `split` may say val by now
        own = checked_boxes(row, root, root / BOXES.format(folder), len(FINDINGS))
        if folder == "test":
            return own
        merged = merge_boxes(
            list(zip((tuple(box) for box in own.tolist()), row["readers"], strict=True))
        )
        return np.array(merged, np.float32).reshape(-1, 5)

    def mask(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the union of the merged boxes of all findings, filled, uint8 [1, H, W]."""
        boxes = self.boxes(row, root)
        boxes[:, 4] = 0
        return filled_mask(row, root, boxes)

    def validate(self, root: Path) -> list[Finding]:
        """Compare images and readings with the published counts, or a demo's with its own."""
        index = self.index(root)
        found = {f"images of {split}": int((index["split"] == split).sum()) for split in SPLITS}
        found |= {
            f"readings of {split}": int(index.loc[index["split"] == split, "readings"].sum())
            for split in SPLITS
        }
        return [*compare(root, found, PUBLISHED), *box_findings(self, index, root)]

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return BenchX's split: of the official train, as many images as test has are val,
        stratified on any finding."""
        from tasks.datasets._reference_splits import stratified_validation

        return stratified_validation(index, "any_finding") if protocol == "benchx" else None

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


def _labelled(root: Path, split: str) -> pd.DataFrame:
    """Return one row per image in the order of the table: its labels (any reader's), and by how
    many it was read."""
    from bench.data.tables import find_table, read_table
    from tasks.datasets._labels import read_labels

    table = find_table(root, LABELS.format(split))
    rows = read_table(table, ("image_id", *FINDINGS))
    labels = read_labels(rows, FINDINGS, table)
    wrong = labels.index[~labels.isin([0, 1]).all(axis=1)]
    if len(wrong):
        raise DataError(
            f"table {table}, line {wrong[0] + 2}: a label is neither 0 nor 1.", "Download it again."
        )
    keys = ["image_id", "rad_id"] if "rad_id" in rows else ["image_id"]
    twice = rows.index[rows.duplicated(keys)]
    if len(twice):
        raise DataError(
            f"table {table}, line {twice[0] + 2}: image '{rows.at[twice[0], 'image_id']}' "
            "stands twice.",
            "Download it again.",
        )
    images = labels.groupby(rows["image_id"], sort=False)
    return images.max().astype(int).assign(readings=images.size()).reset_index()


def _boxes(root: Path, split: str, images: pd.Series) -> dict[str, list[Any]]:
    """Return columns `boxes`, `lines`, `readers` and `any_finding` for the images of one split."""
    from bench.data.tables import find_table, read_table

    table = find_table(root, BOXES.format(split))
    rows = read_table(table, ("image_id", "class_name", *CORNERS))
    readers = rows["rad_id"] if "rad_id" in rows else rows["class_name"].map(lambda _: "consensus")
    found: dict[str, list[tuple[Box, int, str]]] = {image: [] for image in images}
    seen: set[str] = set()
    columns = (rows[name] for name in ("image_id", "class_name", *CORNERS))
    for line, (reader, image, name, *corners) in enumerate(
        zip(readers, *columns, strict=True), start=2
    ):
        where = f"table {table}, line {line}, image '{image}'"
        _check_row(where, name, corners, image in found)
        seen |= {image} if name != NO_FINDING else set()
        if name in FINDINGS:
            x1, y1, x2, y2 = (number(corner) for corner in corners)
            found[image].append(((x1, y1, x2, y2, FINDINGS.index(name)), line, reader))
    parts: dict[str, list[Any]] = {
        name: [tuple(each[place] for each in found[image]) for image in images]
        for place, name in enumerate(("boxes", "lines", "readers"))
    }
    return {**parts, "any_finding": [int(image in seen) for image in images]}


def _check_row(where: str, name: str, corners: list[str], labelled: bool) -> None:
    if name not in (*FINDINGS, *OTHERS, NO_FINDING):
        raise DataError(
            f"{where}: class_name is '{name[:40]}'.",
            f"Known: {', '.join((*FINDINGS, *OTHERS, NO_FINDING))}.",
        )
    if name == NO_FINDING and any(corners):
        raise DataError(f"{where}: '{NO_FINDING}' with a box.", "Download it again.")
    if not labelled:
        raise DataError(
            f"{where}: the image is not in the table of image labels.",
            "Download both tables again.",
        )


def _check_apart(index: pd.DataFrame, root: Path) -> None:
    both = index["image_id"][index["image_id"].duplicated()]
    if len(both):
        raise DataError(
            f"image '{both.iloc[0]}' is in train and in test of {root / 'annotations'}.",
            "Download the tables again.",
        )


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
        main_metric="dice_per_image",
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
