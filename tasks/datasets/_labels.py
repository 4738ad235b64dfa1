"""Label columns of a table: 1, 0, -1 (uncertain) or blank (not mentioned); anything else is named
with its line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

VALUES = {"": float("nan"), "1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "-1": -1.0, "-1.0": -1.0}


def read_labels(table: pd.DataFrame, names: Sequence[str], path: Path) -> pd.DataFrame:
    """Return columns `label:<name>` (1, 0, -1, NaN) of text columns `names`; rows keep their place
    in the file.

    Raise DataError naming file, line, column and value where a label is anything else.
    """
    for name in names:
        wrong = table.index[~table[name].isin(VALUES.keys())]
        if len(wrong):
            message = (
                f"table {path}, line {wrong[0] + 2}: {name} is '{table.at[wrong[0], name]}' "
                f"({len(wrong)} such rows)."
            )
            raise DataError(
                message, "1, 0, -1 or blank was expected. Download it again, or mend the line."
            )
    return table[list(names)].apply(lambda values: values.map(VALUES)).add_prefix("label:")
