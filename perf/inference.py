"""Does the harness tell the truth about its own uncertainty? Simulated test sets with known true
values: how often an interval holds the truth, how often equal encoders are said to differ, and how
often a stated difference is found. `python -m perf.inference` prints the tables of
docs/statistics.md."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import norm

from bench.metrics.bootstrap import cluster_weights, interval
from bench.metrics.intervals import (
    Scale,
    Spread,
    interval_of,
    standard_error,
    t_interval,
    t_p_value,
    training_error,
)
from bench.metrics.paired import holm
from bench.metrics.power import PairDesign, smallest_difference
from bench.metrics.ranking import auroc, average_precision, rank
from bench.metrics.weights import ratio, weighted_mean, weighted_sums

RESAMPLES = 500
_SHARED = 0.5
"""Variance that the scores of one patient's images have in common; that of a single image is 0.5
too."""


@dataclass(frozen=True)
class TestSet:
    """Images of patients with 1 to 4 images each: `patient` [n] and `label` [n], the same for all
    images of a patient."""

    patient: np.ndarray
    label: np.ndarray
    weights: np.ndarray

    @property
    def positive_patients(self) -> int:
        """Return how many patients are positive, or negative where those are fewer."""
        positive = len(np.unique(self.patient[self.label == 1]))
        return min(positive, len(np.unique(self.patient)) - positive)


def draw_test_set(rng: np.random.Generator, images: int, prevalence: float) -> TestSet:
    """Draw a test set of about `images` images."""
    sizes: list[int] = []
    while sum(sizes) < images:
        sizes.append(int(rng.integers(1, 5)))
    patient = np.repeat(np.arange(len(sizes)), sizes)
    label = (rng.random(len(sizes)) < prevalence).astype(int)[patient]
    weights = cluster_weights(
        [str(number) for number in patient], RESAMPLES, int(rng.integers(2**31))
    )
    return TestSet(patient, label, weights)


def draw_scores(
    rng: np.random.Generator, test: TestSet, separation: float, common: np.ndarray | None = None
) -> np.ndarray:
    """Draw an encoder's scores [n]: `separation` standard deviations between the classes; `common`
    [n] is what all encoders find easy or hard in an image."""
    patients = int(test.patient.max()) + 1
    of_patient = rng.normal(scale=np.sqrt(_SHARED), size=patients)[test.patient]
    of_image = rng.normal(scale=np.sqrt(1 - _SHARED), size=len(test.label))
    noise = of_patient + of_image
    if common is not None:
        noise = np.sqrt(0.5) * noise + np.sqrt(0.5) * common
    return separation * test.label + noise


def true_auroc(separation: float) -> float:
    """Return the AUROC of infinitely many images."""
    return float(norm.cdf(separation / np.sqrt(2)))


def separation_of(value: float) -> float:
    """Return the separation that has this AUROC."""
    return float(norm.ppf(value) * np.sqrt(2))


Statistic = Callable[[np.ndarray], np.ndarray]


def _auroc_of(test: TestSet, scores: np.ndarray) -> Statistic:
    ranking = rank(scores, test.label)
    return lambda weights: auroc(ranking, weights)


def _precision_of(test: TestSet, scores: np.ndarray) -> Statistic:
    ranking = rank(scores, test.label)
    return lambda weights: average_precision(ranking, weights)


def _f1_of(test: TestSet, scores: np.ndarray) -> Statistic:
    decided = scores > 1.0
    hits = (decided & (test.label == 1)).astype(float)
    sizes = decided.astype(float) + test.label

    def f1(weights: np.ndarray) -> np.ndarray:
        sums = weighted_sums(np.stack([2 * hits, sizes], 1), weights)
        return ratio(sums[:, 0], sums[:, 1])

    return f1


def _mean_overlap_of(test: TestSet, scores: np.ndarray) -> Statistic:
    positive = test.label == 1
    overlap = 1 / (1 + np.exp(-scores[positive]))
    return lambda weights: weighted_mean(overlap, weights[:, positive])


METRICS: dict[str, tuple[Scale, Callable[[TestSet, np.ndarray], Statistic]]] = {
    "AUROC": ("share", _auroc_of),
    "average precision": ("share", _precision_of),
    "F1": ("share", _f1_of),
    "mean overlap": ("mean", _mean_overlap_of),
}
_SEPARATION = separation_of(0.8)


def true_value(metric: str, prevalence: float) -> float:
    """Return a metric's value on very many images."""
    if metric == "AUROC":
        return true_auroc(_SEPARATION)
    rng = np.random.default_rng(0)
    label = (rng.random(1_000_000) < prevalence).astype(int)
    test = TestSet(np.arange(len(label)), label, np.ones((1, len(label)), np.int64))
    scores = _SEPARATION * label + rng.normal(size=len(label))
    return float(METRICS[metric][1](test, scores)(test.weights)[0])


