"""Train a segmentation head on one encoder and predict with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.contracts import Backbone, CellContext, InputSpec, Predictions, Subset
from bench.core.errors import DataError
from bench.data.annotations import Masks
from bench.mm.maps import to_device, with_test_maps
from bench.training.plan import TrainSummary, train
from tasks.segmentation import operating
from tasks.segmentation.boundary import boundary_scores
from tasks.segmentation.data import Source, TrainBatches, encode, load_masks, pack
from tasks.segmentation.metrics import BOUNDARY, batch_mean_weights, count_pixels, image_scores
from tasks.segmentation.model import build_segmentor, head_name
from tasks.segmentation.prior import learn_prior
from tasks.segmentation.settings import SegmentationSettings

UNSEEN = InputSpec(1, 1)
"""How images come to what does not look at them."""
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Some rows, their masks bool [b, C, S, S], and how sure each is to hold a class [b, C]."""


@dataclass(frozen=True)
class Segmenter:
    """A trained head with its encoder: what `predict` needs. `points`: one operating point per
    class."""

    segmentor: Any
    spec: InputSpec
    classes: tuple[str, ...]
    points: tuple[operating.OperatingPoint, ...]
    batch_size: int
    facts: Mapping[str, Any]

    def probabilities(self, source: Source, device: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (rows, probabilities float32 [b, C, S, S]) over all images in order."""
        return _probabilities(self.segmentor, source, self.batch_size, device)


def fit(backbone: Backbone, train_set: Subset, val: Subset, context: CellContext) -> Segmenter:
    """Train the head; resume from `context.work_dir` where a killed run left a checkpoint.

    The best epoch by `settings.monitor` is kept and every class gets its operating point on
    validation.
    """
    settings: SegmentationSettings = context.settings
    _check_data(train_set, val, context)
    classes = len(train_set.get(Masks).classes)
    segmentor = build_segmentor(backbone, classes, settings, context.seed).to(context.device)
    sources = [Source(subset, backbone.input) for subset in (train_set, val)]
    if settings.cache_features:
        sources = [
            encode(sources[0], segmentor, context, settings.cached_views),
            encode(sources[1], segmentor, context),
        ]
    validation = Validation(sources[1], settings, context.device)
    summary = _train(segmentor, sources[0], validation, context)
    facts = {
        "head": head_name(backbone, settings),
        "epochs": summary.epochs,
        "best_epoch": summary.best_epoch,
    }
    facts |= {"best_metric": summary.best_metric, "stopped_early": summary.stopped_early}
    return _read_out(segmentor, backbone.input, validation, facts, context)


def fit_prior(train_set: Subset, val: Subset, context: CellContext) -> Segmenter:
    """Return the segmenter that predicts where training masks lie, whatever the image; its
    operating points are chosen as those of a head are."""
    _check_data(train_set, val, context)
    prior = learn_prior(train_set).to(context.device)
    validation = Validation(Source(val, UNSEEN), context.settings, context.device)
    return _read_out(prior, UNSEEN, validation, {}, context)


def _check_data(train_set: Subset, val: Subset, context: CellContext) -> None:
    """Raise DataError where nothing could be learnt, or no threshold found."""
    for name, subset in (("training", train_set), ("validation", val)):
        if not len(subset):
            raise DataError(
                f"task '{context.task.name}' has no {name} image.",
                "Use a larger label fraction or more data.",
            )
    require_masks(val, "validation", context)


def _read_out(
    segmentor: Any,
    spec: InputSpec,
    validation: Validation,
    facts: dict[str, Any],
    context: CellContext,
) -> Segmenter:
    """Return the segmenter with the operating point of every class, chosen on validation and told
    among the facts."""
    choices = validation.choices(segmentor)
    classes = validation.source.subset.get(Masks).classes
    for name, choice in zip(classes, choices, strict=True):
        facts |= {
            f"threshold:{name}": choice.point.threshold,
            f"min_area:{name}": choice.point.min_area,
        }
    points = tuple(choice.point for choice in choices)
    return Segmenter(segmentor, spec, classes, points, context.settings.batch_size, facts)


def require_masks(subset: Subset, name: str, context: CellContext) -> None:
    """Raise DataError where no image of `subset` has a mask: predicting nothing would score 1 on
    it."""
    masks = subset.get(Masks)
    if not any(masks[start : start + 64].any() for start in range(0, len(masks), 64)):
        message = f"task '{context.task.name}': none of the {len(subset)} {name} images has a mask."
        raise DataError(message, "Use more data, or another split.")


def _train(
    segmentor: Any, source: Source, validation: Validation, context: CellContext
) -> TrainSummary:
    settings: SegmentationSettings = context.settings
    plan = settings.plan(context.seed)
    return train(
        segmentor,
        TrainBatches(source, settings.batch_size, settings.augment, settings.augmentation),
        plan,
        context.work_dir,
        evaluate=validation.evaluate,
        device=context.device,
        progress=context.progress,
        title=f"training the head of {context.task.name}",
    )


def _logits(segmentor: Any, inputs: Any, size: int, device: str) -> torch.Tensor:
    """Return logits [B, C, size, size]."""
    logits = segmentor(to_device(inputs, device), mode="tensor").float()
    if logits.shape[-1] != size:
        logits = torch.nn.functional.interpolate(
            logits, size=(size, size), mode="bilinear", align_corners=segmentor.align_corners
        )
    return logits


def _probabilities(
    segmentor: Any, source: Source, batch_size: int, device: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    segmentor.eval()
    size = source.subset.image_store.shape[-1]
    for rows in source.chunks(batch_size):
        with torch.no_grad():
            logits = _logits(segmentor, source.inputs(rows), size, device)
        yield rows, logits.sigmoid().cpu().numpy()


@dataclass(frozen=True)
class Validation:
    """The validation images and how a segmentor is judged on them."""

    source: Source
    settings: SegmentationSettings
    device: str

    def evaluate(self, segmentor: Any) -> dict[str, float]:
        """Return what the trainer may monitor: the Dice figures, or the loss, the mean over
        batches."""
        if self.settings.monitor == "loss":
            return {"loss": self._loss(segmentor)}
        choices = self.choices(segmentor)
        return {
            name: float(np.mean([getattr(choice, name) for choice in choices]))
            for name in ("dice_global", "dice_per_image", "mdice")
        }

    def choices(self, segmentor: Any) -> list[operating.Choice]:
        """Return the best operating point of every class."""
        thresholds = operating.candidates(self.settings.threshold, operating.THRESHOLDS)
        areas = operating.candidates(self.settings.min_area, operating.AREAS)
        counts, target = self._counts(segmentor, thresholds)
        pixels = self.source.subset.image_store.shape[-1] ** 2
        return [
            operating.choose(counts[c], target[c], pixels, thresholds, areas)
            for c in range(len(counts))
        ]

    def _counts(self, segmentor: Any, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pixel counts [C, n, T, 2] and target pixels [C, n]."""
        counts = []
        targets = []
        for rows, probabilities in _probabilities(
            segmentor, self.source, self.settings.batch_size, self.device
        ):
            masks = self.source.subset.get(Masks)[rows]
            per_class = [
                operating.threshold_counts(probabilities[:, c], masks[:, c], thresholds)
                for c in range(masks.shape[1])
            ]
            counts.append(np.stack(per_class))
            targets.append(masks.sum(axis=(2, 3), dtype=np.int64).T)
        return np.concatenate(counts, axis=1), np.concatenate(targets, axis=1)

    def _loss(self, segmentor: Any) -> float:
        losses = []
        for rows in self.source.chunks(self.settings.batch_size):
            batch = pack(self.source.inputs(rows), load_masks(self.source.subset, rows))
            terms = segmentor(**segmentor.data_preprocessor(batch, False), mode="loss")
            losses.append(float(sum(terms.values())))
        return float(np.mean(losses))


def predict(segmenter: Segmenter, test: Subset, context: CellContext) -> Predictions:
    """Return pixel counts and boundary scores per image and class; raise DataError where no test
    image has a mask.

    `arrays["masks"]`: bits [n, C, S, ceil(S / 8)] along the last axis.
    """
    source = Source(test, segmenter.spec)
    require_masks(test, "test", context)
    if context.settings.cache_features and segmenter.spec is not UNSEEN:
        source = with_test_maps(source, segmenter.segmentor, segmenter.batch_size, context)

    def batches() -> Iterator[Batch]:
        """Yield rows, masks and scores of all images in order."""
        for rows, probabilities in segmenter.probabilities(source, context.device):
            masks = operating.apply(probabilities, segmenter.points)
            yield rows, masks, image_scores(probabilities)

    return measured(test, batches(), segmenter.classes, segmenter.facts, context)


def measured(
    test: Subset,
    batches: Iterator[Batch],
    classes: tuple[str, ...],
    facts: Mapping[str, Any],
    context: CellContext,
) -> Predictions:
    """Return what is kept of the masks of all test images, which come in order."""
    counts = []
    edges = []
    packed = []
    scores = []
    with context.progress.track("predicting", total=len(test)) as advance:
        for rows, masks, of_images in batches:
            truth = test.get(Masks)[rows]
            counts.append(count_pixels(masks, truth))
            edges.append(boundary_scores(masks, truth))
            scores.append(of_images)
            packed.append(np.packbits(masks, axis=-1))
            advance(len(rows))
    table = _table(test, np.concatenate(counts), np.concatenate(edges), classes, context)
    for c, name in enumerate(classes):
        table[f"score:{name}"] = np.concatenate(scores)[:, c]
    return Predictions(table, {"masks": np.concatenate(packed)}, dict(facts))


def _table(
    test: Subset,
    counts: np.ndarray,
    edges: np.ndarray,
    classes: tuple[str, ...],
    context: CellContext,
) -> Any:
    table = test.index[["image_id", "patient_id"]].reset_index(drop=True)
    table["pixels"] = test.image_store.shape[-1] ** 2
    for c, name in enumerate(classes):
        for k, column in enumerate(("tp", "pred", "target")):
            table[f"{column}:{name}"] = counts[:, c, k]
        for k, column in enumerate(BOUNDARY):
            table[f"{column}:{name}"] = edges[:, c, k]
    if context.settings.batch_mean:
        table["batch_weight"] = batch_mean_weights(len(table), context.settings.batch_size)
    return table
