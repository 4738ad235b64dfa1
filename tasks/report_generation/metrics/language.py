"""What generated text is like: how much is copied, how varied it is, how often a report repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial

import numpy as np

from bench.metrics.weights import Statistic, in_blocks, ratio, weighted_mean, weighted_sums
from bench.text.observations import POSITIVE, UNCERTAIN
from tasks.report_generation.cleaning import split_sentences
from tasks.report_generation.labeler import Labeler

COLUMNS = (
    "words",
    "reference_words",
    "sentences",
    "normal",
    "normal_copied",
    "copied",
    "repeated",
    "empty",
)


def language_counts(
    hypotheses: Sequence[str],
    references: Sequence[str],
    training: Collection[str],
    labeler: Labeler,
) -> np.ndarray:
    """Return COLUMNS per cleaned report [n, 8].

    `training`: the sentences of the training reports. A sentence is normal where it names no
    observation as present or possible. A report is repeated where another generated report of the
    same test set is the same.
    """
    parts = [split_sentences(text) for text in hypotheses]
    different = sorted({sentence for sentences in parts for sentence in sentences})
    labels = labeler(different)[:, :13] if different else np.zeros((0, 13))  # without No Finding
    normal = {
        sentence
        for sentence, row in zip(different, labels, strict=True)
        if not np.isin(row, (POSITIVE, UNCERTAIN)).any()
    }
    times = Counter(hypotheses)
    rows = []
    for text, reference, sentences in zip(hypotheses, references, parts, strict=True):
        copied = [sentence for sentence in sentences if sentence in training]
        rows.append(
            (
                len(" ".join(sentences).split()),
                len(" ".join(split_sentences(reference)).split()),
                len(sentences),
                sum(sentence in normal for sentence in sentences),
                sum(sentence in normal for sentence in copied),
                len(copied),
                times[text] > 1,
                not sentences,
            )
        )
    return np.array(rows, float).reshape(len(hypotheses), len(COLUMNS))


def ngram_numbers(hypotheses: Sequence[str], order: int) -> np.ndarray:
    """Return [m, 3]: report, number of an n-gram, and how often it stands in the report; numbers
    say nothing of the words."""
    numbers: dict[tuple[str, ...], int] = {}
    rows = []
    for report, text in enumerate(hypotheses):
        words = text.split()
        counts = Counter(
            tuple(words[start : start + order]) for start in range(len(words) - order + 1)
        )
        rows += [
            (report, numbers.setdefault(gram, len(numbers)), count)
            for gram, count in counts.items()
        ]
    return np.array(rows, np.int64).reshape(-1, 3)


def language_statistics(counts: np.ndarray) -> dict[str, Statistic]:
    """Return the statistics of `language_counts`."""
    column = {name: counts[:, number] for number, name in enumerate(COLUMNS)}
    return {
        "normal_copied": _share(column["normal_copied"], column["sentences"]),
        "normal_sentences": _share(column["normal"], column["sentences"]),
        "copied_sentences": _share(column["copied"], column["sentences"]),
        "words": partial(weighted_mean, column["words"]),
        "words_ratio": _share(column["words"], column["reference_words"]),
        "repeated_reports": partial(weighted_mean, column["repeated"]),
        "empty_reports": partial(weighted_mean, column["empty"]),
    }


def distinct(grams: np.ndarray, reports: int) -> Statistic:
    """Return the share of n-grams that are different (Li et al. 2016) from `ngram_numbers`.

    A resample holds fewer different reports than the test set, so its value is a little lower: the
    interval may lie below the value.
    """
    from scipy.sparse import csr_matrix

    different = int(grams[:, 1].max()) + 1 if len(grams) else 0
    there = csr_matrix(
        (np.ones(len(grams)), (grams[:, 0], grams[:, 1])), shape=(reports, different)
    )
    totals = np.bincount(grams[:, 0], weights=grams[:, 2], minlength=reports)

    def block(weights: np.ndarray) -> np.ndarray:
        """Return how many different n-grams the resampled reports hold, [R]."""
        times = (weights > 0).astype(float) @ there
        return np.asarray(times > 0).sum(axis=1).astype(float)

    def share(weights: np.ndarray) -> np.ndarray:
        """Return the different n-grams by all, [R]."""
        counts = in_blocks(block, weights, max(1, different))
        return ratio(counts, weighted_sums(totals[:, None], weights)[:, 0])

    return share


def _share(part: np.ndarray, whole: np.ndarray) -> Statistic:
    return lambda weights: ratio(
        weighted_sums(part[:, None], weights)[:, 0], weighted_sums(whole[:, None], weights)[:, 0]
    )