def value_and_spread(statistic: Statistic, test: TestSet) -> tuple[float, np.ndarray, Spread]:
    """Return a metric's value on a test set, its resampled values and its spread."""
    value = float(statistic(np.ones((1, len(test.label)), np.int64))[0])
    resampled = statistic(test.weights)
    return value, resampled, Spread(standard_error(resampled), test.positive_patients - 1)


@dataclass(frozen=True)
class Coverage:
    """How often the percentile interval and ours hold the true value, among the draws where ours is
    defined; `none`: the share of draws where it is not."""

    percentile: float
    ours: float
    none: float


def coverage(
    metric: str, images: int, prevalence: float, draws: int = 1000, seed: int = 0
) -> Coverage:
    """Simulate one metric on test sets of one size."""
    scale, make = METRICS[metric]
    truth = true_value(metric, prevalence)
    hits = []
    for number in range(draws):
        rng = np.random.default_rng([seed, number])
        test = draw_test_set(rng, images, prevalence)
        scores = draw_scores(rng, test, _SEPARATION)
        value, resampled, spread = value_and_spread(make(test, scores), test)
        low, high = interval_of(value, resampled, spread, scale=scale)
        plain_low, plain_high = interval(resampled)
        if not np.isnan(low):
            hits.append((plain_low <= truth <= plain_high, low <= truth <= high))
    percentile, ours = np.mean(hits, axis=0) if hits else (np.nan, np.nan)
    return Coverage(float(percentile), float(ours), 1 - len(hits) / draws)


def seed_coverage(
    ratio_of_spreads: float, seeds: int, draws: int = 1000, seed: int = 0, patients: int = 100
) -> float:
    """Return how often the interval of a difference holds the truth where training adds noise:
    `ratio_of_spreads` is the standard deviation over seeds over the standard error of the test
    set."""
    hits = []
    test_error = 0.02
    for number in range(draws):
        rng = np.random.default_rng([seed, 1, number])
        differences = rng.normal(scale=test_error * np.sqrt(patients), size=patients)
        error_of_patients = differences.std(ddof=1) / np.sqrt(patients)
        values = differences.mean() + rng.normal(scale=ratio_of_spreads * test_error, size=seeds)
        training, freedom = training_error(values)
        spread = Spread(error_of_patients, patients - 1, training, freedom)
        low, high = t_interval(float(values.mean()), spread)
        hits.append(low <= 0 <= high)
    return float(np.mean(hits))


CLASSES = 5
_DIMENSIONS = 12


