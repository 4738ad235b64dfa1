"""`place-bench check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A plug-in, as for --plugin.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Try a plug-in on a few small images, and say what is missing; exit code 2 where something is.

    What it registers is tried: its declarations, against each other and everything else; the index
    of each dataset, on its own demo where it has `make_demo`; each encoder, on two images and two
    texts; each pre-training method, for one epoch of 12 squares with a report; the head
    and the metrics of each task, on such squares with the labels, masks and boxes that its dataset
    names. Nothing is kept.

    Example: `place-bench check mine.py`
    """
    from bench.commands.check import check_command

    raise typer.Exit(check_command(file, as_json=as_json))
