"""What differs between machines: how many cores, how a file gets onto the disk, and with how many
threads numbers are computed. Imports no torch."""

from __future__ import annotations

import os
from typing import IO, Any

from bench.core.errors import SettingError

DEFAULT_THREADS = 2
"""A fixed number, whatever the machine has: sums are cut into as many parts as there are threads,
so that another number gives other last digits, and a trained head other metrics."""
THREADS_VARIABLE = "PLACE_BENCH_THREADS"
_chosen: dict[str, int] = {}


def cores() -> int:
    """Return how many cores this process may run on (macOS does not say: those of the machine)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def flush_to_disk(file: IO[Any]) -> None:
    """Write what is buffered of a file onto the disk (macOS has no fdatasync)."""
    file.flush()
    getattr(os, "fdatasync", os.fsync)(file.fileno())


def default_threads() -> int:
    """Return $PLACE_BENCH_THREADS, else two; raise SettingError where it is no number above 0."""
    text = os.environ.get(THREADS_VARIABLE, "")
    if not text:
        return DEFAULT_THREADS
    if not text.isdecimal() or int(text) < 1:
        raise SettingError(
            f"${THREADS_VARIABLE} is '{text}'.", "It must be a whole number of at least 1."
        )
    return int(text)


def use_threads(count: int | None = None) -> int:
    """Compute with `count` threads from now on, in torch and in the libraries below numpy, and
    return that number.

    Without `count` it is what this process chose before, else the default.
    """
    import torch
    from threadpoolctl import threadpool_limits

    count = count or _chosen.get("threads") or default_threads()
    _chosen["threads"] = count
    torch.set_num_threads(count)
    threadpool_limits(count)
    return count
