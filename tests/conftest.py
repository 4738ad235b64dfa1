"""Tests compute with one thread, so that several of them can run side by side."""

import os

os.environ.setdefault("PLACE_BENCH_THREADS", "1")
