"""Where data, caches and results live."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """Return the cache folder: `$PLACE_BENCH_CACHE`, else `~/.cache/place-bench`."""
    return Path(os.environ.get("PLACE_BENCH_CACHE") or Path.home() / ".cache" / "place-bench")


def results_home() -> Path:
    """Return the results folder: `$PLACE_BENCH_RESULTS`, else `./results`."""
    return Path(os.environ.get("PLACE_BENCH_RESULTS") or "results")
