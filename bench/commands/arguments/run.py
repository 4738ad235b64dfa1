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
            metavar="TASK...", help="Tasks, or groups of tasks; see `place-bench list tasks`."
        ),
    ],
    backbones: Annotated[
        str, typer.Option(help="Encoders, separated by commas. Default: random, convirt and place.")
    ] = "",
    frame: Annotated[
        bool,
        typer.Option(
            "--frame/--no-frame",
            help=(
                "Whether every table also has random, supervised (trained on the task's own "
                "labels) and, where it is installed, an encoder of photographs."
            ),
        ),
    ] = True,
    fractions: Annotated[
        str,
        typer.Option(
            help=(
                "Shares of the labelled training images, separated by commas, e.g. 0.01,0.1,1.0. "
                "Default: the task's."
            )
        ),
    ] = "",
    seeds: Annotated[
        str,
        typer.Option(
            help=(
                "Seeds of everything random in training, separated by commas. What trains nothing "
                "is run once, with the first."
            )
        ),
    ] = "0,1,2",
    profile: ProfileOption = ProfileName.demo,
    protocol: Annotated[
        str,
        typer.Option(help="default, or a published procedure with its faults, such as mgca."),
    ] = "default",
    arch: ArchOption = "",
    settings: SetOption = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="Weights to use for an encoder of that name."),
    ] = None,
    device: DeviceOption = "auto",
    data: DataOption = DataChoice.auto,
    data_root: DataRootOption = None,
    results: ResultsOption = Path("results"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run and how long it takes.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --dry-run: print JSON for programs.")
    ] = False,
    on_error: Annotated[
        ErrorPolicy, typer.Option(help="At a bad file or a failure: stop, or skip it and count it.")
    ] = ErrorPolicy.stop,
    force: Annotated[bool, typer.Option("--force", help="Run again what has a result.")] = False,
    allow_seen: Annotated[
        bool,
        typer.Option(
            "--allow-seen",
            help=(
                "Also run encoders that saw test images in pre-training; the table then says how "
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
            help="Keep and draw the texts of licensed reports (report generation).",
        ),
    ] = False,
) -> None:
    """Measure encoders on tasks and write the tables.

    One measurement, of a task, an encoder, a label fraction and a seed, is a *cell*. A cell that
    has a result is not run again, so that a run that was killed continues where it stopped if the
    same command is given again.

    Example: `place-bench run siim_seg --backbones random,place --fractions 0.1,1.0 --seeds 0,1,2`
    """
    from bench.cells.request import SEEDS, RunRequest
    from bench.commands.run import run_command
    from bench.core.settings import parse_list, parse_pairs

    request = RunRequest(
        tasks=tuple(tasks),
        backbones=parse_list(backbones, str, "--backbones"),
        fractions=parse_list(fractions, float, "--fractions"),
        seeds=parse_list(seeds, int, "--seeds") or SEEDS,
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
        frame=frame,
        workers=workers,
        threads=threads,
    )
    raise typer.Exit(run_command(request, dry_run=dry_run, as_json=as_json))
