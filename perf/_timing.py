"""What several perf share: the time of a call, and a row of the results file."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def timed(function: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Return the least seconds of some calls, and what the last returned."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def row(
    name: str, size: str, usual_s: float, ours_s: float, equal: bool | str, wanted: float | str
) -> dict[str, Any]:
    """Return a row of the results file."""
    return {
        "name": name,
        "size": size,
        "usual_s": usual_s,
        "ours_s": ours_s,
        "ratio": usual_s / ours_s,
        "equal": equal,
        "wanted": wanted,
    }
