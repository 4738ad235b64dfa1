"""Choices and options that several commands take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ProfileName(StrEnum):
    """Sizes of encoder and images."""

    demo = "demo"
    paper = "paper"


class DataChoice(StrEnum):
    """Which files to read."""

    auto = "auto"
    real = "real"
    demo = "demo"


class ErrorPolicy(StrEnum):
    """What a bad file or a failed cell does."""

    stop = "stop"
    skip = "skip"


DataRootOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        help=(
            "Folder holding the datasets as downloaded, one folder each. Default: "
            "$PLACE_BENCH_DATA."
        ),
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting of the head; `pretrain.KEY`, `backbone.KEY` for the encoder.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
ArchOption = Annotated[
    str, typer.Option("--arch", help="Encoder architecture: resnet or vit. Default: the profile's.")
]
ResultsOption = Annotated[
    Path, typer.Option("--results", help="Results folder.", envvar="PLACE_BENCH_RESULTS")
]
ProfileOption = Annotated[
    ProfileName,
    typer.Option(
        help="demo: minutes on two cores. paper: ViT-B/16 or ResNet-50 at 224 px and more."
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        "--threads",
        min=1,
        max=1024,
        envvar="PLACE_BENCH_THREADS",
        help="Threads that train. Another number gives other last digits, so it is recorded.",
    ),
]
DataOption = Annotated[
    DataChoice,
    typer.Option(help="auto: real files where found, else rendered ones, saying so."),
]
WorkersOption = Annotated[int, typer.Option(min=1, help="Processes that decode images.")]
