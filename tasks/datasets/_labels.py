"""Label columns of a table: 1, 0, -1 (uncertain) or blank (not mentioned); anything else is named
with its line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_EXPECTED = "1, 0, -1 or blank was expected. Download it again, or mend the line."
VALUES = {"": float("nan"), "1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "-1": -1.0, "-1.0": -1.0}


def read_labels(
    table: pd.DataFrame, names: Sequence[str], path: Path, *, key: str = ""
) -> pd.DataFrame:
    """Return columns `label:<name>` (1, 0, -1, NaN) of text columns `names`, on the lines of the
    table.

    A label that is anything else is a fault of what `key` names: its rows are left out.
    """
    from bench.data.tables import check_rows

    for name in names:
        wrong = ~table[name].isin(VALUES.keys())
        say = partial(_say, name, int(wrong.sum()))
        table = check_rows(table, wrong, path, say, _EXPECTED, key=key)
    return table[list(names)].apply(lambda values: values.map(VALUES)).add_prefix("label:")


def _say(name: str, count: int, row: pd.Series) -> str:
    return f"{name} is '{row[name]}' ({count} such rows)"
