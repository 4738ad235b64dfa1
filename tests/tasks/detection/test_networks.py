"""MGCA's YOLOv3 loss against a plain loop over cells, and its score."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from bench.mm import prepare
from tasks.detection.networks import MaskedYOLOHead

prepare("mmdet")

from tasks.detection.model import YOLO_ANCHORS, build_detector  # noqa: E402
from tasks.detection.settings import DetectionSettings  # noqa: E402


@pytest.fixture
def head(toy: SimpleNamespace) -> MaskedYOLOHead:
    settings = DetectionSettings(head="yolov3", image_size=64, channels=8)
    return build_detector(toy.Backbone(), 2, settings, 0).bbox_head


def _bce(p: np.float32, t: float) -> float:
    return -(t * max(math.log(p), -100) if p > 0 else (0 if t == 0 else -100)) - (
        (1 - t) * max(math.log(1 - p), -100) if p < 1 else (0 if t == 1 else -100)
    )


def _plain_loss(
    maps: torch.Tensor,
    boxes: list[list[tuple[float, float, float, float]]],
    labels: list[list[int]],
    stride: int,
    anchors: list[tuple[float, float]],
) -> dict[str, Any]:
    """Return MGCA's loss of one scale, one cell after the other; maps [B, 3, 7, H, W]."""
    batch, count, _, height, width = maps.shape
    target, mask, noobj = (
        {},
        np.zeros((batch, count, height, width)),
        np.ones((batch, count, height, width)),
    )
    for b in range(batch):
        for (x1, y1, x2, y2), label in zip(boxes[b], labels[b], strict=True):
            gx, gy, gw, gh = (
                (x1 + x2) / 2 / stride,
                (y1 + y2) / 2 / stride,
                (x2 - x1) / stride,
                (y2 - y1) / stride,
            )
            i, j = int(gx), int(gy)
            overlap = []
            for aw, ah in np.array(anchors) / stride:
                inner = (min(gw, aw) + 1) * (min(gh, ah) + 1)
                overlap.append(inner / ((gw + 1) * (gh + 1) + (aw + 1) * (ah + 1) - inner))
            for a in range(count):
                if overlap[a] > 0.5:
                    noobj[b, a, j, i] = 0
            best = int(np.argmax(overlap))
            mask[b, best, j, i] = 1
            aw, ah = (v / stride for v in anchors[best])
            target[b, best, j, i] = (gx - i, gy - j, math.log(gw / aw), math.log(gh / ah), label)
    sums = dict.fromkeys(("xy", "wh", "conf", "cls"), 0.0)
    cells = mask.size
    sigmoid = torch.sigmoid(maps).numpy()
    raw = maps.numpy()
    for b, a, j, i in np.ndindex(*mask.shape):
        if mask[b, a, j, i]:
            tx, ty, tw, th, label = target[b, a, j, i]
            sums["xy"] += (
                2.5 * (_bce(sigmoid[b, a, 0, j, i], tx) + _bce(sigmoid[b, a, 1, j, i], ty)) / cells
            )
            sums["wh"] += (
                2.5 * ((raw[b, a, 2, j, i] - tw) ** 2 + (raw[b, a, 3, j, i] - th) ** 2) / cells
            )
            sums["conf"] += _bce(sigmoid[b, a, 4, j, i], 1) / cells
            for k in range(2):
                sums["cls"] += _bce(sigmoid[b, a, 5 + k, j, i], float(k == label)) / (cells * 2)
        if noobj[b, a, j, i]:
            sums["conf"] += 0.5 * _bce(sigmoid[b, a, 4, j, i], 0) / cells
    return sums


def test_mgca_loss_equals_a_loop_over_cells(head: MaskedYOLOHead) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 21, size, size, generator=generator) for size in (2, 4, 8)]
    boxes = [[(4.0, 6.0, 30.0, 40.0), (33.0, 33.0, 60.0, 50.0)], []]
    labels = [[0, 1], []]
    truth = [
        InstanceData(
            bboxes=torch.tensor(b).reshape(-1, 4), labels=torch.tensor(k, dtype=torch.long)
        )
        for b, k in zip(boxes, labels, strict=True)
    ]
    found = head.loss_by_feat(maps, truth, [{}, {}])
    for level, (own, stride) in enumerate(zip(maps, (32, 16, 8), strict=True)):
        anchors = [(w * 64 / 416, h * 64 / 416) for w, h in YOLO_ANCHORS[level]]
        expected = _plain_loss(own.view(2, 3, 7, *own.shape[2:]), boxes, labels, stride, anchors)
        for name, value in expected.items():
            assert float(found[f"loss_{name}"][level]) == pytest.approx(
                value, rel=1e-4, abs=1e-7
            ), (level, name)


def test_an_assigned_anchor_of_another_shape_is_background_too(toy: SimpleNamespace) -> None:
    """One box of 10 px on the coarsest scale of 224 px: its best anchor has shape IoU 0.23."""
    settings = DetectionSettings(head="yolov3", image_size=224, channels=8)
    head = build_detector(toy.Backbone(), 1, settings, 0).bbox_head
    maps = [torch.zeros(1, 18, size, size) for size in (7, 14, 28)]
    truth = InstanceData(
        bboxes=torch.tensor([[107.0, 107.0, 117.0, 117.0]]), labels=torch.zeros(1, dtype=torch.long)
    )
    losses = head.loss_by_feat(maps, [truth], [{}])
    assert float(losses["loss_conf"][0]) == pytest.approx(0.351289, abs=1e-6)


