"""Thresholds and smallest areas chosen on validation, against trying every one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.segmentation.metrics import Counts, count_pixels, dice_global
from tasks.segmentation.operating import (
    AREAS,
    THRESHOLDS,
    OperatingPoint,
    apply,
    candidates,
    choose,
    threshold_counts,
)


def _data(seed: int, n: int = 5, size: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = (rng.random((n, size, size)) < rng.choice([0, 0.2], n)[:, None, None]).astype(np.uint8)
    noise = rng.random((n, size, size))
    return np.round(0.5 * target + 0.5 * noise, 2).astype(np.float32), target


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_counts_at_every_threshold_equal_direct_counting(seed: int) -> None:
    probabilities, target = _data(seed)
    found = threshold_counts(probabilities, target, THRESHOLDS)
    for k, threshold in enumerate(THRESHOLDS):
        masks = apply(probabilities[:, None], (OperatingPoint(float(threshold), 0.0),))
        expected = count_pixels(masks, target[:, None])[:, 0]
        np.testing.assert_array_equal(found[:, k], expected[:, :2])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_choice_is_the_best_of_all_pairs(seed: int) -> None:
    probabilities, target = _data(seed)
    counts, pixels = threshold_counts(probabilities, target, THRESHOLDS), target[0].size
    best = choose(counts, target.sum((1, 2), dtype=np.int64), pixels, THRESHOLDS, AREAS)
    scores = []
    for threshold in THRESHOLDS:
        for area in AREAS:
            masks = apply(probabilities[:, None], (OperatingPoint(float(threshold), float(area)),))
            hit, cut, true = count_pixels(masks, target[:, None])[:, 0].T
            found = Counts(hit, cut, true, target[0].size)
            scores.append(dice_global(found, np.ones((1, len(target))))[0])
    assert best.dice_global == max(scores)


def test_silence_is_not_chosen_where_most_images_are_healthy() -> None:
    probabilities = np.full((10, 4, 4), 0.01, np.float32)
    target = np.zeros((10, 4, 4), np.uint8)
    target[0, :2, :2] = 1
    probabilities[:, :2, 0] = 0.4  # says the same of every image: per image silence gets 0.9
    counts = threshold_counts(probabilities, target, THRESHOLDS)
    best = choose(counts, target.sum((1, 2), dtype=np.int64), 16, THRESHOLDS, AREAS)
    assert apply(probabilities[:, None], (best.point,)).any()
    assert best.dice_global == pytest.approx(2 * 2 / (4 + 20))


def test_a_fixed_setting_leaves_one_candidate() -> None:
    assert candidates(0.5, THRESHOLDS).tolist() == [0.5]
    assert candidates(None, THRESHOLDS) is THRESHOLDS


def test_small_regions_count_as_none() -> None:
    probabilities = np.zeros((2, 1, 10, 10), np.float32)
    probabilities[0, 0, :2, :2], probabilities[1, 0, :5, :5] = 0.9, 0.9
    masks = apply(probabilities, (OperatingPoint(0.5, 0.05),))
    assert masks.sum(axis=(1, 2, 3)).tolist() == [0, 25]
