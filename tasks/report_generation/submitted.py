"""Reports that were written elsewhere: from a table to what is kept of a run's reports, and
back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contracts import CellContext, Predictions, Submission
from bench.core.errors import NotApplicableError
from bench.data.submissions import check_ids, column_of, read_rows, write_rows
from tasks.report_generation.cleaning import clean
from tasks.report_generation.data import Studies, group_studies, require_studies
from tasks.report_generation.fit import Fitted, predict, sentences_of
from tasks.report_generation.settings import ReportSettings
from tasks.report_generation.vocabulary import learn_vocabulary, through

TEXT = "text"
CLEANED = "cleaned"
"""Columns of the reports: as people write them, or already as the words of the task."""


@dataclass(frozen=True)
class _Elsewhere:
    """What stands in the place of a writer: a table of reports."""

    submission: Submission
    training: tuple[str, ...]
    settings: ReportSettings

    def write(self, studies: Studies) -> list[str]:
        """Return the cleaned reports of some studies, in their order."""
        return _read_reports(self.submission, studies, self.settings)

    def through_vocabulary(self, texts: Sequence[str]) -> list[str]:
        """Return texts as they come back from the vocabulary of the training reports, as those do
        that a run is scored against."""
        vocabulary = learn_vocabulary(self.training, self.settings)
        return through(vocabulary, texts, self.settings.words_read)


def read(submission: Submission, context: CellContext) -> Predictions:
    """Return what is kept of the reports of the test studies, as of those that a run writes."""
    settings: ReportSettings = context.settings
    training = require_studies(group_studies(submission.train, settings), "training")
    writer = _Elsewhere(submission, training.texts, settings)
    fitted = Fitted(writer, sentences_of(training), {"train_studies": len(training)})
    return predict(fitted, submission.test, context)


def _read_reports(submission: Submission, studies: Studies, settings: ReportSettings) -> list[str]:
    path = submission.path
    header, rows = read_rows(path)
    by_study = "study_id" in studies.subset.index and "study_id" in header
    column = "study_id" if by_study else "image_id"
    named = column_of(path, header, ["study_id", "image_id"] if by_study else ["image_id"])
    at = column_of(path, header, [TEXT, CLEANED])
    ids = [row[named] for row in rows]
    wanted = studies.subset.index[column].astype(str).iloc[studies.first].tolist()
    order = check_ids(path, ids, wanted, submission, column=column)
    texts = [rows[row][at] for row in order]
    return texts if header[at] == CLEANED else [clean(text, settings.cleaning) for text in texts]


def write(predictions: Predictions, record: Mapping[str, Any], path: Path) -> Mapping[str, float]:
    """Write the kept reports of a run as such a table; raise NotApplicableError where they were not
    kept."""
    table = predictions.table
    if "hypothesis" not in table:
        raise NotApplicableError(
            f"{record['title']}: the texts of licensed reports were not kept.",
            "Run it with --show-text to keep them.",
        )
    rows = zip(table["image_id"].astype(str), table["hypothesis"].astype(str), strict=True)
    write_rows(path, ["image_id", CLEANED], rows)
    return {}
