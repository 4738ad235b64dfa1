"""Training and prediction end to end on tiny images: learning, freezing, resuming, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch

from bench.contracts import CellContext, FitBaseline, ImageEncoder, Predictions, TaskSpec
from bench.core.errors import DataError, SettingError
from bench.data.annotations import MaskRows, Masks
from bench.metrics.bootstrap import point
from tasks.segmentation import SegmentationKind
from tasks.segmentation import fit as fitting
from tasks.segmentation.data import Source, TrainBatches, flip, scale_rotate
from tasks.segmentation.figures import unpack_masks
from tasks.segmentation.fit import Segmenter, Validation

if TYPE_CHECKING:
    from mmseg.models.segmentors.encoder_decoder import EncoderDecoder


def _figures(kind: SegmentationKind, predictions: Predictions, task: TaskSpec) -> dict[str, float]:
    n = len(predictions.table)
    return {
        name: point(statistic, n) for name, statistic in kind.statistics(predictions, task).items()
    }


def _run(
    kind: SegmentationKind,
    toy: SimpleNamespace,
    context: CellContext,
    classes: int = 1,
    backbone: ImageEncoder | None = None,
    n: int = 32,
    fit: FitBaseline | None = None,
) -> tuple[Segmenter, Predictions]:
    fit = fit or partial(kind.fit, backbone or toy.Backbone())
    segmenter = fit(toy.blobs(n, classes), toy.blobs(12, classes, seed=1), context)
    return segmenter, kind.predict(segmenter, toy.blobs(16, classes, seed=2), context)


@pytest.fixture
def kind() -> SegmentationKind:
    return SegmentationKind()


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_a_fit_learns_the_blobs(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any], family: str
) -> None:
    _, predictions = _run(
        kind, toy, make_context(epochs=8, steps_per_epoch=8, lr=1e-2), backbone=toy.Backbone(family)
    )
    found = _figures(kind, predictions, toy.task)
    assert found["dice_per_image"] > (predictions.table["target:blob"] == 0).mean() + 0.1
    assert found["dice_global"] > 0.5
    assert predictions.extra["head"] == {"resnet": "unet", "vit": "setr_pup"}[family]


@pytest.mark.parametrize(
    ("head", "family"),
    [("upernet", "resnet"), ("upernet", "vit"), ("linear", "resnet"), ("linear", "vit")],
)
def test_heads_for_both_families_learn(
    kind: SegmentationKind,
    toy: SimpleNamespace,
    make_context: Callable[..., Any],
    head: str,
    family: str,
) -> None:
    context = make_context(
        head=head, upernet_channels=8, epochs=6, steps_per_epoch=8, lr=1e-2, loss="ce_dice"
    )
    segmenter, predictions = _run(kind, toy, context, backbone=toy.Backbone(family))
    assert predictions.extra["head"] == head
    assert _figures(kind, predictions, toy.task)["dice_global"] > 0.4
    assert hasattr(segmenter.segmentor, "auxiliary_head") == (head == "upernet")


@pytest.mark.parametrize("head", ["unet", "upernet"])
def test_one_image_more_than_whole_batches_trains(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any], head: str
) -> None:
    context = make_context(
        head=head, upernet_channels=8, epochs=1, steps_per_epoch=None, batch_size=4
    )
    _, predictions = _run(kind, toy, context, n=9)
    assert np.isfinite(predictions.extra["best_metric"])


@pytest.mark.parametrize("protocol", ["gloria", "benchx"])
def test_other_protocols_run(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any], protocol: str
) -> None:
    context = make_context(
        protocol, epochs=2, upernet_channels=8, cache_features=False, cached_views=1
    )
    _, predictions = _run(kind, toy, context)
    assert predictions.extra["best_metric"] > 0
    assert predictions.extra["threshold:blob"] == 0.5


def test_no_mask_in_the_test_split_is_refused(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    context = make_context()
    segmenter = kind.fit(toy.Backbone(), toy.blobs(8), toy.blobs(8, seed=1), context)
    test = toy.blobs(6)
    empty = MaskRows(np.zeros_like(test.masks(slice(None))), np.arange(6), ("blob",))
    with pytest.raises(DataError, match="none of the 6 test images has a mask"):
        kind.predict(segmenter, replace(test, annotations={Masks: empty}), context)


def test_flip_moves_image_and_mask_together() -> None:
    images = torch.arange(40 * 4.0).reshape(40, 1, 2, 2)
    moved, masks = flip(images, images.clone(), np.random.default_rng(0))
    assert torch.equal(moved, masks) and 10 < (moved != images).flatten(1).any(1).sum() < 30


def test_overlapping_classes_have_a_sigmoid_each(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    context = make_context(epochs=8, steps_per_epoch=8, lr=1e-2)
    _, predictions = _run(kind, toy, context, classes=2)
    found = _figures(kind, predictions, toy.task)
    assert found["dice_global:square"] > 0.3
    masks = unpack_masks(predictions)
    assert masks.shape == (16, 2, toy.size, toy.size)
    assert masks[:, 1].sum(axis=(1, 2)).tolist() == predictions.table["pred:square"].tolist()
    assert (masks[:, 0] & masks[:, 1]).any()


def test_default_protocol_leaves_the_encoder_untouched(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    backbone = toy.Backbone()
    before = {name: value.clone() for name, value in backbone.module.state_dict().items()}
    context = make_context(cache_features=False, augment=True)
    _run(kind, toy, context, backbone=backbone)
    for name, value in backbone.module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(layer.training for layer in backbone.module.modules())
    saved = torch.load(next(context.work_dir.glob("epoch_*.pth")), weights_only=True)["state_dict"]
    assert not [name for name in saved if name.startswith("backbone.")]


def test_mgca_trains_batchnorm_statistics_of_a_copy_and_no_weight(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    backbone = toy.Backbone()
    before = {name: value.clone() for name, value in backbone.module.state_dict().items()}
    segmenter, predictions = _run(
        kind, toy, make_context("mgca", steps_per_epoch=4), backbone=backbone
    )
    after = segmenter.segmentor.backbone.encoder.module.state_dict()
    for name, value in before.items():
        assert torch.equal(backbone.module.state_dict()[name], value), name
        assert torch.equal(after[name], value) != ("running" in name or "num_batches" in name), name
    assert segmenter.points[0].threshold == 0.5
    table = predictions.table
    weights = table["batch_weight"].to_numpy()
    assert weights.sum() == pytest.approx(1)
    assert "dice_batch_mean" in kind.statistics(predictions, toy.task)


def test_fine_tuning_changes_a_copy_of_the_weights(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    backbone = toy.Backbone()
    before = backbone.module[0][0].weight.clone()
    segmenter, _ = _run(
        kind, toy, make_context(frozen=False, cache_features=False), backbone=backbone
    )
    assert torch.equal(backbone.module[0][0].weight, before)
    assert not torch.equal(segmenter.segmentor.backbone.encoder.module[0][0].weight, before)


def test_kept_features_train_as_computed_ones_do(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    def best(flag: bool) -> float:
        context = make_context(folder=str(flag), cache_features=flag, cached_views=1)
        return _run(kind, toy, context)[1].extra["best_metric"]

    kept, computed = best(True), best(False)
    assert kept == pytest.approx(computed, abs=0.02)  # half precision


def test_predictions_on_kept_test_maps_are_those_on_images_to_the_last_bit(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    context = make_context(cache_features=True, cached_views=1)
    segmenter, kept = _run(kind, toy, context)
    assert len(context.test_maps) == 1
    computed = replace(context, settings=replace(context.settings, cache_features=False))
    again = kind.predict(segmenter, toy.blobs(16, seed=2), computed)
    pd.testing.assert_frame_equal(kept.table, again.table)
    np.testing.assert_array_equal(kept.arrays["masks"], again.arrays["masks"])


def test_predictions_do_not_depend_on_batch_size(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    context = make_context()
    segmenter, predictions = _run(kind, toy, context)
    other = kind.predict(replace(segmenter, batch_size=3), toy.blobs(16, seed=2), context)
    probabilities = [
        np.concatenate(
            [
                p
                for _, p in replace(segmenter, batch_size=size).probabilities(
                    Source(toy.blobs(16, seed=2), segmenter.spec), "cpu"
                )
            ]
        )
        for size in (8, 3, 1)
    ]
    np.testing.assert_allclose(probabilities[0], probabilities[1], atol=1e-5)
    np.testing.assert_allclose(probabilities[0], probabilities[2], atol=1e-5)
    assert (predictions.table["pred:blob"] - other.table["pred:blob"]).abs().max() <= 2


@pytest.mark.parametrize("protocol", ["default", "mgca"])
def test_stopped_and_resumed_equals_uninterrupted(
    kind: SegmentationKind,
    toy: SimpleNamespace,
    make_context: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
) -> None:
    common = {"augment": True, "cache_features": False, "epochs": 4}
    _, whole = _run(kind, toy, make_context(protocol, folder="whole", **common))
    evaluate, calls = fitting.Validation.evaluate, []

    def stop_in_third_epoch(self: Validation, segmentor: EncoderDecoder) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(self, segmentor)

    monkeypatch.setattr(fitting.Validation, "evaluate", stop_in_third_epoch)
    with pytest.raises(KeyboardInterrupt):
        _run(kind, toy, make_context(protocol, folder="parts", **common))
    monkeypatch.undo()
    _, resumed = _run(kind, toy, make_context(protocol, folder="parts", **common))
    assert resumed.table.equals(whole.table)
    assert resumed.extra == whole.extra


def test_same_seed_same_numbers_and_the_global_generator_is_no_input(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    _, one = _run(kind, toy, make_context(folder="one"))
    torch.rand(7)
    _, two = _run(kind, toy, make_context(folder="two"))
    _, other = _run(kind, toy, make_context(folder="other", seed=1))
    assert one.table.equals(two.table)
    assert one.extra["best_metric"] != other.extra["best_metric"]


@pytest.mark.parametrize(("head", "family"), [("unet", "vit"), ("setr_pup", "resnet")])
def test_head_of_another_family_is_refused(
    kind: SegmentationKind,
    toy: SimpleNamespace,
    make_context: Callable[..., Any],
    head: str,
    family: str,
) -> None:
    with pytest.raises(
        SettingError, match=rf"'{head}' does not fit.*'tiny' of family {family}.*head="
    ):
        _run(kind, toy, make_context(head=head), backbone=toy.Backbone(family))


def test_image_size_between_strides_is_refused(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    with pytest.raises(SettingError, match="image_size 30 does not divide by 4.*image_size=32"):
        _run(kind, toy, make_context(image_size=30))


def test_empty_validation_is_refused(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    with pytest.raises(DataError, match="no validation image"):
        kind.fit(toy.Backbone(), toy.blobs(4), toy.blobs(0), make_context())


# --------------------------------------------------------------------------------------------- data
def test_augmentation_moves_image_and_mask_together_and_repeats(toy: SimpleNamespace) -> None:
    subset = toy.blobs(40, seed=5)
    batches = TrainBatches(Source(subset, toy.Backbone.input), 8, augment=True)
    first, again, other = (
        torch.cat([batch["inputs"] for batch in batches.batches(np.random.default_rng([0, epoch]))])
        for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    masks = torch.zeros(200, 1, 64, 64)
    masks[:, :, 10:30, 20:50] = 1
    images, moved = scale_rotate(masks.clone(), masks, np.random.default_rng(0))
    assert ((images > 0.5) != (moved > 0.5)).float().mean() < 0.002
    changed = (moved != masks).flatten(1).any(1).float().mean()
    assert 0.35 < changed < 0.65
    ratio = moved.sum((1, 2, 3)) / masks.sum((1, 2, 3))
    assert 0.78 < ratio.min() < 0.9 and 1.1 < ratio.max() < 1.24


def test_every_image_is_in_an_epoch_once(toy: SimpleNamespace) -> None:
    subset = toy.blobs(11)
    batches = TrainBatches(Source(subset, toy.Backbone.input), 4, augment=False)
    found = torch.cat([batch["inputs"] for batch in batches.batches(np.random.default_rng(0))])
    assert len(batches) == 3 and len(found) == 11
    sums = torch.from_numpy(subset.images(slice(None)).astype(np.float32)).sum((1, 2)) / 255
    restored = (found[:, 0] * 0.5 + 0.5).sum((1, 2))
    np.testing.assert_allclose(np.sort(restored), np.sort(sums), rtol=1e-4)


def test_the_prior_mask_is_that_of_training_and_sees_no_image(
    kind: SegmentationKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    segmenter, predictions = _run(
        kind, toy, make_context(min_area=0.0), classes=2, fit=kind.baseline("prior_mask")
    )
    share = toy.blobs(32, 2).masks(np.arange(32)).mean(axis=0)
    found = segmenter.segmentor.logits.sigmoid().numpy()
    np.testing.assert_allclose(found, share / share.max(axis=(1, 2), keepdims=True), atol=1e-4)
    masks = np.unpackbits(predictions.arrays["masks"], axis=-1)
    assert masks.any() and (masks == masks[:1]).all()
    trained = _run(kind, toy, make_context(epochs=8, steps_per_epoch=8, lr=1e-2), classes=2)[1]
    chance, ours = (_figures(kind, one, toy.task)["dice_global"] for one in (predictions, trained))
    assert 0 < chance < ours
