"""place-bench: which pre-trained chest-radiograph encoder is best, at what, by how much, and is the
difference real?"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.core.console import guarded

app = typer.Typer(
    name="place-bench",
    help=__doc__,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here: **place-bench doctor**, then **place-bench run siim_seg**.",
)
data_app = typer.Typer(
    help="See, check and make datasets.", no_args_is_help=True, rich_markup_mode="markdown"
)
results_app = typer.Typer(
    help="Check what a results folder holds.", no_args_is_help=True, rich_markup_mode="markdown"
)
app.add_typer(data_app, name="data")
app.add_typer(results_app, name="results")


class Listing(StrEnum):
    """What `list` can list."""

    tasks = "tasks"
    backbones = "backbones"
    datasets = "datasets"


class ProfileName(StrEnum):
    """Sizes of encoder and images."""

    demo = "demo"
    paper = "paper"


class DataChoice(StrEnum):
    """Which files to read."""

    auto = "auto"
    real = "real"
    demo = "demo"


class FrameworkName(StrEnum):
    """Where a user goes on with an encoder."""

    mmseg = "mmseg"
    mmdet = "mmdet"


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


@app.callback()
def _common(
    plugin: Annotated[
        list[Path] | None,
        typer.Option("--plugin", help="A Python file that registers datasets, tasks, backbones."),
    ] = None,
) -> None:
    from bench.core.registry import load_plugin

    named = os.environ.get("PLACE_BENCH_PLUGINS", "")
    for path in [*(plugin or []), *(Path(part) for part in named.split(os.pathsep) if part)]:
        load_plugin(path)


@app.command("list")
def list_names(
    what: Annotated[Listing, typer.Argument(help="tasks, backbones or datasets.")] = Listing.tasks,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the tasks, backbones or datasets that can be named in `run`."""
    from bench.commands.listing import show

    show(what.value, as_json)


@app.command()
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
    data: Annotated[
        DataChoice,
        typer.Option(help="auto: real files where found, else rendered ones, saying so."),
    ] = DataChoice.auto,
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
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode images.")] = 2,
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


@app.command()
def pretrain(
    method: Annotated[
        str,
        typer.Argument(
            help="A backbone that can be pre-trained; see `place-bench list backbones`."
        ),
    ],
    dataset: Annotated[
        str, typer.Option(help="Image-report dataset. Default: the method's own choice.")
    ] = "",
    profile: ProfileOption = ProfileName.demo,
    arch: ArchOption = "",
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of weights, order and crops.")
    ] = 0,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    data: Annotated[
        DataChoice,
        typer.Option(help="auto: real files where found, else rendered ones, saying so."),
    ] = DataChoice.auto,
    data_root: DataRootOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the checkpoint. Default: the cache, where `run` finds it."),
    ] = None,
    on_error: Annotated[
        ErrorPolicy, typer.Option(help="stop at the first bad file, or skip and count it.")
    ] = ErrorPolicy.stop,
    force: Annotated[
        bool, typer.Option("--force", help="Train again although the checkpoint exists.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode images.")] = 2,
    threads: ThreadsOption = 2,
) -> None:
    """Pre-train an encoder on radiographs and their reports; writes a safetensors checkpoint with a
    card.

    A killed run continues from its last epoch: give the same command.

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


@app.command()
def leaderboard(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TASK...]", help="Default: every task that has results."),
    ] = None,
    metric: Annotated[
        str, typer.Option(help="Metric to rank by. Default: the task's main metric.")
    ] = "",
    results: ResultsOption = Path("results"),
) -> None:
    """Write and show the tables of the results made so far; no cell is run."""
    from bench.commands.run import leaderboard_command

    leaderboard_command(tuple(tasks or ()), metric, results)


@app.command()
def compare(
    task: Annotated[str, typer.Argument(help="A task that has results.")],
    encoders: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ENCODER...]", help="Rows to compare. Default: all."),
    ] = None,
    metric: Annotated[
        str, typer.Option(help="Metric to compare by. Default: the task's main metric.")
    ] = "",
    results: ResultsOption = Path("results"),
) -> None:
    """Say which encoders really differ: every paired difference with its interval and p-value,
    corrected for all shown pairs.

    Example: `place-bench compare siim_seg place convirt --metric dice_global`
    """
    from bench.commands.run import compare_command

    compare_command(task, tuple(encoders or ()), metric, results)


@app.command()
def export(
    framework: Annotated[
        FrameworkName, typer.Argument(help="mmseg: UPerNet. mmdet: Faster R-CNN.")
    ],
    encoder: Annotated[str, typer.Argument(help="Encoder; see `place-bench list backbones`.")],
    out: Annotated[Path, typer.Option(help="Folder of the config and the weights.")] = Path(
        "export"
    ),
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights. Default: those `run` would use.")
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Class names, comma separated, without the background.")
    ] = "finding",
    images: Annotated[
        str, typer.Option(help="Folder of the training data, as it shall stand in the config.")
    ] = "data",
    image_size: Annotated[
        int | None, typer.Option(min=32, help="Image side in px. Default: the encoder's.")
    ] = None,
    frozen: Annotated[bool, typer.Option("--frozen", help="Train the head alone.")] = False,
    native: Annotated[
        bool,
        typer.Option(
            "--native",
            help=(
                "mmseg and ViTs: give mmsegmentation's own VisionTransformer the weights, under "
                "its names; the config then needs no place-bench."
            ),
        ),
    ] = False,
    profile: ProfileOption = ProfileName.demo,
    arch: ArchOption = "",
    force: Annotated[
        bool, typer.Option("--force", help="Write over a config that is there.")
    ] = False,
) -> None:
    """Write a mmsegmentation or mmdetection config that goes on from an encoder, with its weights
    beside.

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


