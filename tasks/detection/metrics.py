"""Average precision, average recall and FROC from kept matches; all are functions of resampling
weights.

Detections of equal score are one step of every curve: no threshold parts them, so that the order of
the images changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from bench.contracts import Predictions, TaskSpec
from bench.metrics import counting
from bench.metrics.ranking import auroc, rank
from bench.metrics.weights import (
    Once,
    Statistic,
    in_blocks,
    mean_of_defined,
    mean_of_known,
    ratio,
    weighted_sums,
)
from tasks.detection.matching import IOUS, hits

COCO = tuple(range(2, 12))
RSNA = tuple(range(8))
FROC_IOU = 0
"""Places in IOUS: 0.50:0.05:0.95 (COCO), 0.40:0.05:0.75 (RSNA 2018), 0.40 (FROC)."""
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per image at which FROC is read."""
RECALLS = np.linspace(0, 1, 101)
MGCA_CONFIDENCE = 0.5


@dataclass(frozen=True)
class Ranked:
    """The detections of one class over all images, by falling score, and its true boxes per image.

    `image` [D] row of each detection; `bits` [D] its hits; `score` [D]; `truth` [n] true boxes per
    image.
    """

    image: np.ndarray
    bits: np.ndarray
    score: np.ndarray
    truth: np.ndarray


def ranked(predictions: Predictions, kind: int) -> Ranked:
    """Return the detections of class `kind` by falling score."""
    arrays = predictions.arrays
    image, rank = np.nonzero(arrays["classes"] == kind)
    score = arrays["scores"][image, rank]
    order = np.argsort(-score, kind="stable")
    truth = (arrays["truth_classes"] == kind).sum(axis=1)
    return Ranked(image[order], arrays["matches"][image, rank][order], score[order], truth)


def confident(data: Ranked, confidence: float) -> Ranked:
    """Return only the detections whose score is at least `confidence`."""
    mask = data.score >= confidence
    return Ranked(data.image[mask], data.bits[mask], data.score[mask], data.truth)


def _last_of_ties(score: np.ndarray) -> np.ndarray:
    """Return the places in falling scores [D] where the next score is lower: the ends of the
    steps."""
    is_last = np.append(score[1:] != score[:-1], True)
    return np.flatnonzero(is_last[: len(score)])


@dataclass(frozen=True)
class _Steps:
    """The steps of a curve that bring a hit: `end` [S] is where each ends among the detections and
    `hits` [S] how many hits stand up to there; `hit` [H] are the places of the hits."""

    hit: np.ndarray
    end: np.ndarray
    hits: np.ndarray


def _steps(data: Ranked, level: int) -> _Steps:
    hit = np.flatnonzero(hits(data.bits, level))
    ends = _last_of_ties(data.score)
    end = np.unique(ends[np.searchsorted(ends, hit)])
    return _Steps(hit, end, np.searchsorted(hit, end, side="right"))


# -------------------------------------------------------------------------------- average precision
def average_precision(data: Ranked, weights: np.ndarray, levels: Sequence[int]) -> np.ndarray:
    """Return COCO's AP [R, len(levels)] at `IOUS[levels]` per row of `weights` [R, n]; NaN where no
    true box is counted.

    101 points of interpolated precision (Lin et al. 2014; cocoeval). An image of weight w counts as
    w images. Where scores are equal, cocoeval takes one detection after the other in the order of
    the images; here they are one step, which is what cocoeval gives with the misses first.
    """
    columns = max(1, len(data.image)) * 2
    return in_blocks(lambda block: _ap_block(data, block, levels), weights, columns=columns)


def _ap_block(data: Ranked, weights: np.ndarray, levels: Sequence[int]) -> np.ndarray:
    total = np.cumsum(weights[:, data.image], axis=1)
    positives = weights @ data.truth
    values = [_ap_level(data, weights, total, positives, level) for level in levels]
    return np.stack(values, axis=1)


def _ap_level(
    data: Ranked, weights: np.ndarray, total: np.ndarray, positives: np.ndarray, level: int
) -> np.ndarray:
    """Precision falls between steps with a hit, so that the curve is needed at these alone."""
    steps = _steps(data, level)
    if not len(steps.hit):
        return np.where(positives > 0, 0.0, np.nan)
    true_positives = np.cumsum(weights[:, data.image[steps.hit]], axis=1)[:, steps.hits - 1]
    precision = ratio(true_positives, total[:, steps.end], empty=0.0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = ratio(true_positives, positives[:, None], empty=np.nan)
    return np.array([_interpolated(*row) for row in zip(recall, envelope, strict=True)])


def _interpolated(recall: np.ndarray, precision: np.ndarray) -> float:
    if np.isnan(recall[0]):
        return float("nan")
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(precision, 0.0)[at].mean())