def draw_pairs(rng: np.random.Generator, images: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw a retrieval test set of patients with 1 to 4 images: its index, with one of five labels
    per patient, and the cosines [n, n] of images and reports, which share a class and a patient."""
    sizes: list[int] = []
    while sum(sizes) < images:
        sizes.append(int(rng.integers(1, 5)))
    patient = np.repeat(np.arange(len(sizes)), sizes)
    label = rng.integers(0, CLASSES, len(sizes))[patient]
    common = np.eye(CLASSES, _DIMENSIONS)[label]
    common = common + rng.normal(scale=0.5, size=(len(sizes), _DIMENSIONS))[patient]
    sides = []
    for _ in range(2):
        vectors = common + rng.normal(scale=0.8, size=common.shape)
        sides.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    index = pd.DataFrame({"patient_id": patient.astype(str)})
    index["report"] = [f"report {number}" for number in range(len(patient))]
    for number in range(CLASSES):
        index[f"label:{number}"] = (label == number).astype(float)
    return index, sides[0] @ sides[1].T


@dataclass(frozen=True)
class RetrievalCoverage:
    """How often the interval of P@10 holds its mean over many test sets: where queries alone are
    drawn again, and where candidates are too."""

    queries: float
    both: float


def retrieval_coverage(images: int, draws: int = 600, seed: int = 0) -> RetrievalCoverage:
    """Simulate the intervals of image-to-text P@10."""
    from tasks.retrieval.fit import evaluate, pair
    from tasks.retrieval.metrics import CANDIDATE, statistics
    from tasks.retrieval.settings import RetrievalSettings

    labels = tuple(map(str, range(CLASSES)))
    settings = RetrievalSettings(labels=labels, ks=(10,))
    values = []
    spans: list[list[tuple[float, float]]] = []
    for number in range(draws):
        rng = np.random.default_rng([seed, 5, number])
        index, scores = draw_pairs(rng, images)
        table = pd.DataFrame(evaluate(scores, pair(index, settings), settings, 0))
        patients = index["patient_id"].tolist()
        weights = cluster_weights(patients, RESAMPLES, int(rng.integers(2**31)))
        plain = table.drop(columns=[name for name in table if name.startswith(CANDIDATE)])
        spans.append([])
        for each in (plain, table):
            resampled = statistics(each)["i2t_p@10"](weights)
            value = float(each["i2t_p@10"].mean())
            spread = Spread(standard_error(resampled), len(set(patients)) - 1)
            spans[-1].append(interval_of(value, resampled, spread, scale="mean"))
        values.append(value)
    truth = np.mean(values)
    held = [[low <= truth <= high for low, high in each] for each in spans]
    queries, both = np.mean(held, axis=0)
    return RetrievalCoverage(float(queries), float(both))


def _differences(test: TestSet, statistics: Sequence[Statistic]) -> Iterator[tuple[float, Spread]]:
    measured = [value_and_spread(statistic, test) for statistic in statistics]
    for (one, one_resampled, spread), (other, other_resampled, _) in combinations(measured, 2):
        error = standard_error(one_resampled - other_resampled)
        yield one - other, Spread(error, spread.patient_freedom)


def false_alarms(
    images: int, rows: int, prevalence: float = 0.3, draws: int = 500, seed: int = 0
) -> float:
    """Return in what share of tables of equal encoders some pair is said to differ after Holm's
    correction."""
    alarms = []
    for number in range(draws):
        rng = np.random.default_rng([seed, 2, number])
        test = draw_test_set(rng, images, prevalence)
        if test.positive_patients < 3:
            continue
        common = rng.normal(size=len(test.label))
        statistics = [
            _auroc_of(test, draw_scores(rng, test, _SEPARATION, common)) for _ in range(rows)
        ]
        p_values = [t_p_value(value, spread) for value, spread in _differences(test, statistics)]
        alarms.append(bool((holm(p_values) < 0.05).any()))
    return float(np.mean(alarms))


def shown_at_the_stated_difference(
    images: int, prevalence: float = 0.3, draws: int = 500, seed: int = 0
) -> tuple[float, float]:
    """Return the smallest difference in AUROC that `power` states from one stored comparison (the
    mean over some of them), and how often a true difference of that size, around an AUROC of 0.8,
    is then found."""
    stated = np.mean([_stated(images, prevalence, [seed, 3, number]) for number in range(40)])
    middle = true_auroc(_SEPARATION)
    better = separation_of(middle + float(stated) / 2)
    worse = separation_of(middle - float(stated) / 2)
    shown = []
    for number in range(draws):
        rng = np.random.default_rng([seed, 4, number])
        test = draw_test_set(rng, images, prevalence)
        common = rng.normal(size=len(test.label))
        statistics = [
            _auroc_of(test, draw_scores(rng, test, separation, common))
            for separation in (better, worse)
        ]
        ((value, spread),) = _differences(test, statistics)
        shown.append(t_p_value(value, spread) < 0.05)
    return float(stated), float(np.mean(shown))


def _stated(images: int, prevalence: float, seed: Sequence[int]) -> float:
    rng = np.random.default_rng(seed)
    test = draw_test_set(rng, images, prevalence)
    common = rng.normal(size=len(test.label))
    statistics = [_auroc_of(test, draw_scores(rng, test, _SEPARATION, common)) for _ in range(2)]
    ((_, spread),) = _differences(test, statistics)
    return smallest_difference(PairDesign(spread, int(test.patient.max()) + 1))


def tables(draws: int) -> str:
    """Return the tables of docs/statistics.md."""
    sizes = (30, 60, 100, 300)
    lines = ["| metric, prevalence | " + " | ".join(f"n = {size}" for size in sizes) + " |"]
    lines.append("|---|" + "---|" * len(sizes))
    for metric in METRICS:
        for prevalence in (0.05, 0.2):
            cells = [coverage(metric, size, prevalence, draws) for size in sizes]
            texts = [f"{cell.percentile:.2f} / {cell.ours:.2f} ({cell.none:.2f})" for cell in cells]
            lines.append(f"| {metric}, {prevalence:.0%} | " + " | ".join(texts) + " |")
    lines += ["", "| seeds | 0.5 | 1 | 2 |", "|---|---|---|---|"]
    for seeds in (1, 3, 5):
        shares = [seed_coverage(spread, seeds, draws) for spread in (0.5, 1.0, 2.0)]
        lines.append(f"| {seeds} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    lines += ["", "| images | 2 rows | 5 rows | 10 rows |", "|---|---|---|---|"]
    for images in (30, 60, 100, 300):
        shares = [false_alarms(images, rows, draws=draws) for rows in (2, 5, 10)]
        lines.append(f"| {images} | " + " | ".join(f"{share:.3f}" for share in shares) + " |")
    lines += ["", "| images | stated difference | shown |", "|---|---|---|"]
    for images in (100, 300, 1000):
        stated, shown = shown_at_the_stated_difference(images, draws=draws)
        lines.append(f"| {images} | {stated:.3f} | {shown:.2f} |")
    lines += ["", "| images | queries alone | candidates too |", "|---|---|---|"]
    for images in (60, 200, 500):
        result = retrieval_coverage(images, draws=draws)
        lines.append(f"| {images} | {result.queries:.2f} | {result.both:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000, help="simulated test sets of each cell")
    print(tables(parser.parse_args().draws))
