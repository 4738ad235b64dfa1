"""Subgroups of the images: sex, view, scanner, age band, and parts that a dataset names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

AGE_BANDS = (0, 40, 60, 80)
GROUPS = ("sex", "view", "scanner", "part")


def groups(index: pd.DataFrame) -> dict[str, list[str]]:
    """Return the subgroups of every image: sex, view, scanner, part and age band, "" where unknown;
    only what the index has."""
    columns = {
        name: [
            "" if missing else str(value)
            for value, missing in zip(index[name], index[name].isna(), strict=True)
        ]
        for name in GROUPS
        if name in index
    }
    if "age" in index:
        columns["age"] = [_band(age) for age in index["age"].astype(float)]
    return {
        name: values
        for name, values in columns.items()
        if len({value for value in values if value}) > 1
    }


def _band(age: float) -> str:
    if not age >= 0:
        return ""
    low = max(start for start in AGE_BANDS if start <= age)
    high = next((start - 1 for start in AGE_BANDS if start > low), None)
    return f"{low}+" if high is None else f"{low}-{high}"