def precision_recall(data: Ranked, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision after each score [S], for a picture."""
    ends = _last_of_ties(data.score)
    true_positives = np.cumsum(hits(data.bits, level))[ends]
    return true_positives / max(1, data.truth.sum()), true_positives / (ends + 1)


def average_recall(data: Ranked, weights: np.ndarray, levels: Sequence[int] = COCO) -> np.ndarray:
    """Return the recall with every detection kept, the mean over `IOUS[levels]` [R]."""
    n = len(data.truth)
    share = [np.bincount(data.image, hits(data.bits, level), minlength=n) for level in levels]
    hits_and_boxes = np.stack([np.mean(share, axis=0), data.truth], axis=1)
    sums = weighted_sums(hits_and_boxes, weights)
    return ratio(sums[:, 0], sums[:, 1])


# --------------------------------------------------------------------------------------------- FROC
def froc(data: Ranked, weights: np.ndarray, rates: Sequence[float] = RATES) -> np.ndarray:
    """Return the sensitivity at each rate of false positives per image [R, len(rates)]; NaN where
    no true box is counted.

    The highest sensitivity any score threshold reaches at not more than that rate (no
    interpolation). Every detection that hits no true box is a false positive, on healthy images
    too, and so is a second one on the same box.
    """
    return in_blocks(
        lambda block: _froc_block(data, block, rates), weights, columns=max(1, len(data.image)) * 3
    )


def froc_curve(data: Ranked, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false positives per image and sensitivity [R, D + 1] at every threshold: none, then
    after each group of ties."""
    hit = hits(data.bits, FROC_IOU)
    counted = weights[:, data.image].astype(float)
    last = _last_of_ties(data.score)
    false_positives = np.cumsum(counted * ~hit, axis=1)[:, last]
    true_positives = np.cumsum(counted * hit, axis=1)[:, last]
    start = np.zeros((len(weights), 1))
    boxes = weights @ data.truth
    rate = ratio(np.hstack([start, false_positives]), weights.sum(axis=1, keepdims=True))
    sensitivity = ratio(np.hstack([start, true_positives]), boxes[:, None])
    return rate, sensitivity


def _froc_block(data: Ranked, weights: np.ndarray, rates: Sequence[float]) -> np.ndarray:
    """Sensitivity grows at hits alone, so that false positives are needed only there: those of all
    scores not below the hit's."""
    steps = _steps(data, FROC_IOU)
    detected = np.cumsum(weights[:, data.image], axis=1)[:, steps.end]
    true_positives = np.cumsum(weights[:, data.image[steps.hit]], axis=1)[:, steps.hits - 1]
    rate = ratio(detected - true_positives, weights.sum(axis=1, keepdims=True))
    limits = np.array(rates) + 1e-12  # a rate that is met exactly counts as met
    positions = np.array([np.searchsorted(row, limits, side="right") for row in rate])
    reached = np.take_along_axis(
        np.hstack([np.zeros((len(weights), 1)), true_positives]), positions, axis=1
    )
    return ratio(reached, (weights @ data.truth)[:, None])


# ---------------------------------------------------------------------------------------- per image
DECISIONS: dict[str, Callable[[counting.Confusion], np.ndarray]] = {
    "image_sensitivity": counting.sensitivity,
    "image_specificity": counting.specificity,
}
"""What is said of whole images: any detection of at least the confidence chosen on validation
(`extra["confidence"]`; None where nobody stated one: then nothing is said) marks an image."""


def surest_detection(data: Ranked) -> np.ndarray:
    """Return the highest score of the detections in each image [n]; minus infinity without any."""
    surest = np.full(len(data.truth), -np.inf)
    np.maximum.at(surest, data.image, data.score)
    return surest


def _decided(
    share: Callable[[counting.Confusion], np.ndarray],
    marked: np.ndarray,
    truth: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    return share(counting.confusion(marked, truth, weights))


# --------------------------------------------------------------------------------------- statistics
def score(predictions: Predictions, task: TaskSpec) -> Mapping[str, Statistic]:
    """Return the metrics of what was kept of the test images."""
    return statistics(predictions)


def statistics(predictions: Predictions) -> Mapping[str, Statistic]:
    """Return every metric as a function of weights [R, n]; with several classes the mean over them
    and `<metric>:<class>`.

    A class without a true box (among the images counted) has no value and is left out of the mean,
    as in COCO.
    """
    names = class_names(predictions)
    data = [ranked(predictions, kind) for kind in range(len(names))]
    functions_of: dict[str, Statistic] = {}
    for name, functions in _functions(predictions, data):
        functions_of[name] = partial(mean_of_defined, functions)
        if len(names) > 1:
            functions_of |= {
                f"{name}:{label}": function
                for label, function in zip(names, functions, strict=True)
            }
    if predictions.extra.get("confidence", 0.0) is None:
        return functions_of
    return functions_of | {"rsna_score": partial(mean_of_known, image_scores(predictions))}


def class_names(predictions: Predictions) -> list[str]:
    """Return the classes, in the order of their numbers."""
    return [
        name.removeprefix("boxes:")
        for name in map(str, predictions.table)
        if name.startswith("boxes:")
    ]


def _functions(
    predictions: Predictions, data: list[Ranked]
) -> Iterator[tuple[str, list[Statistic]]]:
    precision = [
        Once(partial(average_precision, detections, levels=range(len(IOUS)))) for detections in data
    ]
    sensitivity = [Once(partial(froc, detections)) for detections in data]
    yield "map", [partial(_mean_of, once, COCO) for once in precision]
    yield "map_rsna", [partial(_mean_of, once, RSNA) for once in precision]
    yield "ap40", [partial(_mean_of, once, (0,)) for once in precision]
    yield "ap50", [partial(_mean_of, once, (2,)) for once in precision]
    yield "ar", [partial(average_recall, detections) for detections in data]
    yield "froc", [partial(_mean_of, once, range(len(RATES))) for once in sensitivity]
    for number, rate in enumerate(RATES):
        yield f"froc_{rate:g}", [partial(_mean_of, once, (number,)) for once in sensitivity]
    truth = [detections.truth > 0 for detections in data]
    surest = [surest_detection(detections) for detections in data]
    yield "image_auroc", [partial(auroc, rank(*each)) for each in zip(surest, truth, strict=True)]
    confidence = predictions.extra.get("confidence", 0.0)
    if confidence is not None:
        marked = [scores >= confidence for scores in surest]
        for name, share in DECISIONS.items():
            decisions = zip(marked, truth, strict=True)
            yield name, [partial(_decided, share, *each) for each in decisions]
    if predictions.extra.get("mgca_filter"):
        yield "map_mgca", [partial(map_mgca, detections) for detections in data]


def map_mgca(data: Ranked, weights: np.ndarray) -> np.ndarray:
    """Return MGCA's mAP [R]: detections of confidence >= 0.5, and only images with a true box and a
    detection.

    Misses on images without a detection and false alarms on healthy images do not count:
    comparable with MGCA's published figures alone.
    """
    data = confident(data, MGCA_CONFIDENCE)
    counted = (np.bincount(data.image, minlength=len(data.truth)) > 0) & (data.truth > 0)
    return average_precision(data, weights * counted, RSNA).mean(axis=1)


def _mean_of(
    once: Callable[[np.ndarray], np.ndarray], columns: Sequence[int], weights: np.ndarray
) -> np.ndarray:
    return once(weights)[:, list(columns)].mean(axis=1)


def best_confidence(predictions: Predictions) -> float:
    """Return the score at which F1 over all classes and images is highest (hits at IoU 0.40); 1
    where nothing is hit."""
    arrays = predictions.arrays
    real = arrays["classes"] >= 0
    scores = arrays["scores"][real]
    hit = hits(arrays["matches"][real], FROC_IOU)
    order = np.argsort(-scores, kind="stable")
    ends = _last_of_ties(scores[order])
    true_positives = np.cumsum(hit[order])[ends]
    if not len(true_positives) or not true_positives[-1]:
        return 1.0
    f1 = 2 * true_positives / (ends + 1 + (arrays["truth_classes"] >= 0).sum())
    return float(scores[order][ends][int(f1.argmax())])


def image_scores(predictions: Predictions) -> np.ndarray:
    """Return the RSNA 2018 score of each image [n]: TP / (TP + FP + FN), the mean over IoU
    0.40:0.05:0.75.

    Counted are detections of at least the confidence chosen on validation (`extra["confidence"]`);
    NaN where an image has neither a true box nor such a detection, 0 where it has only one of both.
    """
    arrays = predictions.arrays
    confident_mask = (arrays["classes"] >= 0) & (
        arrays["scores"] >= predictions.extra.get("confidence", 0.0)
    )
    truth = (arrays["truth_classes"] >= 0).sum(axis=1)
    true_positives = [
        (hits(arrays["matches"], level) & confident_mask).sum(axis=1) for level in RSNA
    ]
    return np.mean(
        [ratio(tp, truth + confident_mask.sum(axis=1) - tp) for tp in true_positives], axis=0
    )
