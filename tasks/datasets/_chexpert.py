"""CheXpert v1.0 as downloaded: its two tables, the reports of CheXpert Plus, and the split of MGCA
and GLoRIA."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.datasets._exclusive import draw
from tasks.labelling.observations import CHEXPERT, FIVE

if TYPE_CHECKING:
    import pandas as pd

LABELS = CHEXPERT
UNCERTAIN = {
    "Atelectasis": "ones",
    "Cardiomegaly": "zeros",
    "Consolidation": "zeros",
    "Edema": "ones",
    "Pleural Effusion": "ones",
}
"""What MGCA and GLoRIA make of an uncertain label."""
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
ROWS = "rows of train.csv"
TRAIN_ROWS = 223414
_PATH = r"^(?P<folder>\w+)/(?P<patient>patient\d+)/(?P<study>study\d+)/\w+\.(?:jpg|JPG)$"


def read_split(root: Path, name: str) -> pd.DataFrame:
    """Return one row per image of `train.csv` or `valid.csv`, in file order, with all 14 labels.

    Raise DataError for a missing column, an image that occurs twice, or a value that is no label.
    """
    import pandas as pd

    from bench.data.tables import find_table, read_table, require_unique
    from tasks.datasets._labels import read_labels

    path = find_table(root, name)
    table = _sound(require_unique(read_table(path, COLUMNS, key="Path"), "Path", path), path)
    # the first element is the name of the dataset's folder
    parts = table["Path"].str.split("/", n=1).str[-1]
    names = parts.str.extract(_PATH)
    images = pd.DataFrame(
        {
            "image_id": parts.str.replace(r"\.\w+$", "", regex=True),
            "patient_id": names["patient"],
            "path": parts,
        }
    )
    images = images.assign(
        study_id=names["patient"] + "/" + names["study"],
        split=SPLITS[name],
        view=_views(table),
    )
    images = images.assign(
        sex=table["Sex"].map({"Male": "M", "Female": "F"}).fillna(""), age=_ages(table)
    )
    return images.join(read_labels(table, LABELS, path, key="Path"), how="inner")


def _sound(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the rows whose path, view and age can be; each other row is a fault."""
    from bench.data.tables import check_rows

    inside = table["Path"].str.split("/", n=1).str[-1]
    wrong = ~inside.str.match(_PATH)
    table = check_rows(
        table, wrong, path, lambda row: f"Path '{row['Path']}' is not that of an image"
    )
    wrong = ~table["Frontal/Lateral"].isin(["Frontal", "Lateral"])
    table = check_rows(
        table, wrong, path, lambda row: f"Frontal/Lateral is '{row['Frontal/Lateral']}'"
    )
    wrong = _ages(table).isna() & (table["Age"] != "")
    return check_rows(table, wrong, path, lambda row: f"Age is '{row['Age']}'")


def _views(table: pd.DataFrame) -> pd.Series:
    """Return PA, AP or `frontal` (projection not stated) of frontal images, LL of lateral ones."""
    projection = table["AP/PA"].where(table["AP/PA"].isin(["AP", "PA"]), "frontal")
    return projection.where(table["Frontal/Lateral"] == "Frontal", "LL")


def _ages(table: pd.DataFrame) -> pd.Series:
    import pandas as pd

    return pd.to_numeric(table["Age"].replace("", None), errors="coerce").astype(float)


def read_reports(root: Path, images: pd.DataFrame) -> pd.DataFrame:
    """Return `images` with `report`, `findings` and `impression` from CheXpert Plus, "" where the
    table is not there.

    Raise DataError where an image occurs twice in it.
    """
    from bench.data.tables import find_file, read_table, require_unique
    from tasks.datasets._reports import report_columns

    path = find_file(root, PLUS)
    if path is None:
        return images.assign(report="", findings="", impression="")
    sections = ("section_findings", "section_impression")
    plus = read_table(path, ("path_to_image", *sections), texts=sections, key="path_to_image")
    plus = plus[plus["path_to_image"].isin(set(images["path"]))]
    plus = require_unique(plus, "path_to_image", path)
    texts = (
        plus.set_index("path_to_image")[["section_findings", "section_impression"]]
        .reindex(images["path"])
        .fillna("")
    )
    return images.assign(**report_columns(texts["section_impression"], texts["section_findings"]))


def mgca_split(index: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Return the row-level split of MGCA (seed 0) and GLoRIA, its leak included.

    The 5x200 images leave the training table. 5,000 positions of what remains become validation
    rows, but the rows then dropped from training are those whose *label* in the whole table equals
    such a position: since 1,000 labels are gone, most validation images stay in training and other
    images are lost. Test: valid.csv. Of a table under 25,000 rows a fifth validates.
    """
    import numpy as np
    import pandas as pd

    train = index[index["split"] == "train"].reset_index(drop=True)
    frontal = train[train["view"].isin(FRONTAL)]
    rest = train.drop(draw(frontal, FIVE, LABELS).index)
    count = min(VALIDATION, len(rest) // 5)
    rows = np.random.RandomState(seed).choice(len(rest), size=count, replace=False)
    val = rest.iloc[rows].assign(split="val")
    left = rest.drop(rows, errors="ignore")
    test = index[index["split"] == "test"]
    return pd.concat([left, val, test], ignore_index=True)
