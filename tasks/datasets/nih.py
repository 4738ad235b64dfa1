"""NIH ChestX-ray14 as downloaded; and the task on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, TaskSpec, dataset, task
from bench.core.errors import DataError
from bench.data.faults import fault
from bench.data.notes import note, notes
from tasks.datasets._checks import compare, dropped_results, file_results
from tasks.datasets._dicom import OLDEST
from tasks.datasets._rendered import Rendered
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
COLUMNS = (
    "Image Index",
    "Finding Labels",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
)
LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
MRM_FOLDER = "mrm"
MRM_LISTS = {"train_list.txt": "train", "val_list.txt": "val", "test_list.txt": "test"}
MRM_PARTS = {0.01: "train_1.txt", 0.1: "train_10.txt"}
"""Label fraction -> list; the lists do not nest."""
NO_FINDING = "No Finding"
PUBLISHED_COUNTS = {
    "images": 112120,
    "patients": 30805,
    "images of train_val_list.txt": 86524,
    "images of test_list.txt": 25596,
    "Atelectasis": 11559,
    "Cardiomegaly": 2776,
    "Consolidation": 4667,
    "Edema": 2303,
    "Effusion": 13317,
    "Emphysema": 2516,
    "Fibrosis": 1686,
    "Hernia": 227,
    "Infiltration": 19894,
    "Mass": 5782,
    "Nodule": 6331,
    "Pleural_Thickening": 3385,
    "Pneumonia": 1431,
    "Pneumothorax": 5302,
    NO_FINDING: 60361,
}


@dataset
class Nih(Rendered):
    """Frontal radiographs as PNG with 14 findings mined from the reports; official test list,
    validation drawn by patient.

    An age above 120 years (the table has some) counts as unknown.
    """

    name = "nih"
    title = "NIH ChestX-ray14"
    licence = "no restriction on use; NIH asks for its link, the citation and an acknowledgement"
    citation = "Wang et al., ChestX-ray8, CVPR 2017"
    how_to_get = (
        "https://nihcc.app.box.com/v/ChestXray-NIHCC or "
        "https://www.kaggle.com/datasets/nih-chest-xrays/data: put the folders "
        "images_001/ to images_012/ (or images/), Data_Entry_2017_v2020.csv (or "
        "Data_Entry_2017.csv), train_val_list.txt and "
        "test_list.txt into $PLACE_BENCH_DATA/nih/."
    )
    folders: tuple[str, ...] = (
        "NIH_ChestX-ray",
        "nih-chest-xrays",
        "ChestX-ray14",
        "ChestXray-NIHCC",
        "NIH",
    )
    marker: tuple[str, ...] = TABLES
    label_names = (
        "Atelectasis",
        "Cardiomegaly",
        "Consolidation",
        "Edema",
        "Effusion",
        "Emphysema",
        "Fibrosis",
        "Hernia",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pleural_Thickening",
        "Pneumonia",
        "Pneumothorax",
    )
    demo = Demo(stream=12, as_original=400, more_test=510, test_share=0.25, changes=1)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image of the table; private columns, where MRM's lists are in `mrm/`:
        `mrm_split`, and of each list of a label fraction whether it names the image.

        Raise DataError naming file and line for an unknown finding, an image that occurs twice, in
        no list or in both, and for images without a file.
        """
        from bench.data.headers import parse_age
        from bench.data.tables import find_table, read_table, require_filled, require_unique
        from bench.data.tree import entries
        from tasks.datasets._files import locate, scan

        table = find_table(root, *TABLES)
        rows = read_table(table, COLUMNS, key="Image Index")
        rows = require_filled(rows, table, "Image Index", "Patient ID", key="Image Index")
        rows = _with_known_findings(require_unique(rows, "Image Index", table), table)
        folders = [name for name in sorted(entries(root)) if name.startswith("images")]
        files = scan(root, folders, ".png")
        official = _assigned(root, LISTS)
        without_row = len(set(official) - set(rows["Image Index"]))
        images = locate(
            rows.assign(image_id=rows["Image Index"]),
            rows["Image Index"].tolist(),
            files,
            table=table,
            folder=root / "images*",
            how_to_get=self.how_to_get,
        )
        unmatched = notes(images).unmatched
        images = _in_a_list(images, official, table)
        age = images["Patient Age"].map(parse_age)
        index = images.assign(
            patient_id=images["Patient ID"],
            split=images["image_id"].map(official),
            view=images["View Position"],
            sex=images["Patient Gender"].where(images["Patient Gender"].isin(["M", "F"]), ""),
            age=age.where(age <= OLDEST),
            **_labels(images["Finding Labels"]),
            **_mrm(root, images["image_id"]),
        )
        stray = {"images of the lists that are not in the table": without_row}
        note(index, unmatched={**unmatched, **stray})
        return index.drop(columns=list(COLUMNS)).reset_index(drop=True)

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare images, patients, lists and findings with the published counts, or a demo's with
        its own."""
        return compare(root, self.counted(index), PUBLISHED_COUNTS)

    def counted(self, index: pd.DataFrame) -> dict[str, int]:
        """Return the numbers of images, patients, images of the lists, and of each finding."""
        labels = index[[f"label:{name}" for name in self.label_names]]
        counts = {"images": len(index), "patients": index["patient_id"].nunique()}
        for name, split in LISTS.items():
            counts[f"images of {name}"] = int((index["split"] == split).sum())
        for name, count in labels.sum().items():
            counts[str(name).removeprefix("label:")] = int(count)
        counts[NO_FINDING] = int((labels.sum(axis=1) == 0).sum())
        return counts

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the counts, say how many ages are unknown, and look for every file."""
        index = self.index(root)
        results = [*self.counts(index, root), *dropped_results(index)]
        unknown = int(index["age"].isna().sum())
        if unknown:
            results.append(
                CheckResult(
                    "warning",
                    f"{unknown} images without an age of 0 to {OLDEST} years: it counts as "
                    "unknown.",
                )
            )
        return results + file_results(root, index["path"], self.how_to_get)

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return BenchX's split, which is that of MRM's lists; raise DataError where they are not
        there."""
        if protocol != "benchx":
            return None
        _require_mrm(index)
        return index[index["mrm_split"] != ""].assign(split=index["mrm_split"])

    def reference_subset(
        self, train: pd.DataFrame, protocol: str, fraction: float, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return MRM's training lists of 1 % and 10 % for BenchX; raise DataError without them, and
        for another fraction."""
        if protocol != "benchx" or fraction == 1:
            return None
        _require_mrm(train)
        if fraction not in MRM_PARTS:
            raise DataError(
                f"BenchX has no list of {fraction:g} of NIH's training images.",
                "Use 0.01, 0.1 or 1.",
            )
        return train[train[MRM_PARTS[fraction]]]


