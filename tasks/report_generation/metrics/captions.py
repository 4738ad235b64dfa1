"""Captioning metrics from per-report statistics: BLEU, METEOR, ROUGE-L, CIDEr; the counts are
pycocoevalcap's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.metrics.weights import Statistic, ratio, weighted_sums

TINY = 1e-15
SMALL = 1e-9
"""pycocoevalcap's guards against empty corpora."""
METEOR_STAGES = (1.0, 0.6, 0.8, 0.6)
"""Weights of exact, stem, synonym and paraphrase matches (METEOR 1.5, English)."""
ALPHA = 0.85
BETA = 0.2
GAMMA = 0.6
DELTA = 0.75


def bleu_counts(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return per report [n, 10]: lengths of hypothesis and reference, then guessed and matched 1-
    to 4-grams."""
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

    rows = np.zeros((len(hypotheses), 10))
    for row, (hypothesis, reference) in enumerate(zip(hypotheses, references, strict=True)):
        counts = cook_test(hypothesis, cook_refs([reference], n=4), n=4)
        rows[row] = [counts["testlen"], counts["reflen"][0], *counts["guess"], *counts["correct"]]
    return rows


def bleu(counts: np.ndarray, order: int) -> Statistic:
    """Return corpus BLEU of `order` (Papineni et al. 2002) from the counts of `bleu_counts`."""

    def statistic(weights: np.ndarray) -> np.ndarray:
        """Return BLEU [R] of resampling weights [R, n]."""
        sums = weighted_sums(counts, weights)
        test = sums[:, 0]
        reference = sums[:, 1]
        guess = sums[:, 2:6]
        right = sums[:, 6:10]
        logs = np.log((right[:, :order] + TINY) / (guess[:, :order] + SMALL))
        share = (test + TINY) / (reference + SMALL)
        penalty = np.where(share < 1, np.exp(1 - 1 / share), 1.0)
        return np.exp(logs.mean(axis=1)) * penalty

    return statistic


def meteor(statistics: np.ndarray) -> Statistic:
    """Return corpus METEOR 1.5 (Denkowski & Lavie 2014) from the statistics [n, 23] of
    `java.meteor_statistics`.

    Columns: lengths of hypothesis and reference, function words of both, then per stage matched
    content words of both and matched function words of both, then chunks and all matched words of
    both. As in the program, a report that equals its reference has no fragments.
    """
    table = np.asarray(statistics, float).copy()
    all_matched = (table[:, 21:23] == table[:, 0:2]).all(axis=1)
    equal = all_matched & (table[:, 20] == 1)
    table[equal, 20] = 0
    return lambda weights: _meteor(weighted_sums(table, weights))


def _meteor(sums: np.ndarray) -> np.ndarray:
    """Return the score of summed statistics [R, 23]."""
    lengths = sums[:, 0:2]
    functions = sums[:, 2:4]
    stages = sums[:, 4:20].reshape(-1, 4, 2, 2)
    content = stages[:, :, 0]
    function = stages[:, :, 1]
    words = DELTA * content + (1 - DELTA) * function
    weighed = np.einsum("s,rsk->rk", np.array(METEOR_STAGES), words)
    sizes = DELTA * (lengths - functions) + (1 - DELTA) * functions
    precision = ratio(weighed[:, 0], sizes[:, 0], 0.0)
    recall = ratio(weighed[:, 1], sizes[:, 1], 0.0)
    mean = ratio(precision * recall, (1 - ALPHA) * recall + ALPHA * precision, 0.0)
    fragments = ratio(sums[:, 20], sums[:, 21:23].mean(axis=1), 0.0)
    return mean * (1 - GAMMA * fragments**BETA)


def rouge_l(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return ROUGE-L per report [n] (beta 1.2); an empty hypothesis has 0."""
    from pycocoevalcap.rouge.rouge import Rouge

    scorer = Rouge()
    return np.array(
        [
            scorer.calc_score([h], [r]) if h and r else 0.0
            for h, r in zip(hypotheses, references, strict=True)
        ]
    )


def cider(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return CIDEr per report [n] (Vedantam et al. 2015); document frequencies are those of all
    `references`."""
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    if not len(hypotheses):
        return np.zeros(0)
    scorer = CiderScorer(n=4, sigma=6.0)
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        scorer += (hypothesis, [reference])
    return np.asarray(scorer.compute_score()[1], float)
