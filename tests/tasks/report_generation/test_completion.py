"""A result made without Java gets its captioning metrics once Java is there, where texts were
kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.contracts import CellContext, Predictions
from bench.metrics.bootstrap import point
from tasks.report_generation.metrics import java
from tests.tasks.report_generation.conftest import KIND, TASK, cell, studies

JAVA = """
lines = sys.stdin.read().split("\\n")[:-1]
for line in lines:
    print("1 " * 23 if "Meteor" in sys.argv else line.lower())
"""
"""A program that answers as the tokenizer and as METEOR do."""


@pytest.fixture
def without_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Return a function that puts Java there."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    java.java_command.cache_clear()

    def install(body: str = JAVA) -> None:
        program = tmp_path / "bin" / "java"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!{sys.executable}\nimport sys\n{body}")
        program.chmod(0o755)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        java.java_command.cache_clear()

    yield install
    java.java_command.cache_clear()


def predicted(context: CellContext) -> Predictions:
    fitted = KIND.baseline("random_report")(studies(12, 1), studies(6, 2), context)
    return KIND.predict(fitted, studies(10, 3), context)


def scores(predictions: Predictions) -> dict[str, float]:
    count = len(predictions.table)
    return {name: point(f, count) for name, f in KIND.statistics(predictions, TASK).items()}


@pytest.mark.parametrize("tokenizer", ["ptb", "cleaned"])
def test_completed_predictions_are_those_made_with_java(
    tmp_path: Path, without_java: Callable[..., Any], tokenizer: str
) -> None:
    context = cell(tmp_path, tokenizer=tokenizer)
    first = predicted(context)
    assert "meteor" not in scores(first) and KIND.complete(first, context.settings) is None
    without_java()
    completed = KIND.complete(first, context.settings)
    assert completed is not None
    assert scores(completed) == scores(predicted(context))
    assert {"bleu4", "rouge_l", "cider", "meteor"} <= scores(completed).keys()
    assert not any(name.startswith("missing:") for name in completed.extra)
    assert completed.extra["studies"] == first.extra["studies"]
    assert KIND.complete(completed, context.settings) is None


def test_predictions_without_texts_stay_as_they_are(
    tmp_path: Path, without_java: Callable[..., Any]
) -> None:
    context = cell(tmp_path, tokenizer="ptb")
    first = predicted(context)
    private = Predictions(
        first.table.drop(columns=["hypothesis", "reference"]), first.arrays, first.extra
    )
    without_java()
    assert KIND.complete(private, context.settings) is None


def test_a_program_that_crashed_is_not_started_again(
    tmp_path: Path, without_java: Callable[..., Any]
) -> None:
    without_java("sys.exit(3)\n")
    context = cell(tmp_path, tokenizer="ptb")
    first = predicted(context)
    assert "stopped after 0 of" in first.extra["missing:captions"]
    without_java()
    assert KIND.complete(first, context.settings) is None
