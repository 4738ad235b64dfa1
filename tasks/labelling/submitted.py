"""Probabilities of classes that were made elsewhere: from a table to what a kind of classification
keeps, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import CellContext, Predictions, Submission
from bench.core.errors import DataError, SettingError
from bench.data.submissions import check_ids, column_of, read_numbers, read_rows, write_rows
from tasks.labelling import readout
from tasks.labelling.settings import ReadoutSettings
from tasks.labelling.targets import Labelled, labelled

FAR = 1000.0
"""The score of a probability of 1 (its negative: of 0), whose logit is not finite."""
SUM = 0.01
"""By how much the probabilities of exclusive classes may miss one."""
SCORE = "score:"
"""Columns by which images are ranked, where the probabilities were calibrated."""
UNDECIDED = (
    "no threshold was stated and no validation file given: metrics of decisions are not defined"
)


@dataclass(frozen=True)
class _Given:
    """What a table says of images: probabilities and the scores that rank them, [n, C] each."""

    probabilities: np.ndarray
    scores: np.ndarray


def read(submission: Submission, context: CellContext) -> Predictions:
    """Return the table of `bench.metrics.classification` of the test images, from probabilities.

    Thresholds are those that were stated, or chosen on the validation file as a run chooses them.
    Without either, and unless the settings need none, there are no decisions in the table.
    """
    settings: Any = context.settings
    stated = _stated(submission, settings)
    test = labelled(submission.test, settings, "test")
    given = _read_table(submission.path, test, submission, settings, "test")
    chosen = _chosen(submission, settings)
    table = readout.table(test.subset.index, given.scores, test.values, chosen, settings)
    facts: dict[str, Any] = {}
    if submission.validation:
        facts |= chosen.facts(settings.labels)
    for c, label in enumerate(settings.labels):
        if not submission.validation:
            table[f"prob:{label}"] = given.probabilities[:, c]
        if stated:
            table[f"pred:{label}"] = (given.probabilities[:, c] > stated[c]).astype(float)
            facts[f"threshold:{label}"] = stated[c]
    if _needs_thresholds(settings) and not (stated or submission.validation):
        table = table.drop(columns=[f"pred:{label}" for label in settings.labels])
        facts["undecided"] = UNDECIDED
        context.progress.say(f"{context.task.name}: {UNDECIDED}.")
    facts |= readout.facts_on_test(given.scores, test.values, chosen, settings)
    return Predictions(table, {}, {**facts, **readout.counts(table, settings)})


def _needs_thresholds(settings: ReadoutSettings) -> bool:
    return settings.mode != "multiclass" and settings.threshold == "validation"


def _stated(submission: Submission, settings: ReadoutSettings) -> list[float] | None:
    """Return the stated thresholds; raise SettingError where they decide nothing, or are none of a
    probability."""
    thresholds = submission.thresholds_of(settings.labels)
    if thresholds is None:
        return None
    if not _needs_thresholds(settings):
        exclusive = settings.mode == "multiclass"
        chosen = "the most probable class" if exclusive else f"threshold={settings.threshold}"
        raise SettingError(
            f"--threshold decides nothing here: the task takes {chosen}.", "Leave it out."
        )
    outside = [value for value in thresholds if not 0 <= value <= 1]
    if outside:
        raise SettingError(
            f"--threshold is {outside[0]:g}; a probability was expected.", "Write 0 to 1."
        )
    return thresholds


def _chosen(submission: Submission, settings: ReadoutSettings) -> readout.Readout:
    """Return what is chosen on the validation file; without one temperature 1 and threshold 0
    (probability 0.5)."""
    if submission.validation is None:
        classes = len(settings.labels)
        return readout.Readout((1.0,) * classes, (0.0,) * classes)
    images = labelled(submission.val, settings, "validation")
    given = _read_table(submission.validation, images, submission, settings, "val")
    return readout.choose(given.scores, images.values, settings)


def _read_table(
    path: Path, images: Labelled, submission: Submission, settings: ReadoutSettings, split: str
) -> _Given:
    """Return what a table says of some images, in their order."""
    header, rows = read_rows(path)
    key = column_of(path, header, ["image_id"])
    columns = [column_of(path, header, [label]) for label in settings.labels]
    ids = [row[key] for row in rows]
    wanted = images.subset.index["image_id"].astype(str).tolist()
    order = check_ids(path, ids, wanted, submission, split=split)
    values = [
        read_numbers(path, rows, column, label, key)
        for label, column in zip(settings.labels, columns, strict=True)
    ]
    probabilities = np.stack(values, axis=1)
    _check_probabilities(path, ids, probabilities, settings)
    scores = _scores_of(probabilities, settings)
    for c, label in enumerate(settings.labels):
        name = SCORE + label
        if name in header:
            scores[:, c] = read_numbers(path, rows, header.index(name), name, key)
    return _Given(probabilities[order], scores[order])


def _check_probabilities(
    path: Path, ids: list[str], probabilities: np.ndarray, settings: ReadoutSettings
) -> None:
    outside = np.argwhere((probabilities < 0) | (probabilities > 1))
    if len(outside):
        row, column = outside[0]
        raise DataError(
            f"{path}, image '{ids[row]}': {settings.labels[column]} is "
            f"{probabilities[row, column]:g}, which is no probability.",
            "Values from 0 to 1 were expected: put scores through a sigmoid or softmax.",
        )
    if settings.mode != "multiclass":
        return
    sums = probabilities.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > SUM)
    if len(wrong):
        raise DataError(
            f"{path}, image '{ids[wrong[0]]}': the probabilities of the {len(settings.labels)} "
            f"classes add up to {sums[wrong[0]]:.3f}.",
            "The classes of this task exclude each other: they must add up to 1.",
        )


def _scores_of(probabilities: np.ndarray, settings: ReadoutSettings) -> np.ndarray:
    """Return the scores that probabilities stand for: logits, or logarithms for exclusive
    classes."""
    with np.errstate(divide="ignore"):
        scores = np.log(probabilities)
        if settings.mode != "multiclass":
            scores -= np.log1p(-probabilities)
    return np.nan_to_num(scores, posinf=FAR, neginf=-FAR)


def write(predictions: Predictions, record: Mapping[str, Any], path: Path) -> Mapping[str, float]:
    """Write kept predictions as such a table, with their scores; return the thresholds that have to
    be stated."""
    table = predictions.table.drop_duplicates("image_id")
    labels = [str(name).removeprefix("prob:") for name in table if str(name).startswith("prob:")]
    columns = [f"prob:{label}" for label in labels] + [f"{SCORE}{label}" for label in labels]
    values = [table[name].astype(float).tolist() for name in columns]
    header = ["image_id", *labels, *(f"{SCORE}{label}" for label in labels)]
    write_rows(path, header, zip(table["image_id"].astype(str), *values, strict=True))
    facts = predictions.extra
    if facts["mode"] == "multiclass" or record.get("setting:threshold") != "validation":
        return {}
    stated = {label: facts.get(f"threshold:{label}") for label in labels}
    return {label: float(value) for label, value in stated.items() if value is not None}
