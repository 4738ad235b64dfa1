"""How long cells take, from the results that a folder has."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_PHASE = "seconds:"


@dataclass(frozen=True)
class Workload:
    """What decides how long a cell takes, as far as its record says."""

    kind: str
    dataset: str
    architecture: str
    profile: str
    end_to_end: bool = False
    """Whether the encoder is trained with the head, in a table where it is not."""


@dataclass(frozen=True)
class Timings:
    """Seconds that finished cells took, by their workload."""

    seconds: Mapping[Workload, list[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> Timings:
        """Collect the seconds of finished cells; a record that does not state them is left out."""
        seconds: dict[Workload, list[float]] = {}
        for record in records:
            taken = seconds_of(record)
            if taken is not None:
                seconds.setdefault(_workload(record), []).append(taken)
        return cls(seconds)

    def expected(self, work: Workload) -> float | None:
        """Return the median seconds of cells of the same workload, None where there is none."""
        taken = self.seconds.get(work)
        return statistics.median(taken) if taken else None


def seconds_of(record: Mapping[str, Any]) -> float | None:
    """Return the seconds of all phases of a cell, None where its record does not state them."""
    phases = [value for name, value in record.items() if name.startswith(_PHASE)]
    numbers = [value for value in phases if isinstance(value, int | float)]
    if not phases or len(numbers) < len(phases) or not all(map(math.isfinite, numbers)):
        return None
    return float(sum(numbers))


def _workload(record: Mapping[str, Any]) -> Workload:
    kind, dataset, architecture, profile = (
        str(record.get(name, "")) for name in ("kind", "dataset", "architecture", "profile")
    )
    end_to_end = any(name.startswith("recipe:") for name in record)
    return Workload(kind, dataset, architecture, profile, end_to_end)


def in_words(seconds: float) -> str:
    """Return a duration as somebody would say it: "under 1 s", "40 s", "3 min", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 1:
        return "under 1 s"
    if whole < 90:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
