"""Detection: COCO mAP and resampled FROC against the usual way, and a training step of each head on
kept feature maps."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import torch

from perf._steps import step_row
from perf._timing import row, timed
from tasks.detection.matching import match, pack_boxes
from tasks.detection.metrics import COCO, RATES, Ranked, average_precision, froc

SIZES = (100, 300, 1000, 3000)
BOXES = 10
WANTED_MAP, WANTED_FROC = 3.0, 20.0
BATCH, SIZE = 8, 224
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
    truth, found = [], []
    for _ in range(images):
        low = rng.uniform(0, 700, (rng.integers(0, 4), 2))
        boxes = np.concatenate([low, low + rng.uniform(60, 300, low.shape)], axis=1)
        far = rng.uniform(0, 700, (BOXES, 2))
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 25, (2 * len(boxes), 4))
        corners = np.concatenate(
            [near, np.concatenate([far, far + rng.uniform(60, 300, far.shape)], axis=1)]
        )
        corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)
        truth.append(np.column_stack([boxes, np.zeros(len(boxes))]).astype(np.float32))
        scores = rng.random(len(corners))
        found.append(np.column_stack([corners, np.zeros(len(corners)), scores]).astype(np.float32))
    return truth, found


# ---------------------------------------------------------------------------------------------- mAP
def usual_map(truth: Lists, found: Lists) -> float:
    """Return mAP over COCO's thresholds from pycocotools, files in memory."""
    from pycocotools import coco
    from pycocotools.cocoeval import COCOeval

    rows = [
        (image, *box.astype(float).tolist())
        for image, boxes in enumerate(truth, 1)
        for box in boxes
    ]
    results = [
        (image, *box.astype(float).tolist())
        for image, boxes in enumerate(found, 1)
        for box in boxes
    ]
    annotations = [
        {
            "id": k,
            "image_id": i,
            "category_id": 1,
            "bbox": [a, b, c - a, d - b],
            "area": (c - a) * (d - b),
            "iscrowd": 0,
        }
        for k, (i, a, b, c, d, _) in enumerate(rows, 1)
    ]
    detections = [
        {"image_id": i, "category_id": 1, "bbox": [a, b, c - a, d - b], "score": s}
        for i, a, b, c, d, _, s in results
    ]
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
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return float(evaluation.eval["precision"][:, :, 0, 0, -1].mean())


def ranked(truth: Lists, found: Lists) -> Ranked:
    """Return the detections by falling score with their hits, as the metrics want them."""
    ours, theirs = pack_boxes(found, scored=True), pack_boxes(truth, scored=False)
    image, rank = np.nonzero(ours.classes == 0)
    score = ours.scores[image, rank]
    order = np.argsort(-score, kind="stable")
    return Ranked(
        image[order],
        match(ours, theirs)[image, rank][order],
        score[order],
        (theirs.classes == 0).sum(axis=1),
    )


def our_map(truth: Lists, found: Lists) -> float:
    """Return the same from padded arrays."""
    return float(average_precision(ranked(truth, found), np.ones((1, len(truth))), COCO).mean())


def _map_row(images: int) -> dict[str, Any]:
    truth, found = case(images)
    usual_s, expected = timed(lambda: usual_map(truth, found))
    ours_s, value = timed(lambda: our_map(truth, found), repeats=2)
    equal = abs(expected - value) < 1e-6
    wanted = WANTED_MAP if images == SIZES[-1] else ""
    return row("COCO mAP against pycocotools", f"{images} images", usual_s, ours_s, equal, wanted)


# --------------------------------------------------------------------------------------------- FROC
def usual_froc(data: Ranked, weights: np.ndarray) -> np.ndarray:
    """Return FROC per resample the usual way: the resampled list sorted and walked again each
    time."""
    from tasks.detection.metrics import FROC_IOU, hits

    hit, values = hits(data.bits, FROC_IOU), []
    for own in weights:
        repeats = own[data.image]
        flags, scores = np.repeat(hit, repeats), np.repeat(data.score, repeats)
        order = np.argsort(-scores, kind="stable")
        false, found = (
            np.cumsum(~flags[order]) / own.sum(),
            np.cumsum(flags[order]) / (own @ data.truth),
        )
        edges = np.append(np.diff(scores[order]) != 0, True)
        points = list(zip(false[edges], found[edges], strict=True))
        values.append(
            [
                max((s for rate, s in points if rate <= limit + 1e-12), default=0.0)
                for limit in RATES
            ]
        )
    return np.array(values)


def _froc_row(images: int, resamples: int = 100) -> dict[str, Any]:
    data = ranked(*case(images, seed=1))
    weights = np.random.default_rng(0).multinomial(
        images, np.full(images, 1 / images), size=resamples
    )
    usual_s, expected = timed(lambda: usual_froc(data, weights))
    ours_s, value = timed(lambda: froc(data, weights), repeats=2)
    wanted = WANTED_FROC if images == SIZES[-1] else ""
    size = f"{images} images, {resamples} resamples"
    return row("FROC, resampled", size, usual_s, ours_s, bool(np.allclose(expected, value)), wanted)


# ------------------------------------------------------------------------------------ training step
def _step_row(head: str, family: str) -> dict[str, Any]:
    from bench.contracts import BACKBONES, BackboneRequest
    from tasks.detection.data import samples
    from tasks.detection.model import build_detector
    from tasks.detection.settings import DetectionSettings

    backbone = BACKBONES.get("random").build(BackboneRequest("paper", family))
    detector = build_detector(backbone, 1, DetectionSettings(head=head, image_size=SIZE), 0)
    images = torch.randn(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    targets = samples([np.array([[40, 60, 120, 150, 0]], np.float32)] * BATCH, SIZE)

    def batch(inputs: Any) -> dict[str, Any]:
        return {"inputs": inputs, "data_samples": targets}

    return step_row(f"step of {head} on {backbone.architecture}", detector, images, batch)


def run() -> list[dict[str, Any]]:
    """Return the rows of both metrics over the sizes, then a row per head."""
    return [
        *(_map_row(size) for size in SIZES),
        *(_froc_row(size) for size in SIZES),
        *(_step_row(head, family) for head, family in HEADS),
    ]
