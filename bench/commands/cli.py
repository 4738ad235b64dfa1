"""place-bench: which pre-trained chest-radiograph encoder is best, at what, by how much, and is the
difference real?"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.arguments.check import check
from bench.commands.arguments.common import (
    DataRootOption,
    Intervals,
    IntervalsOption,
    JsonOption,
    ResultsOption,
)
from bench.commands.arguments.data import data_app
from bench.commands.arguments.export import export
from bench.commands.arguments.pretrain import pretrain
from bench.commands.arguments.run import run
from bench.commands.arguments.score import ScoreGroup
from bench.commands.arguments.settings import settings
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
results_app = typer.Typer(
    help="Check a folder of results, and export its predictions.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
score_app = typer.Typer(cls=ScoreGroup, no_args_is_help=True, rich_markup_mode="markdown")


@score_app.callback()
def _score() -> None:
    """Score predictions that were made elsewhere; no model is run."""


app.add_typer(data_app, name="data")
app.add_typer(results_app, name="results")
app.add_typer(score_app, name="score")


class Listing(StrEnum):
    """What `list` can list."""

    tasks = "tasks"
    backbones = "backbones"
    datasets = "datasets"
    choices = "choices"


@app.callback()
def _common(
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            "--plugin", help="A Python file that declares datasets, tasks, encoders or methods."
        ),
    ] = None,
) -> None:
    from bench.core.registry import load_plugins

    variable = os.environ.get("PLACE_BENCH_PLUGINS", "")
    in_variable = [Path(path) for path in variable.split(os.pathsep) if path]
    load_plugins([*(plugin or []), *in_variable])


@app.command("list")
def list_names(
    what: Annotated[
        Listing, typer.Argument(help="tasks, backbones, datasets or choices.")
    ] = Listing.tasks,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the tasks, the backbones (encoders), the datasets, or what settings such as `decoder`
    can name (choices)."""
    from bench.commands.listing import show

    show(what.value, as_json)


app.command()(run)
app.command()(pretrain)
app.command()(settings)


@app.command()
def leaderboard(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TASK...]", help="Default: every task that has results."),
    ] = None,
    metric: Annotated[
        str, typer.Option(help="Metric to rank by. Default: the task's main metric.")
    ] = "",
    intervals: IntervalsOption = Intervals.standard,
    results: ResultsOption = Path("results"),
) -> None:
    """Write and show the tables of all results; nothing is run."""
    from bench.commands.run import leaderboard_command

    leaderboard_command(tuple(tasks or ()), metric, results, intervals.value)


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
    intervals: IntervalsOption = Intervals.standard,
    results: ResultsOption = Path("results"),
) -> None:
    """Say which encoders really differ: the difference of every pair, with its 95% interval and its
    p-value, corrected for the number of pairs.

    Example: `place-bench compare siim_seg place convirt --metric dice_global`
    """
    from bench.commands.run import compare_command

    compare_command(task, tuple(encoders or ()), metric, results, intervals.value)


@app.command()
def power(
    task: Annotated[str, typer.Argument(help="A task that has results.")],
    difference: Annotated[
        float, typer.Option(min=1e-6, help="A difference to find, in units of the metric.")
    ] = 0.03,
    metric: Annotated[
        str, typer.Option(help="Metric to compare by. Default: the task's main metric.")
    ] = "",
    as_json: JsonOption = False,
    results: ResultsOption = Path("results"),
) -> None:
    """Say how small a difference between two encoders a test set shows, and how many test patients
    another difference needs.

    Shown means: with 80 % probability, two-sided at the 5 % level, paired, patients as clusters;
    from the results made so far. Example: `place-bench power siim_seg --difference 0.05`
    """
    from bench.commands.power import power_command

    power_command(task, difference, metric, results, as_json=as_json)


app.command()(export)
app.command()(check)


@app.command()
def doctor(data_root: DataRootOption = None) -> None:
    """Say what is ready on this machine, what is missing, and what to do about it."""
    from bench.commands.doctor import doctor_command

    raise typer.Exit(doctor_command(data_root))


@results_app.command("verify")
def results_verify(
    results: ResultsOption = Path("results"),
    cache: Annotated[bool, typer.Option("--cache", help="Check the cache folder too.")] = False,
) -> None:
    """Compare results, predictions and tables with their checksums; nothing is changed.

    The exit code is 2 where something is damaged or missing.
    """
    from bench.commands.verify import verify_command

    raise typer.Exit(verify_command(results, cache=cache))


@results_app.command("export")
def results_export(
    task: Annotated[str, typer.Argument(help="A task that has results.")],
    out: Annotated[Path, typer.Option(help="Folder of the files.")] = Path("predictions"),
    results: ResultsOption = Path("results"),
) -> None:
    """Write the predictions of a task's results as files that `place-bench score` reads.

    Texts of licensed reports are written only where a run kept them (`--show-text`).
    """
    from bench.commands.score import export_command

    export_command(task, out, results)


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
