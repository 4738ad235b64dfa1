"""Scores of images and reports that were made elsewhere: from a matrix to what a run keeps of
its ranks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.contracts import CellContext, Predictions, Submission
from bench.core.errors import DataError
from bench.data.submissions import check_ids, read_arrays, read_numbers, read_rows
from tasks.retrieval.fit import Asked, asked_of, measured

ARRAYS = ("scores", "images", "reports")


@dataclass(frozen=True)
class _Matrix:
    """Scores [n, m] with the ids of their rows, images, and columns, reports."""

    scores: np.ndarray
    images: list[str]
    reports: list[str]


def read(submission: Submission, context: CellContext) -> Predictions:
    """Return what is kept of the scores of the test images and their reports.

    A report is named by its study, or by an image of it. Of reports that are the same, and count as
    one, the column of the first image is read.
    """
    asked = asked_of(submission.test, context.settings)
    path = submission.path
    matrix = _read_csv(path) if path.suffix.lower() in (".csv", ".gz") else _read_npz(path)
    images = asked.images.index["image_id"].astype(str).tolist()
    rows = check_ids(path, matrix.images, images, submission)
    columns = _columns(matrix.reports, asked, submission)
    return measured(matrix.scores[np.ix_(rows, columns)], asked, context)


def _columns(reports: list[str], asked: Asked, submission: Submission) -> np.ndarray:
    """Return the column of every report that is ranked."""
    index = asked.images.index
    _, first = np.unique(asked.pairs.text_of, return_index=True)
    studies = set(submission.index["study_id"].astype(str)) if "study_id" in index else set()
    column = "study_id" if studies.issuperset(reports) and studies else "image_id"
    wanted = index[column].astype(str).iloc[first].tolist()
    return check_ids(submission.path, reports, wanted, submission, column=column)


def _read_npz(path: Path) -> _Matrix:
    arrays = read_arrays(path, ARRAYS)
    scores = arrays["scores"]
    ids = {name: [str(value) for value in arrays[name].reshape(-1)] for name in ARRAYS[1:]}
    shape = tuple(len(names) for names in ids.values())
    if scores.shape != shape or scores.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: scores is an array of {scores.dtype} of shape {list(scores.shape)}, for "
            f"{shape[0]} images and {shape[1]} reports.",
            f"Numbers of shape {list(shape)} were expected.",
        )
    matrix = _Matrix(scores, ids["images"], ids["reports"])
    wrong = np.argwhere(~np.isfinite(scores))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"{path}: the score of image '{matrix.images[row]}' and report "
            f"'{matrix.reports[column]}' is {scores[row, column]}.",
            "A finite number was expected.",
        )
    return matrix


def _read_csv(path: Path) -> _Matrix:
    header, rows = read_rows(path)
    columns = [
        read_numbers(path, rows, column, f"the score of report '{name}'")
        for column, name in enumerate(header[1:], 1)
    ]
    scores = np.reshape(columns, (len(columns), len(rows))).T
    return _Matrix(scores, [row[0] for row in rows], header[1:])
