"""`place-bench export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.arguments.common import (
    ArchOption,
    ProfileName,
    ProfileOption,
)


class FrameworkName(StrEnum):
    """Where a user goes on with an encoder."""

    mmseg = "mmseg"
    mmdet = "mmdet"


def export(
    framework: Annotated[
        FrameworkName, typer.Argument(help="mmseg (UPerNet) or mmdet (Faster R-CNN).")
    ],
    encoder: Annotated[str, typer.Argument(help="Encoder; see `place-bench list backbones`.")],
    out: Annotated[Path, typer.Option(help="Folder of the config and the weights.")] = Path(
        "export"
    ),
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Weights of the encoder. Default: those that `run` would use."),
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Class names, comma separated, without the background.")
    ] = "finding",
    images: Annotated[
        str, typer.Option(help="Folder of your training data; it is written into the config.")
    ] = "data",
    image_size: Annotated[
        int | None, typer.Option(min=32, help="Image side in px. Default: the encoder's.")
    ] = None,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Train only the head, not the encoder.")
    ] = False,
    native: Annotated[
        bool,
        typer.Option(
            "--native",
            help=(
                "mmseg and ViTs: give mmsegmentation's own VisionTransformer the weights, so that "
                "the config needs no place-bench."
            ),
        ),
    ] = False,
    profile: ProfileOption = ProfileName.demo,
    arch: ArchOption = "",
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a config that is already there.")
    ] = False,
) -> None:
    """Write a config for mmsegmentation or mmdetection that continues from an encoder, and its
    weights beside it.

    Example: `place-bench export mmdet place --classes nodule,mass --images my_data --out
    my_detector`
    """
    from bench.cells.encoders import PretrainRequest
    from bench.commands.run import export_command
    from bench.mm.export import Head

    request = PretrainRequest(
        method=encoder, profile=profile.value, architecture=arch, checkpoint=checkpoint
    )
    names = [name.strip() for name in classes.split(",") if name.strip()]
    head = Head(names, images, frozen, image_size)
    export_command(framework.value, request, out, head, native=native, overwrite=force)
