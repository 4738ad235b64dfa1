"""The command `python -m backbones.look`."""

from __future__ import annotations

import sys
from pathlib import Path

from backbones.command import print_page
from backbones.look.request import parse
from bench.progress import default_progress


def main() -> int:
    """Look as the command line asks and print the table."""
    return print_page("look", _look)


def _look() -> Path:
    look = parse(sys.argv[1:])
    from backbones.look.run import run  # torch, only once the question is clear

    return run(look, default_progress())


if __name__ == "__main__":
    sys.exit(main())
