"""What an index takes from DICOM headers: patient, view, sex, age and the size of the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

OLDEST = 120
"""An age above this many years (some tables and headers have 400) counts as unknown."""
TAGS = ("PatientID", "PatientSex", "PatientAge", "ViewPosition", "Rows", "Columns")


def header_columns(root: Path, paths: Sequence[str], name: str) -> pd.DataFrame:
    """Return patient_id ("" unknown), view, sex, age, rows, columns (0 unknown) per file, reading
    only new or changed files.

    `name` names the facts kept in the cache.
    """
    import pandas as pd

    from bench.data.headers import parse_age, read_header
    from bench.data.tables import remember

    headers = remember(
        list(paths), lambda path: read_header(path, TAGS), root=root, name=name, columns=TAGS
    )
    return pd.DataFrame(
        {
            "patient_id": headers["PatientID"],
            "view": headers["ViewPosition"],
            "sex": headers["PatientSex"].where(headers["PatientSex"].isin(["M", "F"]), ""),
            "age": headers["PatientAge"].map(parse_age).where(lambda age: age <= OLDEST),
            "rows": _count(headers["Rows"]),
            "columns": _count(headers["Columns"]),
        }
    )


def _count(values: pd.Series) -> pd.Series:
    """Return whole numbers, 0 for what is none (an element with two values, say)."""
    return values.where(values.str.isdecimal(), "0").astype(int)


def image_size(row: pd.Series, root: Path) -> tuple[int, int]:
    """Return (height, width) of an index row; raise DataError where its header does not state
    them."""
    height = int(row["rows"])
    width = int(row["columns"])
    if not height or not width:
        raise DataError(
            f"image {root / row['path']} does not state its size.", "Download it again."
        )
    return height, width
