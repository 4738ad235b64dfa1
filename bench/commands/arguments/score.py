"""`place-bench score`: a command for each kind of file that some kind of task reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from bench.commands.arguments.common import (
    DataChoice,
    DataOption,
    DataRootOption,
    ErrorPolicy,
    ProfileName,
    ProfileOption,
    ResultsOption,
    ThreadsOption,
    WorkersOption,
)

if TYPE_CHECKING:
    from bench.contracts import SubmissionForm

TaskArgument = Annotated[
    str, typer.Argument(metavar="TASK", help="A task; see `place-bench list tasks`.")
]
NameOption = Annotated[
    str, typer.Option("--name", help="The name of the row in the tables, of your choice.")
]
FractionOption = Annotated[
    float, typer.Option(help="The share of training labels it was trained on: the column.")
]
SeedOption = Annotated[
    int, typer.Option(help="The seed it was trained with: several under one name are one row.")
]
ValidationOption = Annotated[
    Path | None,
    typer.Option(
        "--validation",
        help="The same of the validation images: thresholds are chosen on it, as in a run.",
    ),
]
ProtocolOption = Annotated[str, typer.Option(help="Of the table: default, or a published one.")]
TableSetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting that the table was made with."),
]
ErrorOption = Annotated[
    ErrorPolicy,
    typer.Option(help="At a bad image of the dataset: stop, or leave it out and count it."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace other predictions of the same name.")
]


class ScoreGroup(TyperGroup):
    """The commands of `score`: one per kind of file, named by the kinds of task."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the files that can be scored."""
        return sorted(_forms())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command that scores one kind of file; None where there is none."""
        form = _forms().get(cmd_name)
        return None if form is None else _command(form)


def _forms() -> dict[str, SubmissionForm]:
    from bench.contracts import KINDS

    forms = (kind.submission for _, kind in KINDS.items())
    return {form.name: form for form in forms if form is not None}


def _command(form: SubmissionForm) -> Any:
    function = _scores(form)
    app = typer.Typer(rich_markup_mode="markdown", add_completion=False)
    settings = {"help_option_names": ["-h", "--help"]}
    short = f"{form.help} {form.flag} {form.path}"
    app.command(form.name, context_settings=settings, short_help=short)(function)
    command = typer.main.get_command(app)
    if not form.thresholds:
        left_out = ("threshold", "validation")
        command.params = [entry for entry in command.params if entry.name not in left_out]
    return command


def _scores(form: SubmissionForm) -> Callable[..., None]:
    """Return the function of the command, with the options that this kind of file takes."""
    help_of_threshold = f"{form.thresholds} One for all classes, or CLASS=VALUE; may be repeated."

    def score(
        task: TaskArgument,
        files: Path,
        name: NameOption,
        threshold: list[str] | None = None,
        validation: ValidationOption = None,
        fraction: FractionOption = 1.0,
        seed: SeedOption = 0,
        profile: ProfileOption = ProfileName.demo,
        protocol: ProtocolOption = "default",
        settings: TableSetOption = None,
        data: DataOption = DataChoice.auto,
        data_root: DataRootOption = None,
        results: ResultsOption = Path("results"),
        on_error: ErrorOption = ErrorPolicy.stop,
        force: ForceOption = False,
        workers: WorkersOption = 2,
        threads: ThreadsOption = 2,
    ) -> None:
        from bench.cells.request import RunRequest
        from bench.cells.submitted import ScoreRequest
        from bench.commands.score import parse_thresholds, score_command
        from bench.core.settings import parse_pairs

        run = RunRequest(
            tasks=(task,),
            profile=profile.value,
            protocol=protocol,
            settings=parse_pairs(settings or []),
            data=data.value,
            data_root=data_root,
            results=results,
            on_error=on_error.value,
            force=force,
            workers=workers,
            threads=threads,
        )
        thresholds = parse_thresholds(threshold or [])
        score_command(
            ScoreRequest(run, files, name, form.name, fraction, seed, thresholds, validation)
        )

    score.__doc__ = (
        f"Score {form.name} that were made elsewhere; no model is run.\n\n{form.help}\n\n"
        f"Example: `place-bench score {form.name} TASK {form.flag} {form.path} --name my-model`"
    )
    path_option = typer.Option(form.flag, metavar=form.path, help=form.help)
    threshold_option = typer.Option("--threshold", help=help_of_threshold)
    hints: dict[str, Any] = score.__annotations__
    hints["files"] = Annotated[Path, path_option]
    hints["threshold"] = Annotated[list[str] | None, threshold_option]
    return score
