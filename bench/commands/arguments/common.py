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


class Intervals(StrEnum):
    """How intervals and p-values are made."""

    standard = "standard"
    percentile = "percentile"


class ErrorPolicy(StrEnum):
    """What a bad file or a failed cell does."""

    stop = "stop"
    skip = "skip"


DataRootOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        help=(
            "Folder that holds one folder per dataset, as downloaded. Default: $PLACE_BENCH_DATA."
        ),
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help=(
            "Change a setting of what is trained; may be repeated. In `run`, KEY is one of the "
            "head, `pretrain.KEY` one of pre-training, `backbone.KEY` one of the encoder, "
            "`supervised.KEY` one of that row."
        ),
    ),
]
DeviceOption = Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda or cuda:N.")]
ArchOption = Annotated[
    str, typer.Option("--arch", help="Encoder architecture: resnet or vit. Default: the profile's.")
]
IntervalsOption = Annotated[
    Intervals,
    typer.Option(
        help="How intervals and p-values are made: as docs/statistics.md says, or from percentiles "
        "of the resamples, as before."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ResultsOption = Annotated[
    Path,
    typer.Option(
        "--results", help="Folder of the results and tables.", envvar="PLACE_BENCH_RESULTS"
    ),
]
ProfileOption = Annotated[
    ProfileName,
    typer.Option(
        help=(
            "demo: small encoders and images, minutes on two cores. paper: ViT-B/16 or ResNet-50 "
            "at 224 px and more."
        )
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        "--threads",
        min=1,
        max=1024,
        envvar="PLACE_BENCH_THREADS",
        help="Threads used in training. Another number changes last digits: results name it.",
    ),
]
DataOption = Annotated[
    DataChoice,
    typer.Option(help="auto: real files where they are found, else rendered ones, which is said."),
]
WorkersOption = Annotated[int, typer.Option(min=1, help="Processes that decode images.")]
