"""NIH ChestX-ray14 as downloaded; and the task on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import Finding, TaskSpec, dataset, task
from bench.errors import DataError
from tasks.datasets._checks import compare
from tasks.datasets._dicom import OLDEST
from tasks.datasets._rendered import Rendered

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
MRM_PARTS = {"train_1.txt": 0.01, "train_10.txt": 0.1}
NO_FINDING = "No Finding"
PUBLISHED = {
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
    folders = ("NIH_ChestX-ray", "nih-chest-xrays", "ChestX-ray14", "ChestXray-NIHCC", "NIH")
    marker = "Data_Entry_2017*.csv"
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
    demo_studies = 400

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image of the table; private columns: `mrm_split` and `mrm_part` where
        MRM's lists are in `mrm/`.

        Raise DataError naming file and line for an unknown finding, an image that stands twice, in
        no list or in both, and for images without a file.
        """
        from bench.data.headers import parse_age
        from bench.data.tables import find_table, read_table, require_unique
        from tasks.datasets._files import locate, scan

        table = find_table(root, *TABLES)
        rows = read_table(table, COLUMNS)
        require_unique(rows, "Image Index", table)
        names, age = rows["Image Index"], rows["Patient Age"].map(parse_age)
        folders = sorted(path.name for path in root.glob("images*") if path.is_dir())
        index = rows.assign(
            image_id=names,
            patient_id=rows["Patient ID"],
            path=locate(
                names.tolist(),
                scan(root, folders, ".png"),
                table,
                root / "images*",
                self.how_to_get,
            ),
            split=_official(root, names, table),
            view=rows["View Position"],
            sex=rows["Patient Gender"].where(rows["Patient Gender"].isin(["M", "F"]), ""),
            age=age.where(age <= OLDEST),
            **_labels(rows["Finding Labels"], table),
            **_mrm(root, names),
        )
        return index.drop(columns=list(rows.columns))

    def validate(self, root: Path) -> list[Finding]:
        """Compare images, patients, lists and findings with the published counts, or a demo's with
        its own."""
        index = self.index(root)
        labels = index[[f"label:{name}" for name in self.label_names]]
        found = {"images": len(index), "patients": index["patient_id"].nunique()}
        found |= {
            f"images of {name}": int((index["split"] == split).sum())
            for name, split in LISTS.items()
        }
        found |= {
            str(name).removeprefix("label:"): int(count) for name, count in labels.sum().items()
        }
        found[NO_FINDING] = int((labels.sum(axis=1) == 0).sum())
        findings = compare(root, found, PUBLISHED)
        unknown = int(index["age"].isna().sum())
        if unknown:
            findings.append(
                Finding(
                    "warning",
                    f"{unknown} images without an age of 0 to {OLDEST} years: it counts as "
                    "unknown.",
                )
            )
        return findings

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
        if fraction not in MRM_PARTS.values():
            raise DataError(
                f"BenchX has no list of {fraction:g} of NIH's training images.",
                "Use 0.01, 0.1 or 1.",
            )
        return train[train["mrm_part"] <= fraction]


def _require_mrm(index: pd.DataFrame) -> None:
    """Raise DataError where the index was read without MRM's lists."""
    if "mrm_split" not in index:
        raise DataError(
            "BenchX takes NIH's split and label fractions from the lists of MRM, which are "
            "not part of the download.",
            f"Put {', '.join([*MRM_LISTS, *MRM_PARTS])} from "
            f"https://github.com/RL4M/MRM-pytorch into {MRM_FOLDER}/ beside the "
            "table.",
        )


def _labels(findings: pd.Series, table: Path) -> dict[str, pd.Series]:
    """Return 0/1 columns from findings joined by `|`; raise DataError naming the line of an unknown
    one."""
    known = {*Nih.label_names, NO_FINDING}
    parts = findings.map(lambda text: [part.strip() for part in text.split("|")])
    for row, own in parts.items():
        wrong = [part for part in own if part not in known]
        if wrong or (NO_FINDING in own and len(own) > 1):
            message = f"table {table}, line {row + 2}: Finding Labels is '{findings[row][:60]}'."  # type: ignore[operator]
            raise DataError(
                message,
                f"Known, joined by |: {', '.join(sorted(known))}; '{NO_FINDING}' stands alone.",
            )
    return {
        f"label:{name}": parts.map(lambda own, name=name: int(name in own))
        for name in Nih.label_names
    }


def _read_list(path: Path) -> list[str]:
    """Return the first word of every line."""
    from bench.data.tables import read_text

    if not path.is_file():
        raise DataError(f"file {path} does not exist.", f"How to get it: {Nih.how_to_get}")
    return [line.split()[0] for line in read_text(path).splitlines() if line.strip()]


def _assigned(folder: Path, lists: Mapping[str, str]) -> dict[str, str]:
    """Return image -> split of some lists; raise DataError for an image that two of them name."""
    found: dict[str, str] = {}
    for name, split in lists.items():
        for image in _read_list(folder / name):
            if found.setdefault(image, split) != split:
                raise DataError(
                    f"list {folder / name}: image '{image}' is also in the list of {found[image]}.",
                    "Correct the lists.",
                )
    return found


def _official(root: Path, names: pd.Series, table: Path) -> pd.Series:
    split = names.map(_assigned(root, LISTS))
    missing = names[split.isna()]
    if len(missing):
        message = (
            f"{len(missing)} images of {table} are in neither {' nor '.join(LISTS)}, e.g. "
            f"'{missing.iloc[0]}'."
        )
        raise DataError(message, "Download the lists again.")
    return split


def _mrm(root: Path, names: pd.Series) -> dict[str, pd.Series]:
    """Return MRM's split and, of its training images, the smallest fraction they stand in (nothing
    without lists)."""
    folder = root / MRM_FOLDER
    if not folder.is_dir():
        return {}
    parts: dict[str, float] = {}
    for name, fraction in MRM_PARTS.items():
        for image in _read_list(folder / name):
            parts.setdefault(image, fraction)
    return {
        "mrm_split": names.map(_assigned(folder, MRM_LISTS)).fillna(""),
        "mrm_part": names.map(parts).fillna(1.0),
    }


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
