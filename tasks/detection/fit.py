"""Train a detector on one encoder and predict with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.contracts import Backbone, CellContext, InputSpec, Predictions, Subset
from bench.core.errors import DataError
from bench.data.annotations import Boxes
from bench.metrics.bootstrap import point
from bench.mm.maps import to_device, with_test_maps
from bench.training.plan import TrainSummary, train
from tasks.detection.data import Source, TrainBatches, encode, samples
from tasks.detection.matching import match, pack_boxes
from tasks.detection.metrics import best_confidence, statistics
from tasks.detection.model import build_detector, head_name
from tasks.detection.prior import learn_boxes
from tasks.detection.settings import DetectionSettings

UNSEEN = InputSpec(1, 1)
"""How images come to what does not look at them."""


@dataclass(frozen=True)
class TrainedDetector:
    """A trained detector with its encoder: what `predict` needs."""

    detector: Any
    spec: InputSpec
    classes: tuple[str, ...]
    batch_size: int
    facts: Mapping[str, Any]


def fit(
    backbone: Backbone, train_set: Subset, val: Subset, context: CellContext
) -> TrainedDetector:
    """Train the detector; resume from `context.work_dir` where a killed run left a checkpoint.

    The best epoch by `settings.monitor` is kept. `confidence` among the facts is the score at which
    F1 (IoU 0.40) is highest on validation: pictures show what is above it.
    """
    settings: DetectionSettings = context.settings
    for name, subset in (("training", train_set), ("validation", val)):
        require_boxes(subset, name, context)
    classes = train_set.get(Boxes).classes
    detector = build_detector(backbone, len(classes), settings, context.seed).to(context.device)
    sources = [Source(subset, backbone.input) for subset in (train_set, val)]
    if settings.cache_features:
        sources = [
            encode(sources[0], detector, context, settings.cached_views),
            encode(sources[1], detector, context),
        ]
    validation = Validation(sources[1], settings, context.device, classes)
    summary = _train(detector, sources[0], validation, context)
    facts = {
        "head": head_name(backbone, settings),
        "epochs": summary.epochs,
        "best_epoch": summary.best_epoch,
    }
    facts |= {"best_metric": summary.best_metric, "stopped_early": summary.stopped_early}
    return _read_out(detector, backbone.input, validation, facts, context)


def fit_frequent(train_set: Subset, val: Subset, context: CellContext) -> TrainedDetector:
    """Return the detector of the same boxes in every image: the most frequent of the training
    images."""
    for name, subset in (("training", train_set), ("validation", val)):
        require_boxes(subset, name, context)
    frequent = learn_boxes(train_set).to(context.device)
    source = Source(val, UNSEEN)
    classes = train_set.get(Boxes).classes
    validation = Validation(source, context.settings, context.device, classes)
    return _read_out(frequent, UNSEEN, validation, {}, context)


def _read_out(
    detector: Any,
    spec: InputSpec,
    validation: Validation,
    facts: dict[str, Any],
    context: CellContext,
) -> TrainedDetector:
    """Return the trained detector, with the confidence chosen on validation among the facts."""
    facts |= {"confidence": best_confidence(validation.predictions(detector))}
    batch_size = context.settings.batch_size
    return TrainedDetector(detector, spec, validation.classes, batch_size, facts)


def require_boxes(subset: Subset, name: str, context: CellContext) -> None:
    """Raise DataError for a subset without a single box: nothing could be learnt from it or
    measured on it."""
    if not sum(len(subset.get(Boxes)[row]) for row in range(len(subset))):
        raise DataError(
            f"task '{context.task.name}': none of the {len(subset)} {name} images has a box.",
            "Use a larger label fraction, more data, or another split.",
        )


def _train(
    detector: Any, source: Source, validation: Validation, context: CellContext
) -> TrainSummary:
    settings: DetectionSettings = context.settings
    plan = settings.plan(context.seed)
    return train(
        detector,
        TrainBatches(source, settings.batch_size, settings.augment, settings.positive_share),
        plan,
        context.work_dir,
        evaluate=validation.evaluate,
        device=context.device,
        progress=context.progress,
        title=f"training the detector of {context.task.name}",
    )


@dataclass(frozen=True)
class Validation:
    """The validation images and how a detector is judged on them."""

    source: Source
    settings: DetectionSettings
    device: str
    classes: tuple[str, ...]

    def predictions(self, detector: Any) -> Predictions:
        """Return what would be kept of the validation images."""
        boxes = list(detections(detector, self.source, self.settings.batch_size, self.device))
        return to_predictions(
            self.source.subset, boxes, self.classes, {"mgca_filter": self.settings.mgca_filter}
        )

    def evaluate(self, detector: Any) -> dict[str, float]:
        """Return what the trainer may monitor; a metric without a single counted image is 0."""
        functions = statistics(self.predictions(detector))
        names = dict.fromkeys(("map_rsna", "ap50", "froc", self.settings.monitor))
        return {
            name: float(np.nan_to_num(point(functions[name], len(self.source)))) for name in names
        }


def detections(detector: Any, source: Source, batch_size: int, device: str) -> Iterator[np.ndarray]:
    """Yield per image its detections, float32 [k, 6]: x1, y1, x2, y2, class, score."""
    detector.eval()
    size = source.subset.image_store.shape[-1]
    empty = np.zeros((0, 5), np.float32)
    for rows in source.chunks(batch_size):
        with torch.no_grad():
            outputs = detector(
                to_device(source.inputs(rows), device),
                samples([empty] * len(rows), size),
                mode="predict",
            )
        for sample in outputs:
            instances = sample.pred_instances
            columns = (
                instances.bboxes,
                instances.labels[:, None].float(),
                instances.scores[:, None],
            )
            yield torch.cat(columns, dim=1).float().cpu().numpy()


def to_predictions(
    subset: Subset, found: list[np.ndarray], classes: tuple[str, ...], extra: Mapping[str, Any]
) -> Predictions:
    """Return the record of detections [k, 6] per image: padded arrays (see `matching.Boxes`), hits
    as bits, true boxes per class.

    Corners are pixels of the padded square the images were read at.
    """
    true_boxes = [subset.get(Boxes)[row] for row in range(len(subset))]
    truth = pack_boxes(true_boxes, scored=False)
    ours = pack_boxes(found, scored=True)
    table = subset.index[["image_id", "patient_id"]].reset_index(drop=True)
    for kind, name in enumerate(classes):
        table[f"boxes:{name}"] = (truth.classes == kind).sum(axis=1)
    arrays = {
        "corners": ours.corners,
        "classes": ours.classes,
        "scores": ours.scores,
        "matches": match(ours, truth),
    }
    arrays |= {"truth": truth.corners, "truth_classes": truth.classes}
    return Predictions(table, arrays, dict(extra))


def predict(trained: TrainedDetector, test: Subset, context: CellContext) -> Predictions:
    """Return the detections of every test image; raise DataError where no test image has a box."""
    require_boxes(test, "test", context)
    source = Source(test, trained.spec)
    if context.settings.cache_features and trained.spec is not UNSEEN:
        source = with_test_maps(source, trained.detector, trained.batch_size, context)
    boxes = []
    with context.progress.track("predicting", total=len(test)) as advance:
        for boxes_of_image in detections(
            trained.detector, source, trained.batch_size, context.device
        ):
            boxes.append(boxes_of_image)
            advance(1)
    return measured(test, boxes, trained.classes, trained.facts, context.settings)


def measured(
    test: Subset,
    boxes: list[np.ndarray],
    classes: tuple[str, ...],
    facts: Mapping[str, Any],
    settings: DetectionSettings,
) -> Predictions:
    """Return what is kept of the detections [k, 6] of every test image."""
    without = [name for kind, name in enumerate(classes) if not _has_class(test, kind)]
    extra = {
        **facts,
        "mgca_filter": settings.mgca_filter,
        "classes_without_test_boxes": ", ".join(without),
    }
    return to_predictions(test, boxes, classes, extra)


def _has_class(subset: Subset, kind: int) -> bool:
    return any((subset.get(Boxes)[row][:, 4] == kind).any() for row in range(len(subset)))
