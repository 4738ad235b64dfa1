"""The command `python -m backbones.studies.look`."""

from __future__ import annotations

import sys
from pathlib import Path

from backbones.shared.pretraining.command import print_page
from backbones.studies.look.request import parse
from bench.core.progress import default_progress


def main() -> int:
    """Look as the command line asks and print the table."""
    return print_page("look", _look)


def _look() -> Path:
    look = parse(sys.argv[1:])
    from backbones.studies.look.run import run  # torch, only once the question is clear

    return run(look, default_progress())


if __name__ == "__main__":
    sys.exit(main())
