"""What `score` and `results export` do, behind the command line."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.cells.request import RunRequest, head_settings
from bench.cells.results import ResultStore
from bench.cells.submitted import Exported, ScoreRequest, export_predictions, form_of
from bench.contracts import EVERY, KINDS, TASKS, SubmissionForm
from bench.core.errors import SettingError
from bench.core.hashing import flatten
from bench.core.paths import check_out
from bench.core.progress import default_progress
from bench.running import score_request


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
        print(f"{entry.record['title']}:\n  {_command(entry, form)}")


def _command(entry: Exported, form: SubmissionForm) -> str:
    """Return the command that scores an exported file beside the result it is of."""
    record = entry.record
    task = str(record["task"])
    words = ["place-bench", "score", form.name, task, form.flag, str(entry.path), "--name", "NAME"]
    for option in ("seed", "profile", "protocol"):
        words += [f"--{option}", str(record[option])]
    words += ["--fraction", str(record["label_fraction"])]
    if KINDS.get(TASKS.get(task).kind).trained:
        words += ["--threads", str(record["threads"])]
    for name, value in _changed(record).items():
        words += ["--set", f"{name}={value}"]
    for label, threshold in entry.thresholds.items():
        stated = repr(threshold) if label == EVERY else f"{label}={threshold!r}"
        words += ["--threshold", stated]
    return shlex.join(words)


def _changed(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of a result that are not those of its task, as they are written."""
    task = TASKS.get(str(record["task"]))
    request = RunRequest((task.name,), profile=record["profile"], protocol=record["protocol"])
    usual = flatten(head_settings(task, request))
    values = {name: record.get(f"setting:{name}", value) for name, value in usual.items()}
    return {name: _written(value) for name, value in values.items() if value != usual[name]}


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_written, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
