"""`place-bench pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.arguments.common import (
    ArchOption,
    DataChoice,
    DataOption,
    DataRootOption,
    DeviceOption,
    ErrorPolicy,
    ProfileName,
    ProfileOption,
    SetOption,
    ThreadsOption,
    WorkersOption,
)


def pretrain(
    method: Annotated[
        str,
        typer.Argument(
            help="A pre-training method, such as `place`; see `place-bench list backbones`."
        ),
    ],
    dataset: Annotated[
        str, typer.Option(help="A dataset with reports. Default: the method's own choice.")
    ] = "",
    profile: ProfileOption = ProfileName.demo,
    arch: ArchOption = "",
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            max=2**32 - 1,
            help="Seed of the initial weights, of the order of images and of their crops.",
        ),
    ] = 0,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    data: DataOption = DataChoice.auto,
    data_root: DataRootOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the checkpoint. Default: the cache, where `run` finds it."),
    ] = None,
    on_error: Annotated[
        ErrorPolicy, typer.Option(help="stop at the first bad file, or skip and count it.")
    ] = ErrorPolicy.stop,
    force: Annotated[
        bool, typer.Option("--force", help="Train again although there is a checkpoint.")
    ] = False,
    workers: WorkersOption = 2,
    threads: ThreadsOption = 2,
) -> None:
    """Pre-train an encoder on radiographs and their reports, and write its checkpoint.

    A training that was killed continues from its last epoch if the same command is given again.

    Example: `place-bench pretrain place --set epochs=20 --set tau2=0.2`
    """
    from bench.cells.encoders import PretrainRequest
    from bench.commands.run import pretrain_command
    from bench.core.settings import parse_pairs

    request = PretrainRequest(
        method=method,
        dataset=dataset,
        profile=profile.value,
        architecture=arch,
        seed=seed,
        settings=parse_pairs(settings or []),
        device=device,
        data=data.value,
        data_root=data_root,
        out=out,
        on_error=on_error.value,
        workers=workers,
        threads=threads,
    )
    pretrain_command(request, force=force)
