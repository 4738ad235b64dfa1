"""COVIDx's image lists: one line per image without a header (patient id, file name, class, source),
separated by blanks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import DataError
from bench.data.faults import fault

if TYPE_CHECKING:
    import pandas as pd


def read_list(path: Path, folder: str, split: str, classes: Mapping[str, str]) -> pd.DataFrame:
    """Return one row per line of a list; `classes` maps the words of the file to labels.

    Sources number their patients each for itself, so that a patient is known by both. A file name
    may have blanks in it. Raise DataError naming the line for fewer fields, an unknown class or a
    file that occurs twice.
    """
    import pandas as pd

    from bench.data.text import read_lines

    rows = []
    for number, line in read_lines(path):
        try:
            rows.append(_fields(line, number, path, classes))
        except DataError as error:
            fault(error, path=path)
    table = pd.DataFrame(rows, columns=["patient_id", "file", "class", "source"])
    twice = table["file"].duplicated()
    for file in table.loc[twice, "file"]:
        message = f"list {path}: file '{file}' occurs twice ({twice.sum()} duplicates)."
        fault(DataError(message, "Remove the duplicates."), f"{folder}/{file}", path)
    table = table[~twice]
    named = {
        "image_id": f"{folder}/" + table["file"],
        "path": f"{folder}/" + table["file"],
        "split": split,
    }
    return table.drop(columns="file").assign(**named)


def _fields(
    line: str, number: int, path: Path, classes: Mapping[str, str]
) -> tuple[str, str, str, str]:
    count = len(line.split())
    if count < 4:
        message = (
            f"list {path}, line {number}: {count} fields; patient, file, class and source were "
            "expected."
        )
        raise DataError(message, "Download it again.")
    patient, rest = line.split(maxsplit=1)
    file, word, source = rest.rsplit(maxsplit=2)
    if word not in classes:
        raise DataError(
            f"list {path}, line {number}: class '{word}'.", f"Classes: {', '.join(classes)}."
        )
    return f"{source}/{patient}", file, classes[word], source


def with_classes(rows: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """Return rows with exclusive labels 0/1 in place of `class`."""
    values = {f"label:{label}": (rows["class"] == label).astype(float) for label in labels}
    return rows.drop(columns="class").assign(**values)


def mgca_split(index: pd.DataFrame) -> pd.DataFrame:
    """Return MGCA's split of 9A: the training list 80/20 by image (random_state 0), so that
    patients may leak; test as is."""
    import pandas as pd
    from sklearn.model_selection import train_test_split

    train, val = train_test_split(index[index["split"] == "train"], train_size=0.8, random_state=0)
    return pd.concat(
        [train, val.assign(split="val"), index[index["split"] == "test"]], ignore_index=True
    )