def _suppressed(
    toy: SimpleNamespace,
    loss: Literal["mgca", "mmdet"],
    boxes: list[list[float]],
    scores: list[float],
    iou: float = 0.5,
) -> int:
    """Return how many of `boxes` the test configuration of YOLOv3 keeps."""
    from mmcv.ops import batched_nms

    settings = DetectionSettings(
        head="yolov3", image_size=64, channels=8, yolo_loss=loss, nms_iou=iou
    )
    cfg = build_detector(toy.Backbone(), 1, settings, 0).bbox_head.test_cfg
    labels = torch.zeros(len(boxes), dtype=torch.long)
    return len(batched_nms(torch.tensor(boxes), torch.tensor(scores), labels, cfg.nms)[0])


@pytest.mark.parametrize(
    ("loss", "second", "kept"),
    [
        ("mgca", [1.0, 0.0, 3.0, 2.0], 1),  # sides + 1: 6 of 12 pixels, and 0.5 itself goes
        ("mgca", [1.0, 1.0, 3.0, 2.0], 2),  # 4 of 11
        ("mmdet", [1.0, 0.0, 3.0, 2.0], 2),  # 2 of 6
    ],
)
def test_mgca_suppression_counts_both_end_pixels(
    toy: SimpleNamespace, loss: Literal["mgca", "mmdet"], second: list[float], kept: int
) -> None:
    assert _suppressed(toy, loss, [[0.0, 0.0, 2.0, 2.0], second], [0.9, 0.8]) == kept


@pytest.mark.parametrize("iou", [0.1, 0.3, 0.4, 0.6, 0.7])
def test_mgca_suppression_equals_a_loop(toy: SimpleNamespace, iou: float) -> None:
    rng = np.random.default_rng(0)
    low = rng.integers(0, 12, (60, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 9, (60, 2))], 1).astype(np.float32)
    left = list(range(60))  # scores fall, so that the order is that of the list
    chosen = []
    while left:
        chosen.append(left[0])
        best = boxes[left[0]]
        overlaps = [_pixel_iou(best, boxes[other]) for other in left[1:]]
        left = [other for other, overlap in zip(left[1:], overlaps, strict=True) if overlap < iou]
    scores = np.linspace(0.9, 0.1, 60).astype(np.float32)
    assert _suppressed(toy, "mgca", boxes.tolist(), scores.tolist(), iou) == len(chosen)


def _pixel_iou(one: np.ndarray, other: np.ndarray) -> np.float32:
    """Return the IoU of two boxes whose ends are pixels of theirs, float32."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]) + 1)
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]) + 1)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)]
    return np.float32(width * height) / np.float32(areas[0] + areas[1] - width * height)


def test_score_is_the_objectness_of_the_likeliest_class(head: MaskedYOLOHead) -> None:
    maps = [torch.full((1, 21, size, size), -8.0) for size in (2, 4, 8)]
    view = maps[1].view(1, 3, 7, 4, 4)
    view[0, 1, :, 2, 1] = torch.tensor([0.0, 0.0, 0.3, -0.2, 1.5, -1.0, 0.5])
    (found,) = head.predict_by_feat(
        maps, [{"img_shape": (64, 64), "scale_factor": (1.0, 1.0)}], rescale=True
    )
    assert found.scores[0].item() == pytest.approx(
        torch.sigmoid(torch.tensor(1.5)).item(), rel=1e-5
    )
    assert found.labels[0].item() == 1
    w, h = (v * 64 / 416 for v in YOLO_ANCHORS[1][1])
    centre = torch.tensor([1.5 * 16, 2.5 * 16])
    half = torch.tensor([w * math.exp(0.3), h * math.exp(-0.2)]) / 2
    torch.testing.assert_close(
        found.bboxes[0],
        torch.cat([centre - half, centre + half]).clamp(0, 64),
        rtol=1e-4,
        atol=1e-2,
    )


def test_only_the_strongest_go_into_suppression(head: MaskedYOLOHead) -> None:
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(1, 21, size, size, generator=generator) for size in (2, 4, 8)]
    cfg = ConfigDict({**head.test_cfg, "nms_pre": 5})
    (found,) = head.predict_by_feat(
        maps, [{"img_shape": (64, 64), "scale_factor": (1.0, 1.0)}], cfg=cfg, rescale=True
    )
    assert 1 <= len(found.scores) <= 5


def test_mgca_head_has_the_published_size(toy: SimpleNamespace) -> None:
    """21.6 M parameters on a ResNet-50, as MGCA's detector has."""
    backbone = toy.Backbone()
    backbone.pyramid_channels = (256, 512, 1024, 2048)
    detector = build_detector(backbone, 1, DetectionSettings(head="yolov3", channels=128), 0)
    assert sum(parameter.numel() for parameter in detector.parameters()) / 1e6 == pytest.approx(
        21.6, abs=0.1
    )
