"""MGCA's YOLOv3 loss against a plain loop over cells, and its score."""

import math

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from bench.mm import prepare

prepare("mmdet")

from tasks.detection.model import YOLO_ANCHORS, build_detector  # noqa: E402
from tasks.detection.settings import DetectionSettings  # noqa: E402


@pytest.fixture
def head(toy):
    settings = DetectionSettings(head="yolov3", image_size=64, channels=8)
    return build_detector(toy.Backbone(), 2, settings, 0).bbox_head


def _bce(p, t):
    return -(t * max(math.log(p), -100) if p > 0 else (0 if t == 0 else -100)) - (
        (1 - t) * max(math.log(1 - p), -100) if p < 1 else (0 if t == 1 else -100)
    )


def _plain_loss(maps, boxes, labels, stride, anchors):
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
            mask[b, best, j, i], noobj[b, best, j, i] = 1, 0
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


def test_mgca_loss_equals_a_loop_over_cells(head):
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


def test_score_is_the_objectness_of_the_likeliest_class(head):
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


def test_only_the_strongest_go_into_suppression(head):
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(1, 21, size, size, generator=generator) for size in (2, 4, 8)]
    cfg = ConfigDict({**head.test_cfg, "nms_pre": 5})
    (found,) = head.predict_by_feat(
        maps, [{"img_shape": (64, 64), "scale_factor": (1.0, 1.0)}], cfg=cfg, rescale=True
    )
    assert 1 <= len(found.scores) <= 5


def test_mgca_head_has_the_published_size(toy):
    """21.6 M parameters on a ResNet-50 (PROTOCOLS 3.4)."""
    backbone = toy.Backbone()
    backbone.pyramid_channels = (256, 512, 1024, 2048)
    detector = build_detector(backbone, 1, DetectionSettings(head="yolov3", channels=128), 0)
    assert sum(parameter.numel() for parameter in detector.parameters()) / 1e6 == pytest.approx(
        21.6, abs=0.1
    )
