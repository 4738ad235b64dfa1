"""What the commands of this package (`python -m backbones.ablation`, `python -m backbones.look`)
share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from bench.errors import PlaceBenchError
from bench.registry import discover


def print_page(program: str, make: Callable[[], Path]) -> int:
    """Print the page that `make` writes and return 0; a PlaceBenchError is one sentence and exit
    code 2."""
    try:
        discover()
        path = make()
    except PlaceBenchError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    print(path.read_text(encoding="utf-8"))
    return 0
