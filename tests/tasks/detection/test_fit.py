"""Training and prediction end to end on tiny images: every head learns, freezing, resuming,
refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch

from bench.contracts import CellContext, FitBaseline, ImageEncoder, Predictions, Subset, TaskSpec
from bench.core.errors import DataError, SettingError
from bench.data.annotations import Boxes, BoxRows
from bench.metrics.bootstrap import point
from tasks.detection import DetectionKind, prior
from tasks.detection import fit as fitting
from tasks.detection.data import Source, TrainBatches, augmented
from tasks.detection.fit import TrainedDetector, Validation

if TYPE_CHECKING:
    from mmdet.models.detectors.fcos import FCOS

HEADS = [("yolov3", "resnet"), ("faster_rcnn", "resnet"), ("vitdet", "vit")]


def _figures(kind: DetectionKind, predictions: Predictions, task: TaskSpec) -> dict[str, float]:
    return {
        name: point(f, len(predictions.table))
        for name, f in kind.statistics(predictions, task).items()
    }


def _run(
    kind: DetectionKind,
    toy: SimpleNamespace,
    context: CellContext,
    classes: int = 1,
    backbone: ImageEncoder | None = None,
    n: int = 32,
    fit: FitBaseline | None = None,
) -> tuple[TrainedDetector, Predictions]:
    fit = fit or partial(kind.fit, backbone or toy.Backbone())
    trained = fit(toy.squares(n, classes), toy.squares(10, classes, seed=1), context)
    return trained, kind.predict(trained, toy.squares(16, classes, seed=2), context)


@pytest.fixture
def kind() -> DetectionKind:
    return DetectionKind()


def test_predictions_on_kept_test_maps_are_those_on_images_to_the_last_bit(
    kind: DetectionKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    context = make_context(cache_features=True, cached_views=1)
    trained, kept = _run(kind, toy, context)
    assert len(context.test_maps) == 1
    computed = replace(context, settings=replace(context.settings, cache_features=False))
    again = kind.predict(trained, toy.squares(16, 1, seed=2), computed)
    pd.testing.assert_frame_equal(kept.table, again.table)
    for name, values in kept.arrays.items():
        np.testing.assert_array_equal(values, again.arrays[name])


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_a_fit_learns_the_squares(
    kind: DetectionKind, toy: SimpleNamespace, make_context: Callable[..., Any], family: str
) -> None:
    context = make_context(epochs=2, steps_per_epoch=30, val_every=2, lr=1e-2)
    _, predictions = _run(kind, toy, context, backbone=toy.Backbone(family), n=48)
    assert _figures(kind, predictions, toy.task)["froc_1"] > 0.4
    assert predictions.extra["head"] == "fcos"


@pytest.mark.parametrize(("head", "family"), HEADS)
def test_every_head_trains_and_finds(
    kind: DetectionKind,
    toy: SimpleNamespace,
    make_context: Callable[..., Any],
    head: str,
    family: str,
) -> None:
    context = make_context(
        head=head, epochs=3, steps_per_epoch=5, val_every=3, lr=5e-3, min_score=1e-4
    )
    _, predictions = _run(kind, toy, context, backbone=toy.Backbone(family))
    curve = [
        json.loads(line) for line in (context.work_dir / "curve.jsonl").read_text().splitlines()
    ]
    fell = (
        "train/loss" if head == "yolov3" else "train/loss_rpn_cls"
    )  # the second stage's rises with what the first one finds
    assert curve[-1][fell] < 0.9 * curve[0][fell]
    assert predictions.extra["head"] == head and (predictions.arrays["scores"] > 0).any()


def test_default_protocol_leaves_the_encoder_untouched(
    kind: DetectionKind, toy: SimpleNamespace, make_context: Callable[..., Any]
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


def test_mgca_trains_batchnorm_statistics_of_a_copy_and_reports_its_own_map(
    kind: DetectionKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    backbone = toy.Backbone()
    before = {name: value.clone() for name, value in backbone.module.state_dict().items()}
    trained, predictions = _run(kind, toy, make_context("mgca"), backbone=backbone)
    after = trained.detector.backbone.encoder.module.state_dict()
    for name, value in before.items():
        assert torch.equal(backbone.module.state_dict()[name], value), name
        assert torch.equal(after[name], value) != ("running" in name or "num_batches" in name), name
    assert "map_mgca" in kind.statistics(predictions, toy.task)
    assert predictions.extra["head"] == "yolov3"


def test_fine_tuning_changes_a_copy_of_the_weights(
    kind: DetectionKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    backbone = toy.Backbone()
    before = backbone.module[3][0].weight.clone()
    trained, _ = _run(
        kind, toy, make_context(frozen=False, cache_features=False), backbone=backbone
    )
    assert torch.equal(backbone.module[3][0].weight, before)
    assert not torch.equal(trained.detector.backbone.encoder.module[3][0].weight, before)


@pytest.mark.parametrize(
    "changes", [{"cache_features": True}, {"cache_features": False, "augment": True}]
)
def test_stopped_and_resumed_equals_uninterrupted(
    kind: DetectionKind,
    toy: SimpleNamespace,
    make_context: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, bool],
) -> None:
    common = {"epochs": 3, **changes}
    _, whole = _run(kind, toy, make_context(folder="whole", **common))
    evaluate, calls = fitting.Validation.evaluate, []

    def stop_in_second_epoch(self: Validation, detector: FCOS) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(self, detector)

    monkeypatch.setattr(fitting.Validation, "evaluate", stop_in_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        _run(kind, toy, make_context(folder="parts", **common))
    monkeypatch.undo()
    _, resumed = _run(kind, toy, make_context(folder="parts", **common))
    assert resumed.extra == whole.extra
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(resumed.arrays[name], array, err_msg=name)


def test_same_seed_same_numbers_and_the_global_generator_is_no_input(
    kind: DetectionKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    _, one = _run(kind, toy, make_context(folder="one"))
    torch.rand(7)
    _, two = _run(kind, toy, make_context(folder="two"))
    _, other = _run(kind, toy, make_context(folder="other", seed=1))
    np.testing.assert_array_equal(one.arrays["corners"], two.arrays["corners"])
    assert not np.array_equal(one.arrays["scores"], other.arrays["scores"])


@pytest.mark.parametrize(
    ("head", "family"), [("yolov3", "vit"), ("faster_rcnn", "vit"), ("vitdet", "resnet")]
)
def test_head_of_another_family_is_refused(
    kind: DetectionKind,
    toy: SimpleNamespace,
    make_context: Callable[..., Any],
    head: str,
    family: str,
) -> None:
    with pytest.raises(
        SettingError, match=rf"'{head}' does not fit.*'tiny' of family {family}.*head=fcos"
    ):
        _run(kind, toy, make_context(head=head), backbone=toy.Backbone(family))


def test_image_size_between_strides_is_refused(
    kind: DetectionKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    with pytest.raises(SettingError, match="image_size 60 does not divide by 32.*image_size=64"):
        _run(kind, toy, make_context(image_size=60))


def _healthy(subset: Subset) -> Subset:
    return with_boxes(subset, [np.zeros((0, 5), np.float32)] * len(subset))


def with_boxes(subset: Subset, lists: Sequence[np.ndarray]) -> Subset:
    return replace(subset, annotations={Boxes: BoxRows(tuple(lists), ("box",))})


def test_subsets_without_a_box_are_refused_by_name(
    kind: DetectionKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    full, context = toy.squares(8), make_context()
    with pytest.raises(DataError, match="none of the 8 training images has a box"):
        kind.fit(toy.Backbone(), _healthy(full), full, context)
    with pytest.raises(DataError, match="none of the 8 validation images has a box"):
        kind.fit(toy.Backbone(), full, _healthy(full), context)
    trained = kind.fit(toy.Backbone(), full, full, context)
    with pytest.raises(DataError, match="none of the 8 test images has a box"):
        kind.predict(trained, _healthy(full), context)


def test_a_class_without_test_boxes_is_named(
    kind: DetectionKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    context = make_context()
    trained = kind.fit(toy.Backbone(), toy.squares(24, 2), toy.squares(12, 2, seed=1), context)
    predictions = kind.predict(trained, toy.squares(12, 1, seed=2), context)
    assert predictions.extra["classes_without_test_boxes"] == "pit"
    found = _figures(kind, predictions, toy.task)
    assert np.isnan(found["map:pit"]) and not np.isnan(found["map"])


# --------------------------------------------------------------------------------------------- data
def test_boxes_move_with_the_image(toy: SimpleNamespace) -> None:
    boxes = [np.array([[10, 20, 30, 44, 0]], np.float32)] * 40
    grey = torch.zeros(40, 1, 64, 64)
    grey[:, :, 20:44, 10:30] = 1
    images, found = augmented(grey, boxes, np.random.default_rng(0))
    mirrored = 0
    for image, own in zip(images[:, 0], found, strict=True):
        rows, columns = (image.max(dim=axis).values > 0.5 for axis in (1, 0))
        edges = [t.nonzero()[0].item() for t in (columns, rows)] + [
            t.nonzero()[-1].item() + 1 for t in (columns, rows)
        ]
        np.testing.assert_allclose(own[0, :4], edges, atol=0.8)
        mirrored += own[0, 0] > 24
    assert 8 < mirrored < 32


def test_a_box_that_leaves_the_view_is_clipped_or_dropped() -> None:
    boxes = [np.array([[0, 0, 3, 3, 0], [20, 20, 64, 64, 1]], np.float32)] * 60
    _, found = augmented(torch.zeros(60, 1, 64, 64), boxes, np.random.default_rng(1))
    counts = [len(own) for own in found]
    assert set(counts) == {1, 2} and all(
        (own[:, :4] >= 0).all() and (own[:, :4] <= 64).all() for own in found
    )


def test_every_image_is_in_an_epoch_once_with_its_boxes(toy: SimpleNamespace) -> None:
    subset = toy.squares(11)
    batches = list(
        TrainBatches(Source(subset, toy.Backbone.input), 4, augment=False).batches(
            np.random.default_rng(0)
        )
    )
    assert [len(batch["inputs"]) for batch in batches] == [4, 4, 3]
    counts = sorted(
        len(sample.gt_instances.bboxes) for batch in batches for sample in batch["data_samples"]
    )
    assert counts == sorted(len(own) for own in subset.get(Boxes).lists)


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_the_share_of_images_with_boxes_is_drawn(toy: SimpleNamespace, share: float) -> None:
    subset = toy.squares(400)
    without = sum(not len(own) for own in subset.get(Boxes).lists) / 400
    assert 0.25 < without < 0.75, "what is drawn differs from what is there"
    batches = TrainBatches(
        Source(subset, toy.Backbone.input), 100, augment=False, positive_share=share
    )
    samples = [
        sample
        for batch in batches.batches(np.random.default_rng(0))
        for sample in batch["data_samples"]
    ]
    drawn = [len(sample.gt_instances.bboxes) > 0 for sample in samples]
    assert len(drawn) == 400 and np.mean(drawn) == pytest.approx(share, abs=0.06)


def test_a_share_of_images_that_all_have_boxes_is_all_of_them(toy: SimpleNamespace) -> None:
    full = toy.squares(40)
    subset = with_boxes(full, [np.array([[1, 1, 9, 9, 0]], np.float32)] * 40)
    batches = TrainBatches(Source(subset, toy.Backbone.input), 7, augment=False, positive_share=0.5)
    order = batches._order(np.random.default_rng(0))
    assert sorted(order) == list(range(40))


def test_frequent_boxes_are_those_of_training_and_see_no_image(
    kind: DetectionKind, toy: SimpleNamespace, make_context: Callable[..., Any]
) -> None:
    frequent = kind.baseline("frequent_boxes")
    trained, predictions = _run(kind, toy, make_context(), fit=frequent, n=48)
    corners, scores = predictions.arrays["corners"], predictions.arrays["scores"]
    assert corners.shape[1] == prior.GROUPS and (corners == corners[:1]).all()
    known = sum(len(boxes) for boxes in toy.squares(48).get(Boxes).lists)
    assert scores[0].sum() == pytest.approx(known / 48, abs=1e-5)
    _, learnt = _run(
        kind, toy, make_context(epochs=2, steps_per_epoch=30, val_every=2, lr=1e-2), n=48
    )
    chance, ours = (_figures(kind, one, toy.task)["map_rsna"] for one in (predictions, learnt))
    assert chance < ours and 0 < trained.facts["confidence"] <= 1


def test_a_class_of_one_box_has_one_frequent_box(toy: SimpleNamespace) -> None:
    images = toy.squares(3)
    boxes = (
        np.array([[1, 2, 9, 8, 0]], np.float32),
        np.zeros((0, 5), np.float32),
        np.zeros((0, 5), np.float32),
    )
    found = prior.learn_boxes(with_boxes(images, boxes)).boxes.numpy()
    np.testing.assert_allclose(found, [[1, 2, 9, 8, 0, 1 / 3]], rtol=1e-6)
