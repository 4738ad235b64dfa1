"""Counts that a dataset notes beside its index: what it leaves out, and what has no counterpart.

They travel in `DataFrame.attrs`, which pandas keeps when rows or columns are chosen and may drop
when tables are joined: note them on the table that `index` returns, as the last step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

KEY = "place_bench"
"""The one entry of `DataFrame.attrs` that holds the notes."""
OLDER_KEYS = {"dropped": "left_out", "unmatched": "unmatched"}
"""Entries of `DataFrame.attrs` that plug-ins of before set and read, with the field of each."""


@dataclass(frozen=True)
class Notes:
    """What a dataset notes beside its index, as counts by name.

    `left_out` is left out by intent, `unmatched` has no counterpart in tables or files, `facts` are
    counts of the tables that the dataset compares with the published ones.
    """

    left_out: Mapping[str, int] = field(default_factory=dict)
    unmatched: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, int] = field(default_factory=dict)


def note(
    index: pd.DataFrame,
    *,
    left_out: Mapping[str, int] | None = None,
    unmatched: Mapping[str, int] | None = None,
    facts: Mapping[str, int] | None = None,
) -> None:
    """Note counts beside `index`, in place; those given replace those of before, others stay."""
    before = notes(index)
    after = Notes(
        left_out=dict(before.left_out if left_out is None else left_out),
        unmatched=dict(before.unmatched if unmatched is None else unmatched),
        facts=dict(before.facts if facts is None else facts),
    )
    counts = asdict(after)
    older = {key: counts[name] for key, name in OLDER_KEYS.items() if key in index.attrs}
    index.attrs = {**index.attrs, **older, KEY: counts}


def notes(index: pd.DataFrame) -> Notes:
    """Return what is noted beside `index`; nothing where nothing was.

    `attrs["dropped"]` and `attrs["unmatched"]`, which plug-ins of before set, replace what is noted
    under the same head.
    """
    noted = dict(index.attrs.get(KEY, {}))
    noted.update({name: index.attrs[key] for key, name in OLDER_KEYS.items() if key in index.attrs})
    return Notes(**noted)
