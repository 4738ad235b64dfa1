"""Every metric agrees with an independent computation; a map that is the same for all images gains
nothing in the main one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from bench.metrics.bootstrap import point
from bench.metrics.weights import OnSomeImages
from tasks.grounding import metrics
from tasks.grounding.kind import METRICS


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
    assert metrics.pointing(maps, inside, valid) == pytest.approx(expected)


def test_nss_is_the_mean_z_score(scene: tuple[np.ndarray, ...]) -> None:
    from scipy.stats import zscore

    maps, inside, valid = scene
    expected = [
        zscore(np.where(cells, heat, np.nan), nan_policy="omit")[region].mean()
        for heat, region, cells in zip(maps, inside, valid, strict=True)
    ]
    assert metrics.nss(maps, inside, valid) == pytest.approx(expected)


def test_auc_judd_is_sklearns(scene: tuple[np.ndarray, ...]) -> None:
    maps, inside, valid = scene
    expected = [
        roc_auc_score(region[cells], heat[cells])
        for heat, region, cells in zip(maps, inside, valid, strict=True)
    ]
    assert metrics.auc_judd(maps, inside, valid) == pytest.approx(expected)


def test_contrast_is_the_difference_over_the_noise(scene: tuple[np.ndarray, ...]) -> None:
    maps, inside, valid = scene
    expected = []
    for heat, region, cells in zip(maps, inside, valid, strict=True):
        within = pd.Series(heat[region])
        without = pd.Series(heat[cells & ~region])
        noise = (within.var(ddof=0) + without.var(ddof=0)) ** 0.5
        expected.append((within.mean() - without.mean()) / noise)
    assert metrics.contrast(maps, inside, valid) == pytest.approx(expected)


def test_overlap_is_sklearns(scene: tuple[np.ndarray, ...]) -> None:
    maps, inside, valid = scene
    heat = metrics.scaled(maps, valid)
    dice, iou = metrics.overlap(heat, inside, valid, np.full(9, 0.35))
    for row in range(9):
        marked = heat[row][valid[row]] >= 0.35
        truth = inside[row][valid[row]]
        assert dice[row] == pytest.approx(f1_score(truth, marked))
        assert iou[row] == pytest.approx(jaccard_score(truth, marked))


def test_the_threshold_has_the_best_dice_of_all(scene: tuple[np.ndarray, ...]) -> None:
    maps, inside, valid = scene
    heat = metrics.scaled(maps, valid)
    chosen = metrics.choose_threshold(heat, inside, valid)
    means = {
        float(t): metrics.overlap(heat, inside, valid, np.full(9, t))[0].mean()
        for t in metrics.THRESHOLDS
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
    values, effects = metrics.shuffled_auc(maps, fixated, image_of)
    assert values == pytest.approx(expected)
    assert effects.mean() == pytest.approx(values.mean())


def test_the_same_map_for_all_images_has_a_shuffled_auc_of_one_half(
    scene: tuple[np.ndarray, ...],
) -> None:
    maps, fixated, _ = scene
    image_of = np.array([0, 0, 1, 2, 2, 2, 3, 3, 4])
    for constant in (maps[0], fixated.mean(axis=0), np.zeros(40)):
        values, _ = metrics.shuffled_auc(np.tile(constant, (9, 1)), fixated, image_of)
        assert values.mean() == pytest.approx(0.5, abs=1e-12)


def test_one_image_has_no_others() -> None:
    values, effects = metrics.shuffled_auc(np.ones((2, 4)), np.eye(2, 4) > 0, np.array([0, 0]))
    assert np.isnan([*values, *effects]).all() and len(values) == 1


def test_a_flat_map_gets_what_guessing_gets(scene: tuple[np.ndarray, ...]) -> None:
    _, inside, valid = scene
    flat = np.full(inside.shape, 3.0)
    share = inside.sum(axis=1) / valid.sum(axis=1)
    assert metrics.pointing(flat, inside, valid) == pytest.approx(share)
    assert (metrics.nss(flat, inside, valid) == 0).all()
    assert metrics.auc_judd(flat, inside, valid) == pytest.approx(0.5)
    assert (metrics.contrast(flat, inside, valid) == 0).all()
    everything = metrics.overlap(metrics.scaled(flat, valid), inside, valid, np.zeros(9))[1]
    assert everything == pytest.approx(share)


def test_a_region_of_the_whole_image_has_no_contrast_and_no_area() -> None:
    whole = np.ones((1, 4), bool)
    heat = np.arange(4.0)[None]
    assert np.isnan(metrics.contrast(heat, whole, whole)).all()
    assert np.isnan(metrics.auc_judd(heat, whole, whole)).all()


def table() -> pd.DataFrame:
    """Values of five images of two labels."""
    rng = np.random.default_rng(1)
    columns: dict[str, np.ndarray] = {}
    for name in (*METRICS, f"{metrics.CANDIDATE}{metrics.SHUFFLED}"):
        one, two = rng.random((2, 5))
        columns |= {f"{name}:A": np.where([1, 1, 1, 0, 0], one, np.nan)}
        columns |= {f"{name}:B": np.where([0, 1, 1, 1, 1], two, np.nan)}
    return pd.DataFrame(columns)


def test_a_metric_is_the_mean_over_labels_of_the_mean_over_images() -> None:
    values = table()
    functions = metrics.statistics(values)
    for name in METRICS:
        of_labels = [values[f"{name}:{label}"].mean() for label in "AB"]
        assert point(functions[name], 5) == pytest.approx(np.mean(of_labels))
        assert point(functions[f"{name}:A"], 5) == pytest.approx(of_labels[0])
    pointing = functions["pointing:A"]
    assert isinstance(pointing, OnSomeImages) and pointing.n == 3
    weights = np.array([[2.0, 0, 1, 0, 0], [0, 0, 0, 1, 1]])
    drawn = values["pointing:A"].to_numpy()
    assert pointing(weights)[0] == pytest.approx((2 * drawn[0] + drawn[2]) / 3)
    assert np.isnan(pointing(weights)[1])
    only = functions["pointing"](weights)[1]
    assert only == pytest.approx(values["pointing:B"][3:].mean())


def test_an_image_that_is_drawn_twice_is_twice_among_the_others() -> None:
    rng = np.random.default_rng(2)
    maps = rng.random((30, 60))
    fixated = rng.random((30, 60)) < 0.2
    fixated[:, 0] = True
    values, effects = metrics.shuffled_auc(maps, fixated, np.arange(30))
    columns = {f"{name}:A": rng.random(30) for name in METRICS}
    columns |= {"shuffled_auc:A": values, "candidate:shuffled_auc:A": effects}
    function = metrics.statistics(pd.DataFrame(columns))["shuffled_auc"]
    rows = np.r_[np.arange(1, 30), 5]  # image 0 is left out, image 5 stands twice
    against = np.array(
        [[_auc(maps[i][fixated[i]], maps[i][fixated[j]]) for j in rows] for i in rows]
    )
    others = rows[:, None] != rows[None]
    exact = (against * others).sum() / others.sum()
    weights = np.bincount(rows, minlength=30)[None].astype(float)
    assert function(weights)[0] == pytest.approx(exact, abs=2e-3)
    alone = values[rows].mean()
    assert abs(function(weights)[0] - exact) < abs(alone - exact)


def _auc(hits: np.ndarray, misses: np.ndarray) -> float:
    truth = np.r_[np.ones(len(hits)), np.zeros(len(misses))]
    return float(roc_auc_score(truth, np.r_[hits, misses]))
