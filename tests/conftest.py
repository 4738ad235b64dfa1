"""Tests compute with one thread, so that several of them can run side by side, and draw the same
examples each time; `HYPOTHESIS_PROFILE=explore` draws new ones. A machine that is busy with something
else fails no test: an example has no deadline of its own, and slow drawing is no fault."""

import os

from hypothesis import HealthCheck, settings

from tests.support.example_plugin import example_data

__all__ = ["example_data"]

os.environ.setdefault("PLACE_BENCH_THREADS", "1")
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", PATIENT, derandomize=True)
settings.register_profile("explore", PATIENT)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
