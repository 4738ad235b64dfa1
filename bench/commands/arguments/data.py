"""`place-bench data list|info|verify|path|make-demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.arguments.common import (
    DataRootOption,
)

data_app = typer.Typer(
    help="Find, check and render datasets.", no_args_is_help=True, rich_markup_mode="markdown"
)


@data_app.command("list")
def data_list(data_root: DataRootOption = None) -> None:
    """List the datasets and where each is found."""
    from bench.commands.data import list_command

    list_command(data_root)


@data_app.command("info")
def data_info(
    names: Annotated[list[str], typer.Argument(help="Datasets; see `place-bench data list`.")],
    data_root: DataRootOption = None,
) -> None:
    """Say what a dataset is, where it is found, what its licence is and how to get it."""
    from bench.commands.data import info_command

    info_command(tuple(names), data_root)


@data_app.command("verify")
def data_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
    data_root: DataRootOption = None,
) -> None:
    """Check that the files of datasets are there and that counts are the published ones.

    The exit code is 2 where something is missing or wrong.
    """
    from bench.commands.data import verify_command

    raise typer.Exit(verify_command(tuple(names or ()), data_root))


@data_app.command("path")
def data_path(
    name: Annotated[str, typer.Argument(help="Dataset.")], data_root: DataRootOption = None
) -> None:
    """Print the folder from which a dataset is read."""
    from bench.commands.data import path_command

    path_command(name, data_root)


@data_app.command("make-demo")
def data_make_demo(
    names: Annotated[
        list[str] | None, typer.Argument(help="Datasets. Default: all that have a demo.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write <dataset>/ into. Default: the cache, where `run` finds it."
        ),
    ] = None,
    studies: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            help="How many studies to render. Default: the dataset's own number.",
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=64, max=2048, help="Image size in px. Default: 256.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same files.")
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Render over rendered data that is already there.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that render.")] = 2,
) -> None:
    """Render radiographs (and reports) in the layout of a dataset, so that it can be tried out."""
    from bench.commands.data import make_demo_command

    make_demo_command(tuple(names or ()), out, studies, size, seed, workers, force=force)
