"""Every metric against a plain loop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from bench.contracts import TaskSpec
from tasks.segmentation import SegmentationKind, metrics
from tasks.segmentation.boundary import TOLERANCE, boundary_scores, outline
from tasks.segmentation.metrics import (
    Counts,
    batch_mean_weights,
    count_pixels,
    image_dice,
    image_scores,
    statistics,
)
from tests.tasks.fakes import base_names

MASKS = hnp.arrays(np.uint8, (4, 2, 3, 3), elements=st.integers(0, 1))


def _dice(pred: np.ndarray, target: np.ndarray) -> float | np.float64:
    if target.sum() == 0:
        return float(pred.sum() == 0)
    return 2 * (pred & target).sum() / (pred.sum() + target.sum())


def _table(
    pred: np.ndarray, target: np.ndarray, classes: tuple[str, ...] = ("lung", "opacity")
) -> pd.DataFrame:
    counts = count_pixels(pred, target)
    columns = {
        f"{part}:{name}": counts[:, c, k]
        for c, name in enumerate(classes)
        for k, part in enumerate(("tp", "pred", "target"))
    }
    edges = boundary_scores(pred.astype(bool), target.astype(bool))
    columns |= {
        f"{part}:{name}": edges[:, c, k]
        for c, name in enumerate(classes)
        for k, part in enumerate(metrics.BOUNDARY)
    }
    columns |= {
        f"score:{name}": image_scores(pred.astype(float))[:, c] for c, name in enumerate(classes)
    }
    return pd.DataFrame({"pixels": np.full(len(pred), pred.shape[-1] * pred.shape[-2]), **columns})


@settings(max_examples=100, deadline=None)
@given(MASKS, MASKS, st.lists(st.integers(0, 3), min_size=4, max_size=4), st.booleans())
def test_metrics_equal_brute_force(
    pred: np.ndarray, target: np.ndarray, weights: list[int], emptied: bool
) -> None:
    if emptied:
        pred[0], target[0], target[1] = 0, 0, 0
    repeated = [i for i, w in enumerate(weights) for _ in range(w)]
    values = {
        name: f(np.array([weights]))[0] for name, f in statistics(_table(pred, target)).items()
    }
    for c, label in enumerate(("lung", "opacity")):
        per_image = [_dice(pred[i, c], target[i, c]) for i in repeated]
        positive = [_dice(pred[i, c], target[i, c]) for i in repeated if target[i, c].any()]
        both = sum((pred[i, c] & target[i, c]).sum() for i in repeated)
        either = sum((pred[i, c] | target[i, c]).sum() for i in repeated)
        ious = [
            (pred[i, c] & target[i, c]).sum() / max(1, (pred[i, c] | target[i, c]).sum())
            for i in repeated
        ]
        ious = [
            1.0 if not (pred[i, c] | target[i, c]).any() else v
            for i, v in zip(repeated, ious, strict=True)
        ]
        expected = {
            "dice_per_image": np.mean(per_image) if repeated else np.nan,
            "dice_positive": np.mean(positive) if positive else np.nan,
            "dice_global": 2 * both / (both + either) if either else 1.0,
            "iou": both / either if either else 1.0,
            "iou_per_image": np.mean(ious) if repeated else np.nan,
        }
        outside, apart = (
            9 * len(repeated) - either,
            either - both,
        )  # pixels in neither mask, in one alone
        dice, overlap = (
            (2 * outside / (2 * outside + apart), outside / (outside + apart))
            if outside + apart
            else (1.0, 1.0)
        )
        expected["mdice"], expected["miou"] = (
            (expected["dice_global"] + dice) / 2,
            (expected["iou"] + overlap) / 2,
        )
        background = [_dice(1 - pred[i, c], 1 - target[i, c]) for i in repeated]
        expected["mdice_per_image"] = np.mean([per_image, background]) if repeated else np.nan
        marked = [float(pred[i, c].any()) for i in repeated if target[i, c].any()]
        clean = [float(not pred[i, c].any()) for i in repeated if not target[i, c].any()]
        expected["image_sensitivity"] = np.mean(marked) if marked else np.nan
        expected["image_specificity"] = np.mean(clean) if clean else np.nan
        for name, value in expected.items():
            np.testing.assert_allclose(values[f"{name}:{label}"], value, rtol=1e-12, err_msg=name)


def test_macro_is_the_mean_over_classes() -> None:
    rng = np.random.default_rng(0)
    pred, target = (rng.integers(0, 2, (6, 2, 4, 4), dtype=np.uint8) for _ in range(2))
    found = statistics(_table(pred, target))
    weights = rng.integers(0, 3, (5, 6))
    for name in ("dice_per_image", "dice_global", "iou", "mdice", "surface_dice"):
        mean = (found[f"{name}:lung"](weights) + found[f"{name}:opacity"](weights)) / 2
        np.testing.assert_allclose(found[name](weights), mean)


def test_one_class_has_no_suffix() -> None:
    masks = np.zeros((2, 1, 3, 3), np.uint8)
    assert set(statistics(_table(masks, masks, ("pneumothorax",)))) == {
        *metrics.VARIANTS,
        *metrics.BOUNDARY,
        "image_auroc",
    }


def test_empty_target_scores_one_only_when_nothing_is_predicted() -> None:
    counts = Counts(np.array([0, 0, 0]), np.array([0, 5, 0]), np.array([0, 0, 7]), 64)
    assert image_dice(counts).tolist() == [1.0, 0.0, 0.0]


def test_batch_mean_over_weights_the_short_last_batch() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4, 1.0])
    expected = np.mean([np.mean(values[:2]), np.mean(values[2:4]), values[4]])
    assert batch_mean_weights(5, 2) @ values == pytest.approx(expected)


def test_counts_of_bool_and_uint8_and_views_agree() -> None:
    rng = np.random.default_rng(1)
    pred, target = (rng.integers(0, 2, (3, 2, 8, 8), dtype=np.uint8) for _ in range(2))
    expected = np.stack([(pred & target).sum((2, 3)), pred.sum((2, 3)), target.sum((2, 3))], -1)
    np.testing.assert_array_equal(count_pixels(pred, target), expected)
    np.testing.assert_array_equal(
        count_pixels(pred.astype(bool), target[..., ::-1][..., ::-1]), expected
    )


# -------------------------------------------------------------------------------- size and boundary
def test_dice_by_size_takes_the_images_of_that_size() -> None:
    target, pred = np.zeros((4, 1, 20, 20), np.uint8), np.zeros((4, 1, 20, 20), np.uint8)
    for image, side in enumerate(
        (1, 3, 8)
    ):  # 0.25%, 2.25% and 16% of the image; the fourth has none
        target[image, 0, :side, :side] = 1
    pred[1, 0, :3, :3], pred[2, 0, :8, :4] = 1, 1
    found = statistics(_table(pred, target, ("a",)))
    values = [found[f"dice_{size}"](np.ones((1, 4)))[0] for size in ("small", "medium", "large")]
    assert values == pytest.approx([0.0, 1.0, 2 * 32 / 96])
    assert np.isnan(found["dice_small"](np.array([[0, 1, 1, 1]]))[0])


def _brute_force(mask: np.ndarray, truth: np.ndarray) -> tuple[np.float64, np.float64]:
    def edge(m: np.ndarray) -> np.ndarray:
        padded = np.pad(m, 1)
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        return np.argwhere(m & ~inner)

    ours, theirs = edge(mask), edge(truth)
    apart = np.linalg.norm(ours[:, None] - theirs[None], axis=-1)
    there, back = apart.min(axis=1), apart.min(axis=0)
    side = mask.shape[0]
    near = (there <= TOLERANCE * side).sum() + (back <= TOLERANCE * side).sum()
    return max(np.percentile(there, 95), np.percentile(back, 95)) / side, near / (
        len(there) + len(back)
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000))
def test_boundary_scores_equal_all_pairs_of_outline_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.choice([12, 120]))
    blocks = rng.random((2, 6, 6)) < 0.3
    mask, truth = (np.kron(block, np.ones((size // 6, size // 6))).astype(bool) for block in blocks)
    found = boundary_scores(mask[None, None], truth[None, None])[0, 0]
    if not truth.any():
        assert np.isnan(found).all()
    elif not mask.any():
        assert found.tolist() == [np.sqrt(2), 0.0]
    else:
        np.testing.assert_allclose(found, _brute_force(mask, truth), rtol=1e-9)


def test_a_mask_at_the_border_has_an_outline_there() -> None:
    assert outline(np.ones((4, 4), bool)).sum() == 12


@pytest.mark.parametrize("protocol", ["default", "mgca"])
def test_the_metrics_named_beforehand_are_those_that_are_given(protocol: str) -> None:
    masks = np.ones((4, 2, 3, 3), np.uint8)
    table = _table(masks, masks)
    if protocol == "mgca":
        table["batch_weight"] = batch_mean_weights(4, 2)
    kind = SegmentationKind()
    task = TaskSpec("t", "segmentation", "d", "T", "dice_global")
    named = kind.metric_names(task, kind.settings(task, protocol, "demo", {}))
    assert base_names(statistics(table)) == set(named)


def test_an_image_is_scored_by_its_most_probable_hundredth() -> None:
    probabilities = np.zeros((2, 1, 20, 20), np.float32)
    probabilities[0, 0, 3, :4] = [0.9, 0.8, 0.7, 0.6]
    probabilities[1, 0, 5, 5] = 1.0
    assert image_scores(probabilities).ravel() == pytest.approx([0.75, 0.25])


def test_image_auroc_is_that_of_scikit_learn_and_missing_in_results_of_before() -> None:
    rng = np.random.default_rng(5)
    target = (rng.random((30, 2, 4, 4)) < 0.1) * (rng.random((30, 2, 1, 1)) < 0.5)
    table = _table((rng.random(target.shape) < 0.2).astype(np.uint8), target.astype(np.uint8))
    for name in ("lung", "opacity"):
        table[f"score:{name}"] = rng.random(30)
    ones = np.ones((1, 30), np.int64)
    values = []
    for name in ("lung", "opacity"):
        lesion = table[f"target:{name}"] > 0
        values.append(roc_auc_score(lesion, table[f"score:{name}"]))
        assert statistics(table)[f"image_auroc:{name}"](ones)[0] == pytest.approx(values[-1])
    assert statistics(table)["image_auroc"](ones)[0] == pytest.approx(np.mean(values))
    before = table.drop(columns=["score:lung", "score:opacity"])
    assert "image_auroc" not in statistics(before)