@app.command()
def doctor(data_root: DataRootOption = None) -> None:
    """Say what is ready, what to be warned of and what is blocked on this machine, and the next
    action of each."""
    from bench.commands.doctor import doctor_command

    raise typer.Exit(doctor_command(data_root))


@results_app.command("verify")
def results_verify(
    results: ResultsOption = Path("results"),
    cache: Annotated[
        bool, typer.Option("--cache", help="Compare everything in the cache folder too.")
    ] = False,
) -> None:
    """Compare every record, every file of predictions and every page with their checksums; exit
    code 2 where something is damaged or missing. Nothing is changed."""
    from bench.commands.verify import verify_command

    raise typer.Exit(verify_command(results, cache=cache))


@data_app.command("list")
def data_list(data_root: DataRootOption = None) -> None:
    """List the datasets: where each is found."""
    from bench.commands.data import list_command

    list_command(data_root)


@data_app.command("info")
def data_info(
    names: Annotated[list[str], typer.Argument(help="Datasets; see `place-bench data list`.")],
    data_root: DataRootOption = None,
) -> None:
    """Say what a dataset is, where it is found, its licence and how to get it."""
    from bench.commands.data import info_command

    info_command(tuple(names), data_root)


@data_app.command("verify")
def data_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
    data_root: DataRootOption = None,
) -> None:
    """Compare what is on the disk with the published counts; exit code 2 where something is missing
    or wrong."""
    from bench.commands.data import verify_command

    raise typer.Exit(verify_command(tuple(names or ()), data_root))


@data_app.command("path")
def data_path(
    name: Annotated[str, typer.Argument(help="Dataset.")], data_root: DataRootOption = None
) -> None:
    """Print the folder a dataset is read from."""
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
            min=1, max=1_000_000, help="Studies to render. Default: the dataset's demo size."
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=64, max=2048, help="Image size in px. Default: 256.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Same seed, same bytes.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Render over a demo that is there, of whatever size.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that render.")] = 2,
) -> None:
    """Render demo radiographs (and reports) in the native layout of a dataset."""
    from bench.commands.data import make_demo_command

    make_demo_command(tuple(names or ()), out, studies, size, seed, workers, force=force)


def main() -> None:
    """Run the command line: a PlaceBenchError is one sentence and exit code 2, Ctrl-C is 130."""
    # Waiting threads that spin instead of sleeping make two busy processes on two cores several
    # times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(guarded("place-bench", _run_app))


def _run_app() -> int:
    try:
        app()
    except SystemExit as stop:  # how click ends a command; what it printed is flushed by `guarded`
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


if __name__ == "__main__":
    main()
