"""COVIDx's image lists: one line per image without a header (patient id, file name, class, source),
separated by blanks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_list(path: Path, folder: str, split: str, classes: Mapping[str, str]) -> pd.DataFrame:
    """Return one row per line of a list; `classes` maps the words of the file to labels.

    Raise DataError naming the line for another number of fields, an unknown class or a file that
    stands twice.
    """
    import pandas as pd

    from bench.data.tables import read_text

    lines = read_text(path).splitlines()
    rows = [
        _fields(line, number, path, classes) for number, line in enumerate(lines, 1) if line.strip()
    ]
    if not rows:
        raise DataError(f"list {path} has no rows.", "Download it again.")
    table = pd.DataFrame(rows, columns=["patient_id", "file", "class", "source"])
    twice = table.loc[table["file"].duplicated(), "file"]
    if len(twice):
        raise DataError(
            f"list {path}: file '{twice.iloc[0]}' stands twice ({len(twice)} duplicates).",
            "Remove the duplicates.",
        )
    named = {
        "image_id": f"{folder}/" + table["file"],
        "path": f"{folder}/" + table["file"],
        "split": split,
    }
    return table.drop(columns="file").assign(**named)


def _fields(
    line: str, number: int, path: Path, classes: Mapping[str, str]
) -> tuple[str, str, str, str]:
    words = line.split()
    if len(words) < 4:
        message = (
            f"list {path}, line {number}: {len(words)} fields; patient, file, class and source "
            "were expected."
        )
        raise DataError(message, "Download it again.")
    if words[-2] not in classes:
        raise DataError(
            f"list {path}, line {number}: class '{words[-2]}'.", f"Classes: {', '.join(classes)}."
        )
    return words[0], " ".join(words[1:-2]), classes[words[-2]], words[-1]


def with_classes(rows: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """Return rows with exclusive labels 0/1 in place of `class`."""
    values = {f"label:{label}": (rows["class"] == label).astype(float) for label in labels}
    return rows.drop(columns="class").assign(**values)


def reference_split(index: pd.DataFrame) -> pd.DataFrame:
    """Return MGCA's split of 9A: the training list 80/20 by image (random_state 0), so that
    patients may leak; test as is."""
    import pandas as pd
    from sklearn.model_selection import train_test_split

    train, val = train_test_split(index[index["split"] == "train"], train_size=0.8, random_state=0)
    return pd.concat(
        [train, val.assign(split="val"), index[index["split"] == "test"]], ignore_index=True
    )
