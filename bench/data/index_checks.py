"""What every index has to be, whichever dataset it comes from: columns, types, ids, patients,
splits, labels, and paths inside the root. What is wrong names its row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import Dataset
from bench.core.errors import DataError
from bench.data.faults import fault
from bench.data.tree import Tree

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("image_id", "patient_id", "path", "split")
SPLITS = ("train", "val", "test", "")
FILE_COLUMNS = ("mask_paths", "region_paths")
"""Columns of further files of an image: tuples of paths."""
_TEXTS = ("image_id", "patient_id", "path")
_OPTIONAL_TEXTS = ("study_id", "view", "sex", "report", "findings", "impression")
_SHOWN = 80
"""Characters of a wrong value that an error repeats."""


def checked(dataset: Dataset, index: object, root: Path) -> pd.DataFrame:
    """Return the index of a dataset in `root` with its paths as they are on disk.

    Raise DataError where it is no table or lacks a column; a row that is wrong goes to
    `bench.data.faults.fault`, which raises it, or lists it and leaves it out.
    """
    rows = _table(dataset, index)
    _check_columns(dataset, rows)
    if rows.empty:
        raise DataError(f"dataset '{dataset.name}' in {root} has no images.", dataset.how_to_get)
    for column in _TEXTS:
        rows = _filled(rows, column, dataset)
        _check_texts(rows, column, dataset)
    for column in (name for name in _OPTIONAL_TEXTS if name in rows):
        _check_texts(rows[rows[column].notna()], column, dataset)
    _check_values(rows, dataset)
    return _on_disk(_unique(rows, dataset), dataset, root)


def _table(dataset: Dataset, index: object) -> pd.DataFrame:
    import pandas as pd

    if not isinstance(index, pd.DataFrame):
        raise DataError(
            f"index() of dataset '{dataset.name}' returns {type(index).__name__}.",
            "Return a pandas DataFrame with a row per image.",
        )
    return index if isinstance(index.index, pd.RangeIndex) else index.reset_index(drop=True)


def _check_columns(dataset: Dataset, index: pd.DataFrame) -> None:
    names = list(index.columns)
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"the index of dataset '{dataset.name}' has the column '{twice[0]}' twice.",
            "Rename one of the two.",
        )
    required = [*NEEDED, *(f"label:{name}" for name in dataset.label_names)]
    if dataset.has_reports:
        required.append("report")
    missing = [name for name in required if name not in index]
    if missing:
        columns = "column" if len(missing) == 1 else "columns"
        listed = ", ".join(f"'{name}'" for name in missing)
        raise DataError(
            f"the index of dataset '{dataset.name}' lacks the {columns} {listed}.",
            f"Needed: {', '.join(required)}.",
        )


def _filled(index: pd.DataFrame, column: str, dataset: Dataset) -> pd.DataFrame:
    blank = index[column].isna() | (index[column].astype(str).str.strip() == "")
    for image, path in index.loc[blank, ["image_id", "path"]].itertuples(index=False, name=None):
        message = f"dataset '{dataset.name}': image '{image}' ({path}) has a blank {column}."
        fault(DataError(message, "Complete the table, or use --on-error skip."), str(image))
    return index[~blank]


def _check_texts(index: pd.DataFrame, column: str, dataset: Dataset) -> None:
    """Raise DataError where a column of texts holds something else: numbers as ids lose their
    zeros, and no list or table that names them would fit."""
    for row, value in index[column].items():
        if not isinstance(value, str):
            raise DataError(
                f"dataset '{dataset.name}', row {row} ({index.at[row, 'path']}): {column} is "
                f"{_shown(value)}, which is no text but {type(value).__name__}.",
                f'Make it text, e.g. table["{column}"].astype(str), or read the table as text.',
            )


def _check_values(index: pd.DataFrame, dataset: Dataset) -> None:
    """Hand over every row whose split, label, age or masks are none."""
    import pandas as pd

    wrong = ~index["split"].isin(SPLITS)
    _refuse(index[wrong], "split", dataset, _SPLIT)
    for column in [name for name in index.columns if str(name).startswith("label:")]:
        wrong = index[column].notna() & ~index[column].isin([0, 1, -1])
        _refuse(index[wrong], column, dataset, _LABELS)
    if "age" in index and not pd.api.types.is_numeric_dtype(index["age"]):
        ages = index.loc[index["age"].notna(), "age"]
        wrong = ages.map(lambda age: not isinstance(age, (int, float)))
        _refuse(index.loc[ages.index[wrong]], "age", dataset, _AGE)
    for column in (name for name in FILE_COLUMNS if name in index):
        wrong = ~index[column].map(_texts)
        _refuse(index[wrong], column, dataset, _FILES)


_SPLIT = 'Write train, val or test, or "" where there is no official split.'
_LABELS = "Write 1 (yes), 0 (no), -1 (uncertain) or NaN (not said), as numbers."
_AGE = "Write years as a number, NaN where they are not known."
_FILES = 'Write a tuple of paths, such as ("files/a.png",).'


def _texts(value: object) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(text, str) for text in value)


def _refuse(rows: pd.DataFrame, column: str, dataset: Dataset, hint: str) -> None:
    for image, path, value in rows[["image_id", "path", column]].itertuples(index=False, name=None):
        message = (
            f"dataset '{dataset.name}', image '{image}' ({path}): {column} is {_shown(value)}."
        )
        fault(DataError(message, hint), image)


def _unique(index: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    twice = index["image_id"].duplicated(keep=False)
    for image, rows in index[twice].groupby("image_id", sort=False):
        files = list(dict.fromkeys(rows["path"]))
        where = files[0] if len(files) == 1 else f"{files[0]} and {files[1]}"
        message = f"dataset '{dataset.name}': image '{image}' occurs twice ({where})."
        fault(DataError(message, "Give every image an id of its own."), str(image))
    return index[~twice]


def _on_disk(index: pd.DataFrame, dataset: Dataset, root: Path) -> pd.DataFrame:
    tree = Tree(root)
    paths: list[str] = []
    for image, path in zip(index["image_id"], index["path"], strict=True):
        paths.append(_located(tree, path, image, dataset))
    index = index.assign(path=paths)
    for column in (name for name in FILE_COLUMNS if name in index):
        located: list[tuple[str, ...]] = []
        for image, files in zip(index["image_id"], index[column], strict=True):
            located.append(_all_located(tree, files, image, dataset))
        index = index.assign(**{column: located})
    return index


def _all_located(tree: Tree, files: Sequence[str], image: str, dataset: Dataset) -> tuple[str, ...]:
    if not _texts(files):  # said already, and left out
        return ()
    return tuple(_located(tree, path, image, dataset) for path in files)


def _located(tree: Tree, path: str, image: str, dataset: Dataset) -> str:
    try:
        return tree.find(path)
    except DataError as error:
        message = f"dataset '{dataset.name}', image '{image}': {error.args[0]}"
        fault(DataError(message, error.hint), image, path)
        return path


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