def _require_mrm(index: pd.DataFrame) -> None:
    """Raise DataError where the index was read without MRM's lists."""
    if "mrm_split" not in index:
        raise DataError(
            "BenchX takes NIH's split and label fractions from the lists of MRM, which are "
            "not part of the download.",
            f"Put {', '.join([*MRM_LISTS, *MRM_PARTS.values()])} from "
            f"https://github.com/RL4M/MRM-pytorch into {MRM_FOLDER}/ beside the "
            "table.",
        )


def _with_known_findings(rows: pd.DataFrame, table: Path) -> pd.DataFrame:
    """Return the rows whose findings are known; another one is a fault."""
    from bench.data.tables import check_rows

    findings_known = {*Nih.label_names, NO_FINDING}
    findings = rows["Finding Labels"].map(_parts)
    wrong = findings.map(lambda names: not findings_known.issuperset(names) or _contradicts(names))
    return check_rows(
        rows,
        wrong.astype(bool),
        table,
        lambda row: f"Finding Labels is '{row['Finding Labels'][:60]}'",
        f"Known, joined by |: {', '.join(sorted(findings_known))}; '{NO_FINDING}' stands alone.",
        key="Image Index",
    )


def _parts(text: str) -> list[str]:
    return [name.strip() for name in text.split("|")]


def _contradicts(names: list[str]) -> bool:
    return NO_FINDING in names and len(names) > 1


def _labels(findings: pd.Series) -> dict[str, pd.Series]:
    """Return 0/1 columns from findings joined by `|`."""
    parts = findings.map(_parts)
    return {
        f"label:{name}": parts.map(lambda names, name=name: int(name in names))
        for name in Nih.label_names
    }


def _read_list(path: Path) -> list[str]:
    """Return the first word of every line."""
    from bench.data.text import read_lines

    if not path.exists():
        raise DataError(f"file {path} does not exist.", f"How to get it: {Nih.how_to_get}")
    return [line.split()[0] for _, line in read_lines(path)]


def _assigned(folder: Path, lists: Mapping[str, str]) -> dict[str, str]:
    """Return image -> split of some lists; an image that two of them name is a fault."""
    splits: dict[str, str] = {}
    for name, split in lists.items():
        for image in _read_list(folder / name):
            first = splits.setdefault(image, split)
            if first != split:
                message = f"list {folder / name}: image '{image}' is also in the list of {first}."
                fault(DataError(message, "Correct the lists."), image, folder / name)
    return splits


def _in_a_list(rows: pd.DataFrame, official: Mapping[str, str], table: Path) -> pd.DataFrame:
    """Return the rows whose image is in one of the official lists; another one is a fault."""
    listed = rows["image_id"].isin(official.keys())
    for image in rows.loc[~listed, "image_id"]:
        message = (
            f"{int((~listed).sum())} images of {table} are in neither {' nor '.join(LISTS)}, e.g. "
            f"'{image}'."
        )
        fault(DataError(message, "Download the lists again."), image, table)
    return rows[listed]


def _mrm(root: Path, images: pd.Series) -> dict[str, pd.Series]:
    """Return MRM's split, and by list of a label fraction whether it names an image (nothing
    without lists)."""
    folder = root / MRM_FOLDER
    if not folder.is_dir():
        return {}
    named = {name: images.isin(_read_list(folder / name)) for name in MRM_PARTS.values()}
    return {"mrm_split": images.map(_assigned(folder, MRM_LISTS)).fillna(""), **named}


task(
    TaskSpec(
        name="nih_cls",
        kind="classification",
        dataset="nih",
        title="14 findings (NIH ChestX-ray14)",
        main_metric="auroc",
        groups=("classification",),
        options={"mode": "multilabel"},
    )
)
