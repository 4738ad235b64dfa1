"""Read files of predictions that were made elsewhere: tables, archives of arrays, and whose ids
they name."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.contracts import Submission
from bench.core.errors import DataError
from bench.core.files import UNREADABLE_ARCHIVE
from bench.core.storage import write_atomically
from bench.data.tables import LONGEST_FIELD
from bench.data.text import read_content, read_text

if TYPE_CHECKING:
    import pandas as pd

SPLITS = {"train": "training", "val": "validation", "test": "test"}


# ------------------------------------------------------------------------------------------ tables
def read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the header of a CSV and its rows, values stripped; blank lines are left out.

    Raise DataError naming the file, and the line where there is one: other encodings than UTF-8, a
    stray quote, a row with another number of values than the header, a column that occurs twice, no
    row at all. No error shows a value of a row: it may be the text of a report.
    """
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(io.StringIO(read_text(path)), skipinitialspace=True, strict=True)
    header: list[str] = []
    rows = []
    line = 1
    try:
        for fields in reader:
            values = [field.strip() for field in fields]
            if not header:
                header = values
            elif any(values):
                _check_width(values, header, path, line)
                rows.append(values)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line}: {error}.", "Quote a value that holds a comma, a quote or a line."
        ) from error
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{path} has the column '{twice[0][:60]}' twice.", "Leave one of them out.")
    if not rows:
        raise DataError(f"{path} has no rows.", "Write one row per image (or study) of the test.")
    return header, rows


def _check_width(values: Sequence[str], header: Sequence[str], path: Path, line: int) -> None:
    if len(values) != len(header):
        raise DataError(
            f"{path}, line {line}: {len(values)} values; {len(header)} were expected, as in the "
            "header.",
            "Quote a value that holds a comma.",
        )


def column_of(path: Path, header: Sequence[str], names: Sequence[str]) -> int:
    """Return where the first of some columns stands that a table has; raise DataError where it has
    none of them."""
    for name in names:
        if name in header:
            return header.index(name)
    wanted = " or ".join(f"'{name}'" for name in names)
    raise DataError(
        f"{path} lacks the column {wanted}.", f"Columns found: {', '.join(header)[:300]}."
    )


def read_numbers(
    path: Path, rows: Sequence[Sequence[str]], column: int, title: str, key: int = 0
) -> np.ndarray:
    """Return one column of a table as numbers [n]; raise DataError naming the row, by its column
    `key`, of one that is blank, no number or not finite."""
    numbers = np.empty(len(rows))
    for number, row in enumerate(rows):
        try:
            numbers[number] = float(row[column])
        except ValueError:
            numbers[number] = np.nan
        if not np.isfinite(numbers[number]):
            raise DataError(
                f"{path}, row of '{row[key]}': {title} is '{row[column][:30]}'.",
                "A finite number was expected.",
            )
    return numbers


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV; numbers keep all their digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


# ---------------------------------------------------------------------------------------- archives
def read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return some arrays of an archive of NumPy (.npz); raise DataError where it does not read or
    lacks one. Nothing in it is run."""
    content = read_content(path)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            stored = {name: file[name] for name in names if name in file.files}
            present = list(file.files)
    except UNREADABLE_ARCHIVE as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(
            f"{path} does not read as an archive of NumPy: {reason}.", "Write it with numpy.savez."
        ) from error
    missing = [name for name in names if name not in stored]
    if missing:
        raise DataError(
            f"{path} lacks the array '{missing[0]}'.", f"Arrays found: {', '.join(present)[:300]}."
        )
    return stored


# --------------------------------------------------------------------------------------------- ids
def check_ids(
    path: Path,
    ids: Sequence[str],
    wanted: Sequence[str],
    submission: Submission,
    *,
    column: str = "image_id",
    split: str = "test",
) -> np.ndarray:
    """Return where each of the `wanted` ids stands among `ids`.

    Raise DataError naming the file for an id that occurs twice, one that the dataset does not have
    or that belongs to another split, and one that is missing. Ids of the split that are not wanted
    (of another view, without a reference) are left out.
    """
    thing = column.removesuffix("_id")
    for name, count in Counter(ids).items():
        if count > 1:
            raise DataError(f"{path} holds {thing} '{name}' {count} times.", "Each is scored once.")
    expected = dict.fromkeys(wanted)
    splits = _splits(submission.index, column)
    wrong = [name for name in ids if name not in expected and splits.get(name) != split]
    if wrong:
        raise _wrong_id(path, wrong, thing, splits, split)
    row_of = {name: row for row, name in enumerate(ids)}
    missing = [name for name in expected if name not in row_of]
    if missing:
        raise DataError(
            f"{path} lacks {len(missing)} of the {len(expected)} {_plural(thing)} of the "
            f"{SPLITS[split]} split, e.g. '{missing[0]}'.",
            "All of them are scored: add what is missing.",
        )
    return np.array([row_of[name] for name in wanted], np.int64)


def _splits(index: pd.DataFrame, column: str) -> dict[str, str]:
    return dict(zip(index[column].astype(str), index["split"].astype(str), strict=True))


def _wrong_id(
    path: Path, wrong: Sequence[str], thing: str, splits: Mapping[str, str], split: str
) -> DataError:
    first = wrong[0]
    where = "is not in the dataset"
    if first in splits:
        where = f"is in the {SPLITS.get(splits[first], 'unused')} split"
    others = f" ({len(wrong)} such {_plural(thing)})" if len(wrong) > 1 else ""
    return DataError(
        f"{path} holds {thing} '{first[:80]}', which {where}{others}.",
        f"Give those of the {SPLITS[split]} split.",
    )


def _plural(thing: str) -> str:
    return "studies" if thing == "study" else f"{thing}s"
