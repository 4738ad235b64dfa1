"""`place-bench score` has a command for each kind of file, and says in one sentence what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from bench.commands.cli import app
from bench.contracts import KINDS
from tests.support.commands import place_bench


def commands() -> dict[str, set[str]]:
    """Return the options of every command of `score`."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    score = group.commands["score"]
    assert isinstance(score, typer.core.TyperGroup)
    context = typer.Context(score)
    options = {}
    for name in score.list_commands(context):
        command = score.get_command(context, name)
        assert command is not None
        options[name] = {word for each in command.params for word in each.opts}
    return options


def test_every_kind_that_reads_files_has_its_command_and_option() -> None:
    options = commands()
    for name, kind in KINDS.items():
        form = kind.submission
        assert form is not None, name
        assert form.flag in options[form.name]
        takes = {"--threshold", "--validation"} & options[form.name]
        assert len(takes) == (2 if form.thresholds else 0), form.name
    assert set(options) == {"predictions", "reports", "masks", "boxes", "retrieval", "maps"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("reports", "siim_cls", "--reports", "mine.csv"),
            "task 'siim_cls' is scored from predictions, not from reports.",
        ),
        (("masks", "siim_seg", "--masks", "nowhere"), "nowhere does not exist."),
    ],
)
def test_what_cannot_be_scored_is_one_sentence_and_exit_code_2(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "mine.csv").write_text("image_id\n")
    done = place_bench("score", *words, "--name", "mine", cwd=tmp_path, code=2)
    lines = done.stderr.strip().splitlines()
    assert said in " ".join(lines) and "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()
