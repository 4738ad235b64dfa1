"""Predictions that were made elsewhere: how a kind of task says which files it reads, and what is
handed to its reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import SettingError
from bench.core.registry import suggest

if TYPE_CHECKING:
    import pandas as pd

    from bench.contracts.datasets import Subset
    from bench.contracts.tasks import CellContext, Predictions

EVERY = ""
"""The label of a threshold that holds for all classes."""


@dataclass(frozen=True)
class Submission:
    """What somebody hands in for a task: files, and what was stated beside them.

    `index` has all images of the task with their `split`; `root` is the folder of the dataset.
    `validation` is a file like `path` of the validation images, from which thresholds are chosen.
    """

    path: Path
    index: pd.DataFrame
    root: Path
    train: Subset
    val: Subset
    test: Subset
    thresholds: Mapping[str, float] = field(default_factory=dict)
    validation: Path | None = None

    def thresholds_of(self, labels: tuple[str, ...]) -> list[float] | None:
        """Return the stated threshold of each label; None where none is stated. Raise SettingError
        for a label that there is not, or one without a threshold."""
        if not self.thresholds:
            return None
        for label in self.thresholds:
            if label != EVERY and label not in labels:
                raise SettingError(
                    f"--threshold names '{label}', which is no class of the task.",
                    suggest(label, labels),
                )
        common = dict.fromkeys(labels, self.thresholds[EVERY]) if EVERY in self.thresholds else {}
        by_label = {**common, **self.thresholds}
        without = [label for label in labels if label not in by_label]
        if without:
            raise SettingError(
                f"--threshold names none for '{without[0]}'.",
                "Name one for each class, or write one number for all.",
            )
        return [by_label[label] for label in labels]


ReadSubmission = Callable[[Submission, "CellContext"], "Predictions"]
"""From what was handed in to what the kind's `predict` would return."""
WriteSubmission = Callable[["Predictions", Mapping[str, Any], Path], Mapping[str, float]]
"""Write the kept predictions of a record to a path so that the reader gives them back; return the
thresholds that have to be stated beside it."""


@dataclass(frozen=True)
class SubmissionForm:
    """The files in which predictions of a kind come from elsewhere.

    `place-bench score <name> TASK --<option> PATH` reads them with `read`. `write` exports what a
    run kept; where it is None, `not_kept` says what a run does not keep. `thresholds` says what
    they decide; "" for a kind that has none.
    """

    name: str
    path: str
    help: str
    read: ReadSubmission
    write: WriteSubmission | None = None
    suffix: str = ""
    option: str = ""
    thresholds: str = ""
    not_kept: str = ""

    @property
    def flag(self) -> str:
        """Return the name of the option that takes the path."""
        return f"--{self.option or self.name}"
