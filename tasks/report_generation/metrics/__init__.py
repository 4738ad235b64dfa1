"""Scores of generated reports: per-report counts in, metrics with intervals out."""

from __future__ import annotations

from functools import partial

from bench.contracts import Predictions, TaskSpec
from bench.metrics.weights import Statistic, weighted_mean
from tasks.report_generation.metrics import captions, clinical, language


def score(predictions: Predictions, task: TaskSpec) -> dict[str, Statistic]:
    """Return the metrics of what was kept of the test images."""
    return statistics(predictions)


def statistics(predictions: Predictions) -> dict[str, Statistic]:
    """Return every metric that the kept counts allow as a function of resampling weights [R, n].

    Where Java or a program of it failed, the metrics that need it are missing, and `extra` says
    why.
    """
    arrays = predictions.arrays
    functions = clinical.clinical_statistics(
        arrays["named"].astype(bool), arrays["reference_named"].astype(bool)
    )
    if "bleu" in arrays:
        for order in (1, 2, 3, 4):
            functions[f"bleu{order}"] = captions.bleu(arrays["bleu"], order)
        for name in ("rouge_l", "cider"):
            functions[name] = partial(weighted_mean, arrays[name])
    if "meteor" in arrays:
        functions["meteor"] = captions.meteor(arrays["meteor"])
    functions |= language.language_statistics(arrays["language"])
    for order in (1, 2):
        functions[f"distinct{order}"] = language.distinct(
            arrays[f"grams{order}"], len(predictions.table)
        )
    return functions
