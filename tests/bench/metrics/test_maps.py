"""Every metric agrees with an independent computation; a map that is the same for all images gains
nothing in the shuffled AUC."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from bench.metrics import maps as scores


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps with ties, regions and valid cells of nine pairs."""
    rng = np.random.default_rng(5)
    maps = rng.integers(0, 6, (9, 40)).astype(float)
    valid = rng.random((9, 40)) < 0.8
    inside = valid & (rng.random((9, 40)) < 0.3)
    inside[:, 0] = valid[:, 0] = True
    return maps, inside, valid


def test_pointing_is_the_chance_of_a_random_peak(scene: tuple[np.ndarray, ...]) -> None:
    maps, inside, valid = scene
    expected = []
    for heat, region, cells in zip(maps, inside, valid, strict=True):
        best = max(value for value, cell in zip(heat, cells, strict=True) if cell)
        peaks = [i for i in range(40) if cells[i] and heat[i] == best]
        expected.append(np.mean([region[i] for i in peaks]))
    assert scores.pointing(maps, inside, valid) == pytest.approx(expected)


def test_nss_is_the_mean_z_score(scene: tuple[np.ndarray, ...]) -> None:
    from scipy.stats import zscore

    maps, inside, valid = scene
    expected = [
        zscore(np.where(cells, heat, np.nan), nan_policy="omit")[region].mean()
        for heat, region, cells in zip(maps, inside, valid, strict=True)
    ]
    assert scores.nss(maps, inside, valid) == pytest.approx(expected)


def test_auc_judd_is_sklearns(scene: tuple[np.ndarray, ...]) -> None:
    maps, inside, valid = scene
    expected = [
        roc_auc_score(region[cells], heat[cells])
        for heat, region, cells in zip(maps, inside, valid, strict=True)
    ]
    assert scores.auc_judd(maps, inside, valid) == pytest.approx(expected)


def test_contrast_is_the_difference_over_the_noise(scene: tuple[np.ndarray, ...]) -> None:
    maps, inside, valid = scene
    expected = []
    for heat, region, cells in zip(maps, inside, valid, strict=True):
        within = pd.Series(heat[region])
        without = pd.Series(heat[cells & ~region])
        noise = (within.var(ddof=0) + without.var(ddof=0)) ** 0.5
        expected.append((within.mean() - without.mean()) / noise)
    assert scores.contrast(maps, inside, valid) == pytest.approx(expected)


def test_overlap_is_sklearns(scene: tuple[np.ndarray, ...]) -> None:
    maps, inside, valid = scene
    heat = scores.scaled(maps, valid)
    dice, iou = scores.overlap(heat, inside, valid, np.full(9, 0.35))
    for row in range(9):
        marked = heat[row][valid[row]] >= 0.35
        truth = inside[row][valid[row]]
        assert dice[row] == pytest.approx(f1_score(truth, marked))
        assert iou[row] == pytest.approx(jaccard_score(truth, marked))


def test_the_threshold_has_the_best_dice_of_all(scene: tuple[np.ndarray, ...]) -> None:
    maps, inside, valid = scene
    heat = scores.scaled(maps, valid)
    chosen = scores.choose_threshold(heat, inside, valid)
    means = {
        float(t): scores.overlap(heat, inside, valid, np.full(9, t))[0].mean()
        for t in scores.THRESHOLDS
    }
    assert means[chosen] == max(means.values())
    assert len(set(means.values())) > 1


def test_shuffled_auc_is_that_of_all_pairs_of_places(scene: tuple[np.ndarray, ...]) -> None:
    maps, fixated, _ = scene
    image_of = np.array([0, 0, 1, 2, 2, 2, 3, 3, 4])
    expected = np.zeros(5)
    for image in range(5):
        of_pairs_of_image = []
        for pair in np.flatnonzero(image_of == image):
            of_others = []
            for other in set(range(5)) - {image}:
                of_pairs = []
                for theirs in np.flatnonzero(image_of == other):
                    hits = maps[pair][fixated[pair]]
                    misses = maps[pair][fixated[theirs]]
                    truth = np.r_[np.ones(len(hits)), np.zeros(len(misses))]
                    of_pairs.append(roc_auc_score(truth, np.r_[hits, misses]))
                of_others.append(np.mean(of_pairs))
            of_pairs_of_image.append(np.mean(of_others))
        expected[image] = np.mean(of_pairs_of_image)
    values, effects = scores.shuffled_auc(maps, fixated, image_of)
    assert values == pytest.approx(expected)
    assert effects.mean() == pytest.approx(values.mean())


def test_the_same_map_for_all_images_has_a_shuffled_auc_of_one_half(
    scene: tuple[np.ndarray, ...],
) -> None:
    maps, fixated, _ = scene
    image_of = np.array([0, 0, 1, 2, 2, 2, 3, 3, 4])
    for constant in (maps[0], fixated.mean(axis=0), np.zeros(40)):
        values, _ = scores.shuffled_auc(np.tile(constant, (9, 1)), fixated, image_of)
        assert values.mean() == pytest.approx(0.5, abs=1e-12)


def test_one_image_has_no_others() -> None:
    values, effects = scores.shuffled_auc(np.ones((2, 4)), np.eye(2, 4) > 0, np.array([0, 0]))
    assert np.isnan([*values, *effects]).all() and len(values) == 1


def test_a_flat_map_gets_what_guessing_gets(scene: tuple[np.ndarray, ...]) -> None:
    _, inside, valid = scene
    flat = np.full(inside.shape, 3.0)
    share = inside.sum(axis=1) / valid.sum(axis=1)
    assert scores.pointing(flat, inside, valid) == pytest.approx(share)
    assert (scores.nss(flat, inside, valid) == 0).all()
    assert scores.auc_judd(flat, inside, valid) == pytest.approx(0.5)
    assert (scores.contrast(flat, inside, valid) == 0).all()
    everything = scores.overlap(scores.scaled(flat, valid), inside, valid, np.zeros(9))[1]
    assert everything == pytest.approx(share)


def test_a_region_of_the_whole_image_has_no_contrast_and_no_area() -> None:
    whole = np.ones((1, 4), bool)
    heat = np.arange(4.0)[None]
    assert np.isnan(scores.contrast(heat, whole, whole)).all()
    assert np.isnan(scores.auc_judd(heat, whole, whole)).all()
