"""The stand-in operators against plain loops, formulas and, where present, the compiled ones."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import MissingDependencyError
from bench.mm import mm_available, mmcv_is_compiled, operators
from bench.mm.focal import sigmoid_focal_loss_backward, sigmoid_focal_loss_forward
from bench.mm.nms import nms, softnms
from bench.mm.roi_align import roi_align_backward, roi_align_forward


@pytest.mark.parametrize("package", ["mmseg", "mmdet"])
def test_models_import_without_a_compiler(package: str) -> None:
    assert mm_available(package) == (True, "")
    registry = importlib.import_module(f"{package}.registry").MODELS
    assert {"mmseg": "EncoderDecoder", "mmdet": "YOLOV3"}[package] in registry.module_dict


def test_absent_package_gives_one_sentence() -> None:
    available, reason = mm_available("mmnothing")
    assert not available
    assert "mmnothing" in reason and "\n" not in reason


def test_other_operators_refuse_when_called() -> None:
    module = operators._StandIn("mmcv._ext")
    function = module.deform_conv_forward
    with pytest.raises(MissingDependencyError, match="deform_conv_forward.*needs a compiled mmcv"):
        function(1, two=2)
    assert not hasattr(module, "__path__")


def test_an_existing_extension_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sentinel = type(sys)("mmcv._ext")
    monkeypatch.setitem(sys.modules, "mmcv._ext", sentinel)
    operators.install()
    assert sys.modules["mmcv._ext"] is sentinel
    assert mmcv_is_compiled()


# ---------------------------------------------------------------------------------------------- nms
def _boxes(seed: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(n, 2, generator=generator) * 20
    return torch.cat([low, low + torch.rand(n, 2, generator=generator) * 15], 1), torch.rand(
        n, generator=generator
    )


def _iou(a: list[float], b: list[float], offset: int) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    area = [(c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)]
    return width * height / (sum(area) - width * height)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 30), st.floats(0.05, 0.95), st.integers(0, 1))
def test_nms_equals_brute_force(seed: int, n: int, threshold: float, offset: int) -> None:
    boxes, scores = (tensor.double() for tensor in _boxes(seed, n))
    kept: list[int] = []
    for i in sorted(range(n), key=lambda i: -scores[i]):
        if all(_iou(boxes[i].tolist(), boxes[j].tolist(), offset) <= threshold for j in kept):
            kept.append(i)
    assert nms(boxes, scores, threshold, offset).tolist() == kept


@pytest.mark.parametrize("method", [0, 1, 2])
def test_softnms_equals_brute_force(method: int) -> None:
    boxes, scores = (tensor.double() for tensor in _boxes(method, 25))
    dets = boxes.new_empty(25, 5)
    found = softnms(
        boxes, scores, dets, iou_threshold=0.3, sigma=0.5, min_score=0.05, method=method, offset=0
    )
    left, expected = dict(enumerate(scores.tolist())), []
    while left:
        best = max(left, key=left.__getitem__)
        expected.append((best, left.pop(best)))
        for other in list(left):
            iou = _iou(boxes[best].tolist(), boxes[other].tolist(), 0)
            factor = (
                np.exp(-iou * iou / 0.5)
                if method == 2
                else (1.0 if iou < 0.3 else (1 - iou) * method)
            )
            left[other] *= factor
            if left[other] < 0.05:
                del left[other]
    assert found.tolist() == [index for index, _ in expected]
    torch.testing.assert_close(
        dets[: len(found), 4], torch.tensor([score for _, score in expected], dtype=torch.float64)
    )
    torch.testing.assert_close(dets[: len(found), :4], boxes[found])


# ---------------------------------------------------------------------------------------- roi align
def _sample(plane: torch.Tensor, y: float, x: float) -> torch.Tensor:
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return plane.new_zeros(())
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = plane[top, left] * (1 - dx) + plane[top, right] * dx
    lower = plane[bottom, left] * (1 - dx) + plane[bottom, right] * dx
    return upper * (1 - dy) + lower * dy


def _naive_roi_align(
    features: torch.Tensor,
    rois: torch.Tensor,
    bins: tuple[int, int],
    scale: float,
    sampling: int,
    aligned: bool,
) -> torch.Tensor:
    rows = []
    for image, *corners in rois.tolist():
        x1, y1, x2, y2 = (value * scale - (0.5 if aligned else 0.0) for value in corners)
        width, height = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1.0), max(y2 - y1, 1.0))
        step = height / bins[0], width / bins[1]
        grid = [sampling or max(int(np.ceil(s)), 0) for s in step]
        for channel in features[int(image)]:
            for i in range(bins[0]):
                for j in range(bins[1]):
                    total = channel.new_zeros(())
                    for a in range(grid[0]):
                        for b in range(grid[1]):
                            y, x = (
                                y1 + (i + (a + 0.5) / grid[0]) * step[0],
                                x1 + (j + (b + 0.5) / grid[1]) * step[1],
                            )
                            total = total + _sample(channel, y, x)
                    rows.append(total / max(grid[0] * grid[1], 1))
    return torch.stack(rows).reshape(len(rois), features.shape[1], *bins)


ROIS = torch.tensor(
    [
        [0, 1.0, 2.0, 9.0, 11.0],
        [1, -6.0, -4.0, 5.0, 3.0],
        [1, 10.0, 8.0, 40.0, 33.0],
        [0, 4.0, 4.0, 4.2, 4.1],
        [0, 5.0, 5.0, 3.0, 2.0],
    ],
    dtype=torch.float64,
)


@pytest.mark.parametrize("sampling", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align_equals_naive_loop_with_gradient(
    sampling: int, aligned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.mm.roi_align._MAX_ENTRIES", 300)  # several chunks
    features = torch.randn(
        2,
        2,
        7,
        9,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(0),
        requires_grad=True,
    )
    expected = _naive_roi_align(features, ROIS, (3, 2), 0.5, sampling, aligned)
    weights = torch.randn(
        expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    (gradient,) = torch.autograd.grad((expected * weights).sum(), features)
    common: dict[str, Any] = {
        "aligned_height": 3,
        "aligned_width": 2,
        "spatial_scale": 0.5,
        "sampling_ratio": sampling,
        "pool_mode": 1,
        "aligned": aligned,
    }
    empty, output, found = torch.empty(0), torch.zeros_like(expected), torch.zeros_like(features)
    roi_align_forward(features.detach(), ROIS, output, empty, empty, **common)
    roi_align_backward(weights, ROIS, empty, empty, found, **common)
    torch.testing.assert_close(output, expected.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found, gradient, rtol=1e-10, atol=1e-12)


def test_roi_align_of_no_boxes_and_max_pooling() -> None:
    common: dict[str, Any] = {
        "aligned_height": 2,
        "aligned_width": 2,
        "spatial_scale": 1.0,
        "sampling_ratio": 0,
        "aligned": True,
    }
    empty, features = torch.empty(0), torch.ones(1, 1, 4, 4)
    roi_align_forward(
        features, torch.empty(0, 5), torch.empty(0, 1, 2, 2), empty, empty, pool_mode=1, **common
    )
    with pytest.raises(MissingDependencyError, match="max"):
        roi_align_forward(
            features,
            torch.zeros(1, 5),
            torch.empty(1, 1, 2, 2),
            empty,
            empty,
            pool_mode=0,
            **common,
        )


# --------------------------------------------------------------------------------------- focal loss
@pytest.mark.parametrize("weighted", [True, False])
def test_focal_loss_equals_formula_with_gradient(weighted: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = (torch.randn(12, 3, generator=generator, dtype=torch.float64) * 3).requires_grad_()
    target = torch.randint(0, 4, (12,), generator=generator)
    weight = (
        torch.rand(3, generator=generator, dtype=torch.float64)
        if weighted
        else torch.empty(0, dtype=torch.float64)
    )
    terms = []
    for row, kind in zip(logits, target.tolist(), strict=True):
        for column, value in enumerate(row):
            p = 1 / (1 + torch.exp(-value))
            term = (
                -0.25 * (1 - p) ** 2 * torch.log(p)
                if column == kind
                else -0.75 * p**2 * torch.log(1 - p)
            )
            terms.append(term * (weight[kind] if weighted and kind < 3 else 1.0))
    expected = torch.stack(terms).reshape(12, 3)
    (gradient,) = torch.autograd.grad(expected.sum(), logits)
    output, found = torch.empty_like(expected), torch.empty_like(expected)
    sigmoid_focal_loss_forward(logits.detach(), target, weight, output, gamma=2.0, alpha=0.25)
    sigmoid_focal_loss_backward(logits.detach(), target, weight, found, gamma=2.0, alpha=0.25)
    torch.testing.assert_close(output, expected.detach())
    torch.testing.assert_close(found, gradient)


def test_through_mmcv_the_gradient_reaches_the_features() -> None:
    mm_available("mmdet")
    from mmcv.ops import batched_nms, roi_align, sigmoid_focal_loss

    features = torch.ones(2, 1, 7, 9, requires_grad=True)
    roi_align(features, ROIS.float(), (3, 2), 0.5, 0, "avg", True).sum().backward()
    assert features.grad is not None and features.grad.abs().sum() > 0
    boxes, scores = _boxes(0, 20)
    kept, index = batched_nms(
        boxes, scores, torch.zeros(20, dtype=torch.long), {"type": "nms", "iou_threshold": 0.5}
    )
    assert index.tolist() == nms(boxes, scores, 0.5, 0).tolist() and kept.shape[1] == 5
    assert sigmoid_focal_loss(torch.zeros(2, 1), torch.tensor([0, 1])).item() == pytest.approx(
        0.25 * np.log(2) / 2
    )


# --------------------------------------------------------------------------------- compiled, if any
@pytest.mark.skipif(not mmcv_is_compiled(), reason="mmcv has no compiled operators here")
def test_compiled_operators_are_used_and_equal() -> None:
    mm_available("mmdet")
    from mmcv.ops import nms as compiled_nms
    from mmcv.ops import roi_align, soft_nms

    assert not operators.is_stand_in(sys.modules["mmcv._ext"])
    boxes, scores = _boxes(1, 60)
    assert compiled_nms(boxes, scores, 0.4)[1].tolist() == nms(boxes, scores, 0.4, 0).tolist()
    dets = torch.empty(60, 5)
    found = softnms(boxes, scores, dets, 0.3, 0.5, 1e-3, 1, 0)
    theirs, index = soft_nms(boxes, scores, 0.3)
    assert index.tolist() == found.tolist()
    torch.testing.assert_close(theirs, dets[: len(found)])
    features, output, empty = torch.randn(2, 3, 7, 9), torch.zeros(5, 3, 3, 2), torch.empty(0)
    common: dict[str, Any] = {
        "aligned_height": 3,
        "aligned_width": 2,
        "spatial_scale": 0.5,
        "sampling_ratio": 0,
        "pool_mode": 1,
        "aligned": True,
    }
    roi_align_forward(features, ROIS.float(), output, empty, empty, **common)
    torch.testing.assert_close(
        roi_align(features, ROIS.float(), (3, 2), 0.5, 0, "avg", True), output
    )
