"""What `score` and `results export` do, behind the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from bench.api import score_request
from bench.cells.results import ResultStore
from bench.cells.submitted import ScoreRequest, export_predictions, form_of
from bench.contracts import EVERY, TASKS
from bench.core.errors import SettingError
from bench.core.paths import check_out
from bench.core.progress import default_progress


def score_command(request: ScoreRequest) -> None:
    """Score what was handed in, then print the leaderboard."""
    progress = default_progress()
    outcome = score_request(request, progress)
    for page in outcome.pages.values():
        print(page)
    task = outcome.tasks[0]
    progress.say(f"Tables: {outcome.views.folder / task}.md and .csv")


def parse_thresholds(words: Sequence[str]) -> dict[str, float]:
    """Return thresholds by class from `VALUE` (every class) and `CLASS=VALUE`; raise SettingError
    for what is neither, and for a class that is named twice."""
    thresholds: dict[str, float] = {}
    for word in words:
        label, _, value = word.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            raise SettingError(
                f"--threshold {word} holds no number.", "Write 0.5, or CLASS=0.5."
            ) from None
        if math.isnan(number) or (label or EVERY) in thresholds:
            raise SettingError(
                f"--threshold {word} is no number, or of a class that was named before.",
                "Write one number for each class.",
            )
        thresholds[label or EVERY] = number
    return thresholds


def export_command(task: str, folder: Path, results: Path) -> None:
    """Write the predictions of a task's results, and print how each is scored."""
    check_out(folder)
    exported = export_predictions(ResultStore(results), task, folder)
    form = form_of(TASKS.get(task))
    for entry in exported:
        record = entry.record
        stated = [f"--threshold '{label}={value!r}'" for label, value in entry.thresholds.items()]
        words = [
            f"place-bench score {form.name} {task} {form.flag} {entry.path} --name NAME",
            f"--fraction {record['label_fraction']:g} --seed {record['seed']}",
            f"--profile {record['profile']} --protocol {record['protocol']}",
            *stated,
        ]
        print(f"{record['title']}:\n  {' '.join(words)}")
