"""Tests compute with one thread, so that several of them can run side by side, and draw the same
examples each time; `HYPOTHESIS_PROFILE=explore` draws new ones."""

import os

from hypothesis import settings

from tests.support.stranger import strangers_data

__all__ = ["strangers_data"]

os.environ.setdefault("PLACE_BENCH_THREADS", "1")
settings.register_profile("same", derandomize=True)
settings.register_profile("explore")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
