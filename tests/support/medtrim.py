"""What the published code of MedTrim reads, in the words of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.text.clauses import Said


def study_of(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Said]:
    """Return the findings of a study as the published code writes them."""
    return {
        label.title(): Said(frozenset(said["adjs"]), frozenset(said["dirs"]))
        for label, said in entries.items()
    }
