"""Detection: COCO mAP and resampled FROC against the usual way, and a training step of each head on
kept feature maps."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from perf._steps import step_row
from perf._timing import row, timed
from tasks.detection.matching import match, pack_boxes
from tasks.detection.metrics import COCO, RATES, Ranked, average_precision, froc

SIZES = (100, 300, 1000, 3000)
BOXES = 10
WANTED_MAP = 3.0
WANTED_FROC = 20.0
BATCH = 8
SIZE = 224
HEADS = (
    ("fcos", "resnet"),
    ("yolov3", "resnet"),
    ("faster_rcnn", "resnet"),
    ("fcos", "vit"),
    ("vitdet", "vit"),
)

Lists = list[np.ndarray]


def case(images: int, seed: int = 0) -> tuple[Lists, Lists]:
    """Return true boxes [g, 5] and detections [k, 6] of one class per image: some near, some
    anywhere."""
    rng = np.random.default_rng(seed)
    truth = []
    detections = []
    for _ in range(images):
        low = rng.uniform(0, 700, (rng.integers(0, 4), 2))
        boxes = np.concatenate([low, low + rng.uniform(60, 300, low.shape)], axis=1)
        low = rng.uniform(0, 700, (BOXES, 2))
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 25, (2 * len(boxes), 4))
        anywhere = np.concatenate([low, low + rng.uniform(60, 300, low.shape)], axis=1)
        corners = np.concatenate([near, anywhere])
        corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)
        truth.append(np.column_stack([boxes, np.zeros(len(boxes))]).astype(np.float32))
        columns = [corners, np.zeros(len(corners)), rng.random(len(corners))]
        detections.append(np.column_stack(columns).astype(np.float32))
    return truth, detections


# ---------------------------------------------------------------------------------------------- mAP
def _coco_boxes(images: Lists) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield every box of some images as COCO's files have it, and its columns behind the box."""
    for number, boxes in enumerate(images, 1):
        for box in boxes.astype(float):
            x1, y1, x2, y2 = box[:4].tolist()
            corners = [x1, y1, x2 - x1, y2 - y1]
            yield {"image_id": number, "category_id": 1, "bbox": corners}, box[4:]


def usual_map(truth: Lists, found: Lists) -> float:
    """Return mAP over COCO's thresholds from pycocotools, files in memory."""
    from pycocotools import coco
    from pycocotools.cocoeval import COCOeval

    annotations = []
    for number, (entry, _) in enumerate(_coco_boxes(truth), 1):
        _, _, width, height = entry["bbox"]
        annotations.append({**entry, "id": number, "area": width * height, "iscrowd": 0})
    detections = []
    for entry, (_, score) in _coco_boxes(found):
        detections.append({**entry, "score": float(score)})
    data = coco.COCO()
    images = [{"id": k + 1, "width": 1024, "height": 1024} for k in range(len(truth))]
    data.dataset = {
        "info": {},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "a"}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        data.createIndex()
        evaluation = COCOeval(data, data.loadRes(detections), "bbox")
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return float(evaluation.eval["precision"][:, :, 0, 0, -1].mean())


def ranked(truth: Lists, found: Lists) -> Ranked:
    """Return the detections by falling score with their hits, as the metrics want them."""
    detections = pack_boxes(found, scored=True)
    true_boxes = pack_boxes(truth, scored=False)
    image, rank = np.nonzero(detections.classes == 0)
    score = detections.scores[image, rank]
    bits = match(detections, true_boxes)[image, rank]
    order = np.argsort(-score, kind="stable")
    true_count = (true_boxes.classes == 0).sum(axis=1)
    return Ranked(image[order], bits[order], score[order], true_count)


def our_map(truth: Lists, found: Lists) -> float:
    """Return the same from padded arrays."""
    return float(average_precision(ranked(truth, found), np.ones((1, len(truth))), COCO).mean())


def _map_row(images: int) -> dict[str, Any]:
    truth, detections = case(images)
    usual_s, expected = timed(lambda: usual_map(truth, detections))
    ours_s, value = timed(lambda: our_map(truth, detections), repeats=2)
    equal = abs(expected - value) < 1e-6
    target = WANTED_MAP if images == SIZES[-1] else ""
    return row("COCO mAP against pycocotools", f"{images} images", usual_s, ours_s, equal, target)


# --------------------------------------------------------------------------------------------- FROC
def usual_froc(data: Ranked, weights: np.ndarray) -> np.ndarray:
    """Return FROC per resample the usual way: the resampled list sorted and walked again each
    time."""
    from tasks.detection.metrics import FROC_IOU, hits

    is_hit = hits(data.bits, FROC_IOU)
    values: list[list[float]] = []
    for counts in weights:
        repeats = counts[data.image]
        hit = np.repeat(is_hit, repeats)
        scores = np.repeat(data.score, repeats)
        order = np.argsort(-scores, kind="stable")
        false_per_image = np.cumsum(~hit[order]) / counts.sum()
        sensitivity = np.cumsum(hit[order]) / (counts @ data.truth)
        edges = np.append(np.diff(scores[order]) != 0, True)
        values.append([])
        for limit in RATES:
            within = edges & (false_per_image <= limit + 1e-12)
            values[-1].append(float(sensitivity[within].max(initial=0.0)))
    return np.array(values)


def _froc_row(images: int, resamples: int = 100) -> dict[str, Any]:
    data = ranked(*case(images, seed=1))
    uniform = np.full(images, 1 / images)
    weights = np.random.default_rng(0).multinomial(images, uniform, size=resamples)
    usual_s, expected = timed(lambda: usual_froc(data, weights))
    ours_s, value = timed(lambda: froc(data, weights), repeats=2)
    equal = bool(np.allclose(expected, value))
    target = WANTED_FROC if images == SIZES[-1] else ""
    size = f"{images} images, {resamples} resamples"
    return row("FROC, resampled", size, usual_s, ours_s, equal, target)


# ------------------------------------------------------------------------------------ training step
def _step_row(head: str, family: str) -> dict[str, Any]:
    from bench.contracts import BACKBONES, BackboneRequest
    from bench.core.settings import override
    from tasks.detection.data import samples
    from tasks.detection.model import build_detector
    from tasks.detection.settings import DetectionSettings

    backbone = BACKBONES.get("random").build(BackboneRequest("paper", family))
    settings = override(DetectionSettings(image_size=SIZE), {"head": head})
    detector = build_detector(backbone, 1, settings, 0)
    images = torch.randn(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    targets = samples([np.array([[40, 60, 120, 150, 0]], np.float32)] * BATCH, SIZE)

    def batch(inputs: Any) -> dict[str, Any]:
        """Return what the detector takes."""
        return {"inputs": inputs, "data_samples": targets}

    return step_row(f"step of {head} on {backbone.architecture}", detector, images, batch)


def run() -> list[dict[str, Any]]:
    """Return the rows of both metrics over the sizes, then a row per head."""
    return [
        *(_map_row(size) for size in SIZES),
        *(_froc_row(size) for size in SIZES),
        *(_step_row(head, family) for head, family in HEADS),
    ]
