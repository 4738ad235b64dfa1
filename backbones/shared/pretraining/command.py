"""What the commands of this package (`python -m backbones.studies.ablation`, `python -m
backbones.studies.look`) share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.core.console import guarded
from bench.core.registry import discover


def print_page(program: str, make: Callable[[], Path]) -> int:
    """Print the page that `make` writes and return 0; a PlaceBenchError is one sentence and exit
    code 2."""

    def work() -> int:
        """Find what is registered, make the page and print it."""
        discover()
        print(make().read_text(encoding="utf-8"))
        return 0

    return guarded(program, work)
