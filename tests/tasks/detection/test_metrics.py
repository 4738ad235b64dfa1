"""Average precision against pycocotools and faster-coco-eval, FROC against a hand-made case and a
loop."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.contracts import TaskSpec
from bench.metrics.bootstrap import point
from tasks.detection import DetectionKind
from tasks.detection.basis import basis
from tasks.detection.matching import IOUS, hits, match, pack_boxes, pairwise_iou
from tasks.detection.metrics import (
    RATES,
    average_precision,
    best_confidence,
    froc,
    precision_recall,
    ranked,
    statistics,
)
from tests.tasks.detection.cases import as_predictions, random_case
from tests.tasks.fakes import base_names

if TYPE_CHECKING:
    from pycocotools.cocoeval import COCOeval


def _coco(
    truth: list[np.ndarray],
    found: list[np.ndarray],
    classes: int,
    engine: str,
    ious: np.ndarray | list[np.float64],
) -> tuple[np.ndarray, np.ndarray]:
    """Return COCO's precision [T, 101, K] and its recall [T, K], from pycocotools or
    faster-coco-eval."""
    if engine == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, (t, f) in enumerate(zip(truth, found, strict=True), start=1):
        for x1, y1, x2, y2, kind in t.astype(float).tolist():
            box = [x1, y1, x2 - x1, y2 - y1]
            row = {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": int(kind) + 1,
                "bbox": box,
            }
            annotations.append({**row, "area": box[2] * box[3], "iscrowd": 0})
        for x1, y1, x2, y2, kind, score in f.astype(float).tolist():
            results.append(
                {
                    "image_id": image,
                    "category_id": int(kind) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": score,
                }
            )
    gt = COCO()
    gt.dataset = {
        "info": {},
        "images": [{"id": k + 1, "width": 64, "height": 64} for k in range(len(truth))],
        "annotations": annotations,
        "categories": [{"id": k + 1, "name": str(k)} for k in range(classes)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(results), "bbox")
        evaluation.params.iouThrs = np.array(ious)
        evaluation.evaluate()
        if engine == "pycocotools":
            _misses_first(evaluation)
        evaluation.accumulate()
    precision, recall = (
        evaluation.eval["precision"][:, :, :, 0, -1],
        evaluation.eval["recall"][:, :, 0, -1],
    )
    return precision, recall


def _misses_first(evaluation: COCOeval) -> None:
    """Let pycocotools take the misses before the hits of the same score, at its one threshold.

    The precision at the hits of a step then rises to that of its end, so that the interpolated
    curve is the one with the step as a whole.
    """
    for one in filter(None, evaluation.evalImgs):
        if len(evaluation.params.iouThrs) == 1:
            missed = one["dtMatches"][0] == 0
            one["dtScores"] = [
                score + 1e-9 * miss for score, miss in zip(one["dtScores"], missed, strict=True)
            ]


def _steps_of_coco(
    truth: list[np.ndarray], found: list[np.ndarray], classes: int = 2
) -> np.ndarray:
    """Return COCO's AP per IoU and class [T, K], equal scores in one step; NaN without a true
    box."""
    parts = []
    for iou in IOUS:
        precision, _ = _coco(truth, found, classes, "pycocotools", [iou])
        parts.append(np.where(precision[0, 0] > -1, precision[0].mean(axis=0), np.nan))
    return np.array(parts)


@pytest.mark.parametrize("engine", ["pycocotools", "faster_coco_eval"])
@pytest.mark.parametrize("seed", range(12))
def test_map_equals_coco(seed: int, engine: str) -> None:
    truth, found = random_case(seed, ties=False)
    if not any(len(one) for one in found):
        pytest.skip("no detection")
    precision, recall = _coco(truth, found, 2, engine, IOUS)
    values = {
        name: point(f, len(truth)) for name, f in statistics(as_predictions(truth, found)).items()
    }

    def mean(levels: slice) -> np.float64:
        part = precision[levels]
        return part[part > -1].mean()

    assert values["map"] == pytest.approx(mean(slice(2, 12)), abs=1e-9)
    assert values["map_rsna"] == pytest.approx(mean(slice(0, 8)), abs=1e-9)
    assert values["ap50"] == pytest.approx(mean(slice(2, 3)), abs=1e-9)
    kept = recall[2:12]
    assert values["ar"] == pytest.approx(kept[kept > -1].mean(), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_map_of_ties_equals_coco_with_equal_scores_in_one_step(seed: int) -> None:
    truth, found = random_case(seed, ties=True)
    expected = _steps_of_coco(truth, found)
    for kind in range(2):
        data = ranked(as_predictions(truth, found), kind)
        mine = average_precision(data, np.ones((1, len(truth))), range(12))[0]
        np.testing.assert_allclose(mine, expected[:, kind], atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_resampled_ap_of_ties_equals_coco_on_each_resample(seed: int) -> None:
    """Every image of a resample is an image of its own, in an order of its own."""
    truth, found = random_case(seed, images=8, ties=True)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 8, 8)
    weights = np.bincount(drawn, minlength=8)[None]
    expected = _steps_of_coco([truth[k] for k in drawn], [found[k] for k in drawn])
    for kind in range(2):
        data = ranked(as_predictions(truth, found), kind)
        mine = average_precision(data, weights, range(12))[0]
        np.testing.assert_allclose(mine, expected[:, kind], atol=1e-9)


def test_the_order_of_images_changes_no_metric() -> None:
    """The same boxes in every image: what knows no image has nothing but ties."""
    rng = np.random.default_rng(0)
    truth, _ = random_case(5, images=40, classes=1)
    same = np.array([[*HIT[:4], 0, 0.9], [*MISS[:4], 0, 0.7], [5, 5, 40, 40, 0, 0.7]], np.float32)
    seen = []
    for _ in range(5):
        order = rng.permutation(40)
        predictions = as_predictions([truth[k] for k in order], [same] * 40, ("a",))
        values = {name: point(f, 40) for name, f in statistics(predictions).items()}
        seen.append((values, best_confidence(predictions)))
    for values, confidence in seen[1:]:
        assert values == pytest.approx(seen[0][0], abs=1e-12)
        assert confidence == seen[0][1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_weights_equal_repeated_images(seed: int, weights: list[int]) -> None:
    truth, found = random_case(seed, images=8, ties=seed % 2 == 0)
    repeated = [k for k, w in enumerate(weights) for _ in range(w)]
    extra = {"mgca_filter": True, "confidence": 0.5}
    again = (
        statistics(
            as_predictions([truth[k] for k in repeated], [found[k] for k in repeated], extra=extra)
        )
        if repeated
        else {}
    )
    for name, function in statistics(as_predictions(truth, found, extra=extra)).items():
        expected = point(again[name], len(repeated)) if repeated else np.nan
        np.testing.assert_allclose(
            function(np.array([weights]))[0], expected, rtol=1e-9, err_msg=name
        )


def _naive_matches(truth: np.ndarray, found: np.ndarray, iou: np.float64) -> np.ndarray:
    order = sorted(range(len(found)), key=lambda k: -found[k, 5])
    taken, hit = set(), np.zeros(len(found), bool)
    for k in order:
        best, chosen = iou, None
        for g in range(len(truth)):
            value = pairwise_iou(found[k : k + 1, :4], truth[g : g + 1, :4])[0, 0]
            if g not in taken and truth[g, 4] == found[k, 4] and value >= best:
                best, chosen = value, g
        if chosen is not None:
            taken.add(chosen)
            hit[k] = True
    return hit[order]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_matching_all_images_at_once_equals_a_loop(seed: int) -> None:
    truth, found = random_case(seed, images=4)
    bits = match(pack_boxes(found, scored=True), pack_boxes(truth, scored=False))
    for i, (t, f) in enumerate(zip(truth, found, strict=True)):
        for level, iou in enumerate(IOUS):
            np.testing.assert_array_equal(hits(bits[i], level)[: len(f)], _naive_matches(t, f, iou))
            assert not hits(bits[i], level)[len(f) :].any()


# --------------------------------------------------------------------------------------------- FROC
HIT, MISS = [10, 10, 30, 30, 0], [40, 40, 60, 60, 0]


def test_froc_equals_a_hand_made_case() -> None:
    """Four images, 3 true boxes. By score: hit .9, false .8, hit .7 and false .7 (one threshold),
    false .6, hit .5."""
    truth = [[HIT], [HIT], [HIT], []]
    found = [
        [[*HIT, 0.9], [*MISS, 0.8]],
        [[*HIT, 0.7], [*MISS, 0.6]],
        [[*HIT, 0.5]],
        [[*MISS, 0.7]],
    ]
    predictions = as_predictions(
        [np.array(one, np.float32).reshape(-1, 5) for one in truth],
        [np.array(one, np.float32).reshape(-1, 6) for one in found],
        ("a",),
    )
    values = froc(ranked(predictions, 0), np.ones((1, 4)))[0]
    # false positives per image after each threshold: 0 (1/3), 1/4 (1/3), 2/4 (2/3), 3/4 (2/3), 3/4
    # (3/3)
    expected = {0.125: 1 / 3, 0.25: 1 / 3, 0.5: 2 / 3, 1.0: 1.0, 2.0: 1.0, 4.0: 1.0, 8.0: 1.0}
    assert values.tolist() == pytest.approx([expected[rate] for rate in RATES])


def test_a_second_detection_of_the_same_box_is_a_false_positive() -> None:
    truth = [np.array([HIT], np.float32)]
    found = [np.array([[*HIT, 0.9], [*HIT, 0.8]], np.float32)]
    data = ranked(as_predictions(truth, found, ("a",)), 0)
    assert hits(data.bits, 0).tolist() == [True, False]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_froc_equals_trying_every_threshold(seed: int) -> None:
    truth, found = random_case(seed, classes=1)
    predictions = as_predictions(truth, found, ("a",))
    data = ranked(predictions, 0)
    values = froc(data, np.ones((1, len(truth))))[0]
    total = sum(len(one) for one in truth)
    hit = hits(data.bits, 0)
    for rate, value in zip(RATES, values, strict=True):
        best = 0.0
        for threshold in {*data.score.tolist(), 2.0}:
            kept = data.score >= threshold
            if (kept & ~hit).sum() / len(truth) <= rate + 1e-12:
                best = max(best, (kept & hit).sum() / total) if total else best
        assert (np.isnan(value) and not total) or value == pytest.approx(best)


# ------------------------------------------------------------------------------------------- others
def test_equal_scores_are_one_point_of_the_curve_and_one_threshold() -> None:
    """Score .9: a hit; .5: two misses and a hit, which no threshold parts."""
    truth = [np.array([HIT], np.float32)] * 2
    found = [
        np.array([[*HIT, 0.9], [*MISS, 0.5]], np.float32),
        np.array([[*MISS, 0.5], [*HIT, 0.5]], np.float32),
    ]
    for order in ([0, 1], [1, 0]):
        predictions = as_predictions([truth[k] for k in order], [found[k] for k in order], ("a",))
        recall, precision = precision_recall(ranked(predictions, 0), 0)
        assert (recall.tolist(), precision.tolist()) == ([0.5, 1.0], [1.0, 0.5])
        # F1 is 2/3 at either score; a hit of score .5 alone would make it 4/5.
        assert best_confidence(predictions) == pytest.approx(0.9)


def test_mgca_counts_only_images_with_truth_and_detection() -> None:
    truth = [np.array([HIT], np.float32), np.array([HIT], np.float32), np.zeros((0, 5), np.float32)]
    found = [
        np.array([[*HIT, 0.9]], np.float32),
        np.zeros((0, 6), np.float32),
        np.array([[*HIT, 0.95]], np.float32),
    ]
    predictions = as_predictions(truth, found, ("a",), {"mgca_filter": True})
    values = {name: point(f, 3) for name, f in statistics(predictions).items()}
    assert values["map_mgca"] == pytest.approx(1.0)
    assert values["map_rsna"] == pytest.approx(0.5 * 51 / 101)
    low = [np.array([[*HIT, 0.4]], np.float32), *found[1:]]
    assert np.isnan(
        point(statistics(as_predictions(truth, low, ("a",), {"mgca_filter": True}))["map_mgca"], 3)
    )


def test_a_class_without_truth_is_left_out_of_the_mean() -> None:
    truth, found = (
        [np.array([HIT], np.float32)],
        [np.array([[*HIT, 0.9], [*MISS[:4], 1, 0.8]], np.float32)],
    )
    values = {name: point(f, 1) for name, f in statistics(as_predictions(truth, found)).items()}
    assert values["map"] == pytest.approx(1.0) and np.isnan(values["map:b"])


NO_BOX = np.zeros((0, 5), np.float32)
NO_DETECTION = np.zeros((0, 6), np.float32)


def test_no_detection_is_zero_and_no_truth_is_undefined() -> None:
    truth = [np.array([HIT], np.float32)]
    values = {
        name: point(f, 1)
        for name, f in statistics(as_predictions(truth, [NO_DETECTION], ("a",))).items()
    }
    of_healthy_images = {name: values.pop(name) for name in ("image_auroc", "image_specificity")}
    assert set(values.values()) == {0.0}
    assert np.isnan(list(of_healthy_images.values())).all()
    nothing = {
        name: point(f, 1)
        for name, f in statistics(as_predictions([NO_BOX], [NO_DETECTION], ("a",))).items()
    }
    assert nothing.pop("image_specificity") == 1.0
    assert np.isnan(list(nothing.values())).all()


# ---------------------------------------------------------------------------------- constant answers
def _lesions(images: int = 300, size: int = 224) -> list[np.ndarray]:
    """Boxes that lie about one place, in one image of four."""
    rng = np.random.default_rng(0)
    truth = []
    for number in range(images):
        middle = rng.normal((75, 120), 25)
        half = rng.uniform(15, 35, 2)
        corners = np.concatenate([middle - half, middle + half]).clip(0, size)
        truth.append(NO_BOX if number % 4 else np.array([[*corners, 0]], np.float32))
    return truth


def _constant(answer: np.ndarray) -> dict[str, float]:
    """Return the metrics of the same detections in every image."""
    truth = _lesions()
    extra = {"confidence": 0.5, "mgca_filter": True}
    predictions = as_predictions(truth, [answer] * len(truth), ("a",), extra)
    return {name: point(f, len(truth)) for name, f in statistics(predictions).items()}


def test_silence_gets_nothing_but_the_specificity_of_saying_nothing() -> None:
    """Three quarters of the images have no box; none of them counts as a success of AP."""
    values = _constant(NO_DETECTION)
    assert values.pop("image_auroc") == 0.5
    assert values.pop("image_specificity") == 1.0
    assert np.isnan(values.pop("map_mgca"))
    assert set(values.values()) == {0.0}


def test_the_whole_image_as_one_box_is_no_detection() -> None:
    values = _constant(np.array([[0, 0, 224, 224, 0, 0.9]], np.float32))
    assert values["map_rsna"] == values["ap40"] == values["froc_1"] == 0.0
    assert (values["image_auroc"], values["image_specificity"]) == (0.5, 0.0)


def test_one_box_at_the_usual_place_wins_froc_at_one_and_not_average_precision() -> None:
    """One false alarm an image is allowed: whatever stands once in every image is free. That is why
    no table is sorted by `froc_1`."""
    boxes = np.concatenate(_lesions())
    values = _constant(np.array([[*boxes[:, :4].mean(axis=0), 0, 0.9]], np.float32))
    assert values["froc_1"] > 0.2
    assert values["froc_0.5"] == 0.0
    assert values["map_rsna"] < 0.05 and values["ap40"] < 0.1
    assert (values["image_auroc"], values["image_specificity"]) == (0.5, 0.0)


def test_decisions_per_image_are_made_at_the_confidence_of_validation() -> None:
    truth = [np.array([HIT], np.float32)] * 2 + [NO_BOX] * 2
    scores = (0.9, 0.4, 0.6, 0.2)
    found = [np.array([[*MISS, score]], np.float32) for score in scores]
    predictions = as_predictions(truth, found, ("a",), {"confidence": 0.5})
    values = {name: point(f, 4) for name, f in statistics(predictions).items()}
    assert values["image_auroc"] == 0.75
    assert (values["image_sensitivity"], values["image_specificity"]) == (0.5, 0.5)


def test_detections_per_image_stand_on_images_with_or_without_a_box() -> None:
    truth = [np.array([HIT], np.float32)] * 2 + [NO_BOX] * 2
    predictions = as_predictions(truth, [NO_DETECTION] * 4, ("a",))
    labels = {
        "image_auroc": [1, 1, 0, 0],
        "image_sensitivity": [1, 1, np.nan, np.nan],
        "image_specificity": [np.nan, np.nan, 1, 1],
        "map_rsna": [1, 1, np.nan, np.nan],
    }
    for name, expected in labels.items():
        of_metric = basis(predictions, name)
        assert of_metric.labels is not None
        np.testing.assert_array_equal(of_metric.labels[:, 0], expected)
    scales = {name: basis(predictions, name).scale for name in labels}
    assert scales == {
        "image_auroc": "share",
        "image_sensitivity": "mean",
        "image_specificity": "mean",
        "map_rsna": "share",
    }


def test_ten_equal_scores_are_one_step_with_the_value_of_that_step() -> None:
    """Ten images with one box each; at score .9 four detections hit and six miss: precision .4 up
    to recall .4, whatever the order of the images."""
    truth = [np.array([HIT], np.float32)] * 10
    found = [np.array([[*(HIT if k < 4 else MISS), 0.9]], np.float32) for k in range(10)]
    for order in (range(10), range(9, -1, -1)):
        predictions = as_predictions(truth, [found[k] for k in order], ("a",))
        value = point(statistics(predictions)["map_rsna"], 10)
        assert value == pytest.approx(0.4 * 41 / 101)


def test_more_than_a_hundred_detections_are_cut_by_score() -> None:
    many = np.tile(np.array([[*MISS, 0.5]], np.float32), (150, 1))
    many[149, :4], many[149, 5] = HIT[:4], 0.9
    packed = pack_boxes([many], scored=True)
    assert packed.scores.shape == (1, 100) and packed.scores[0, 0] == np.float32(0.9)


def test_average_precision_in_blocks_equals_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, found = random_case(3, images=30)
    data = ranked(as_predictions(truth, found), 0)
    weights = np.random.default_rng(0).integers(0, 3, (20, 30))
    whole = average_precision(data, weights, range(12))
    monkeypatch.setattr("bench.metrics.weights.BLOCK", 100)
    np.testing.assert_array_equal(average_precision(data, weights, range(12)), whole)


@pytest.mark.parametrize("protocol", ["default", "mgca"])
def test_the_metrics_named_beforehand_are_those_that_are_given(protocol: str) -> None:
    found = as_predictions(*random_case(0), extra={"mgca_filter": protocol == "mgca"})
    kind = DetectionKind()
    task = TaskSpec("t", "detection", "d", "T", "map")
    named = kind.metric_names(task, kind.settings(task, protocol, "demo", {}))
    assert base_names(statistics(found)) == set(named)
