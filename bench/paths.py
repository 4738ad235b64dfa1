"""Where data, caches and results live."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """Return the cache folder: `$PLACE_BENCH_CACHE`, else `place-bench` in `$XDG_CACHE_HOME`, else in
    `~/.cache`."""
    named = os.environ.get("PLACE_BENCH_CACHE")
    if named:
        return Path(named).expanduser()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not shared.is_absolute():  # the XDG specification: a relative path is ignored
        shared = Path.home() / ".cache"
    return shared / "place-bench"
