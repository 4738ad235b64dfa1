"""`place-bench run`."""

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
    ResultsOption,
    SetOption,
    ThreadsOption,
    WorkersOption,
)


def run(
    tasks: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK...", help="Task or group names; see `place-bench list tasks`."
        ),
    ],
    backbones: Annotated[
        str, typer.Option(help="Encoders, comma separated. Default: the built-in comparison.")
    ] = "",
    fractions: Annotated[
        str,
        typer.Option(
            help="Label fractions, comma separated, e.g. 0.01,0.1,1.0. Default: the task's."
        ),
    ] = "",
    seeds: Annotated[
        str, typer.Option(help="Seeds of the head and of the label subsets, comma separated.")
    ] = "0",
    profile: ProfileOption = ProfileName.demo,
    protocol: Annotated[
        str,
        typer.Option(
            help="default (correct), or a published procedure with its quirks, e.g. mgca."
        ),
    ] = "default",
    arch: ArchOption = "",
    settings: SetOption = None,
    checkpoint: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="Weights to use for an encoder.")
    ] = None,
    device: DeviceOption = "auto",
    data: DataOption = DataChoice.auto,
    data_root: DataRootOption = None,
    results: ResultsOption = Path("results"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and run nothing.")
    ] = False,
    on_error: Annotated[
        ErrorPolicy, typer.Option(help="stop at the first bad file or cell, or skip and count it.")
    ] = ErrorPolicy.stop,
    force: Annotated[
        bool, typer.Option("--force", help="Run cells again that have a result.")
    ] = False,
    allow_seen: Annotated[
        bool,
        typer.Option(
            "--allow-seen",
            help=(
                "Run encoders that were pre-trained on test images too; the table then says how "
                "many."
            ),
        ),
    ] = False,
    workers: WorkersOption = 2,
    threads: ThreadsOption = 2,
    show_text: Annotated[
        bool,
        typer.Option(
            "--show-text",
            help="Keep and draw texts of licensed reports (report generation); else they are not.",
        ),
    ] = False,
) -> None:
    """Run every missing cell (task x encoder x label fraction x seed) and write the leaderboard.

    A cell that has a result is not run again; a killed run continues where it stopped: give the
    same command.

    Example: `place-bench run siim_seg --backbones random,place --fractions 0.1,1.0 --seeds 0,1,2`
    """
    from bench.cells.prepare import RunRequest
    from bench.commands.run import run_command
    from bench.core.settings import parse_list, parse_pairs

    request = RunRequest(
        tasks=tuple(tasks),
        backbones=parse_list(backbones, str, "--backbones"),
        fractions=parse_list(fractions, float, "--fractions"),
        seeds=parse_list(seeds, int, "--seeds") or (0,),
        profile=profile.value,
        protocol=protocol,
        architecture=arch,
        settings=parse_pairs([*(settings or []), *(["show_text=true"] if show_text else [])]),
        checkpoints={
            name: Path(path)
            for name, path in parse_pairs(checkpoint or [], "--checkpoint NAME=PATH").items()
        },
        device=device,
        data=data.value,
        data_root=data_root,
        results=results,
        on_error=on_error.value,
        force=force,
        allow_seen=allow_seen,
        workers=workers,
        threads=threads,
    )
    raise typer.Exit(run_command(request, dry_run=dry_run))
