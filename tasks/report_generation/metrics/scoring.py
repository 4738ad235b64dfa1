"""All counts of a set of reports, from which every metric is a statistic."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from tasks.report_generation.labeler import Labeler
from tasks.report_generation.metrics.clinical import named
from tasks.report_generation.metrics.counting import caption_counts
from tasks.report_generation.metrics.language import language_counts, ngram_numbers
from tasks.report_generation.settings import ReportSettings


def count_all(
    hypotheses: Sequence[str],
    references: Sequence[str],
    training: Collection[str],
    settings: ReportSettings,
    labeler: Labeler,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays that `metrics.statistics` reads, and what could not be counted and why.

    Texts are cleaned; `training` holds the sentences of the training reports. No array holds a
    word.
    """
    arrays, facts = caption_counts(hypotheses, references, settings)
    arrays["named"] = named(labeler(hypotheses), settings.uncertain)
    arrays["reference_named"] = named(labeler(references), settings.uncertain)
    arrays["language"] = language_counts(hypotheses, references, training, labeler)
    return arrays | {f"grams{order}": ngram_numbers(hypotheses, order) for order in (1, 2)}, dict(
        facts
    )
