"""CheXpert v1.0 as downloaded: its two tables, the reports of CheXpert Plus, and the split of MGCA
and GLoRIA."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import DataError
from tasks.datasets._exclusive import FIVE, draw

if TYPE_CHECKING:
    import pandas as pd

LABELS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
UNCERTAIN = {
    "Atelectasis": "ones",
    "Cardiomegaly": "zeros",
    "Consolidation": "zeros",
    "Edema": "ones",
    "Pleural Effusion": "ones",
}
"""MGCA and GLoRIA (PROTOCOLS.md 1.1)."""
FRONTAL = ("PA", "AP", "frontal")
FOLDERS = (
    "CheXpert-v1.0-small",
    "CheXpert-v1.0",
    "chexpert/CheXpert-v1.0-small",
    "chexpert/CheXpert-v1.0",
    "CheXpert",
)
MARKER = "train/patient*"
SPLITS = {"train.csv": "train", "valid.csv": "test"}
COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS)
PLUS = "df_chexpert_plus_240401.csv"
VALIDATION = 5000


def read_split(root: Path, name: str) -> pd.DataFrame:
    """Return one row per image of `train.csv` or `valid.csv`, in file order, with all 14 labels.

    Raise DataError for a missing column, an image that stands twice, or a value that is no label.
    """
    import pandas as pd

    from bench.data.tables import find_table, read_table, require_unique
    from tasks.datasets._labels import read_labels

    path = find_table(root, name)
    table = read_table(path, COLUMNS)
    require_unique(table, "Path", path)
    parts = (
        table["Path"].str.split("/", n=1).str[-1]
    )  # the first element is the name of the dataset's folder
    found = parts.str.extract(
        r"^(?P<folder>\w+)/(?P<patient>patient\d+)/(?P<study>study\d+)/\w+\.jpg$"
    )
    wrong = found.index[found["patient"].isna()]
    if len(wrong):
        raise DataError(
            f"table {path}, line {wrong[0] + 2}: Path '{table.at[wrong[0], 'Path']}' is not "
            "that of an image."
        )
    images = pd.DataFrame(
        {"image_id": parts.str.removesuffix(".jpg"), "patient_id": found["patient"], "path": parts}
    )
    images = images.assign(
        study_id=found["patient"] + "/" + found["study"],
        split=SPLITS[name],
        view=_views(table, path),
    )
    images = images.assign(
        sex=table["Sex"].map({"Male": "M", "Female": "F"}).fillna(""), age=_ages(table, path)
    )
    return images.join(read_labels(table, LABELS, path))


def _views(table: pd.DataFrame, path: Path) -> pd.Series:
    """Return PA, AP or `frontal` (projection not stated) of frontal images, LL of lateral ones."""
    frontal = table["Frontal/Lateral"]
    wrong = table.index[~frontal.isin(["Frontal", "Lateral"])]
    if len(wrong):
        raise DataError(
            f"table {path}, line {wrong[0] + 2}: Frontal/Lateral is '{frontal[wrong[0]]}'."
        )
    projection = table["AP/PA"].where(table["AP/PA"].isin(["AP", "PA"]), "frontal")
    return projection.where(frontal == "Frontal", "LL")


def _ages(table: pd.DataFrame, path: Path) -> pd.Series:
    import pandas as pd

    ages = pd.to_numeric(table["Age"].replace("", None), errors="coerce")
    wrong = table.index[ages.isna() & (table["Age"] != "")]
    if len(wrong):
        raise DataError(f"table {path}, line {wrong[0] + 2}: Age is '{table.at[wrong[0], 'Age']}'.")
    return ages.astype(float)


def read_reports(root: Path, images: pd.DataFrame) -> pd.DataFrame:
    """Return `images` with `report`, `findings` and `impression` from CheXpert Plus, "" where the
    table is not there.

    Raise DataError where an image stands twice in it.
    """
    from bench.data.tables import read_table, require_unique
    from tasks.datasets._reports import report_columns

    path = next((found for name in (PLUS, f"{PLUS}.gz") if (found := root / name).is_file()), None)
    if path is None:
        return images.assign(report="", findings="", impression="")
    plus = read_table(path, ("path_to_image", "section_findings", "section_impression"))
    plus = plus[plus["path_to_image"].isin(set(images["path"]))]
    require_unique(plus, "path_to_image", path)
    texts = (
        plus.set_index("path_to_image")[["section_findings", "section_impression"]]
        .reindex(images["path"])
        .fillna("")
    )
    return images.assign(**report_columns(texts["section_impression"], texts["section_findings"]))


def reference_split(index: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return the row-level split of MGCA (seed 0) and GLoRIA, its leak included (PROTOCOLS.md 1.1).

    The 5x200 images leave the training table. 5,000 positions of what remains become validation
    rows, but the rows then dropped from training are those whose *label* in the whole table equals
    such a position: since 1,000 labels are gone, most validation images stay in training and other
    images are lost. Test: valid.csv. Of a table under 25,000 rows a fifth validates.
    """
    import numpy as np
    import pandas as pd

    train = index[index["split"] == "train"].reset_index(drop=True)
    rest = train.drop(draw(train[train["view"].isin(FRONTAL)], FIVE, LABELS).index)
    chosen = np.random.RandomState(seed).choice(
        len(rest), size=min(VALIDATION, len(rest) // 5), replace=False
    )
    val, left = rest.iloc[chosen], rest.drop(chosen, errors="ignore")
    return pd.concat(
        [left, val.assign(split="val"), index[index["split"] == "test"]], ignore_index=True
    )
