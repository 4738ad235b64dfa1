"""The command `python -m backbones.look`."""

from __future__ import annotations

import sys

from backbones.look.request import parse
from bench.errors import PlaceBenchError
from bench.progress import default_progress
from bench.registry import discover


def main() -> int:
    """Look as the command line asks and print the table; exit code 2 with one sentence where that cannot be."""
    discover()
    try:
        look = parse(sys.argv[1:])
        from backbones.look.run import run  # torch, only once the question is clear

        path = run(look, default_progress())
    except PlaceBenchError as error:
        print(f"look: {error}", file=sys.stderr)
        return 2
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
