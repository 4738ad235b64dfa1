"""One cell: data -> encoder -> head -> predictions -> scores -> result."""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.cells.cell import Cell
from bench.cells.given import check_predictions, check_values
from bench.cells.prepare import EncoderRef, TaskPlan, settings_id
from bench.cells.results import ResultStore, provenance
from bench.cells.seen import UNKNOWN, seen_in
from bench.contracts import (
    BACKBONES,
    KINDS,
    CellContext,
    GivesAccount,
    ImageEncoder,
    Predictions,
    Progress,
    Score,
    Subset,
)
from bench.core.declaring import importing
from bench.core.hashing import digest
from bench.core.machine import use_threads
from bench.core.storage import writing
from bench.metrics.basis import patient_freedom
from bench.metrics.bootstrap import cluster_weights, estimate_of, point
from bench.metrics.intervals import patient_numbers
from bench.metrics.weights import images_counted


class Stopwatch:
    """Seconds per named phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def run_cell(
    cell: Cell,
    plan: TaskPlan,
    encoder: EncoderRef,
    backbone: ImageEncoder | None,
    store: ResultStore,
    device: str,
    progress: Progress,
    test_maps: MutableMapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Run one cell and append its result; a killed run continues from the checkpoint in its work
    folder. A baseline's cell has no `backbone`. `test_maps`: see `CellContext`."""
    watch = Stopwatch()
    work_dir = store.work_dir(cell.key)
    with writing(work_dir):
        work_dir.mkdir(parents=True, exist_ok=True)
    subsets = subsets_of(cell, plan)
    context = context_of(cell, plan, work_dir, device, progress, _encoder_key(cell))
    if test_maps is not None:
        context = replace(context, test_maps=test_maps)
    with importing(KINDS.plugin_of(plan.kind.name), "failed", "Mend its kind of task."):
        with watch.phase("fit"):
            if backbone is None:
                fit = plan.kind.baseline(BACKBONES.get(cell.encoder_name).baseline)
            else:
                fit = partial(plan.kind.fit, backbone)
            predictor = fit(subsets["train"], subsets["val"], context)
        with watch.phase("predict"):
            predictions = plan.kind.predict(predictor, subsets["test"], context)
        check_predictions(plan.kind, predictions, subsets["test"])
        with watch.phase("score"):
            scores = score(plan, predictions)
    record = record_of(cell, plan, encoder, subsets, predictions, scores, watch.seconds, device)
    for name, value in _account(backbone).items():
        record[f"encoder:{name}"] = value
    finished = store.finish(record, predictions)
    shutil.rmtree(work_dir, ignore_errors=True)
    return finished


def _account(backbone: ImageEncoder | None) -> dict[str, Any]:
    """Return what a result says of its encoder: the architecture that was loaded, and how much of
    it came from which file."""
    if backbone is None:
        return {"architecture": ""}
    facts = dict(backbone.account()) if isinstance(backbone, GivesAccount) else {}
    return {"architecture": backbone.architecture, **facts}


def subsets_of(cell: Cell, plan: TaskPlan) -> dict[str, Subset]:
    """Return the training, validation and test images of a cell."""
    split = plan.index["split"]
    rows = {
        "train": plan.training_rows(cell.label_fraction, cell.protocol, cell.seed),
        "val": plan.validation_rows(cell.label_fraction, cell.seed),
        "test": plan.index[split == "test"],
    }
    return {name: plan.prepared.subset(of_split) for name, of_split in rows.items()}


def encoder_seed(cell: Cell) -> int:
    """Return the seed of an encoder's weights: only an untrained one changes with the cell's
    seed."""
    return cell.seed if BACKBONES.get(cell.encoder_name).seeded else 0


def _encoder_key(cell: Cell) -> str:
    return digest(
        [
            cell.backbone,
            cell.architecture,
            cell.checkpoint_hash,
            dict(cell.backbone_settings),
            encoder_seed(cell),
        ]
    )


def context_of(
    cell: Cell,
    plan: TaskPlan,
    work_dir: Path,
    device: str,
    progress: Progress,
    encoder_key: str = "",
) -> CellContext:
    """Return what a kind of task is told of a cell; `encoder_key` stands for its encoder, "" where
    no encoder is run."""
    return CellContext(
        task=plan.task,
        settings=plan.settings if cell.recipe is None else plan.end_to_end,
        work_dir=work_dir,
        device=device,
        seed=cell.seed,
        profile=cell.profile,
        progress=progress,
        data_kind=cell.data_kind,
        encoder_key=encoder_key,
        data_key=plan.prepared.data_hash,
    )


def score(plan: TaskPlan, predictions: Predictions) -> list[Score]:
    """Return every metric with its 95% interval, bootstrap clustered by patient.

    All intervals come before all values: metrics that share a part keep it for one matrix of
    weights at a time.
    """
    names = predictions.table["patient_id"].tolist()
    patients = patient_numbers(names)
    weights = cluster_weights(names)
    images = weights.shape[1]
    statistics = plan.kind.statistics(predictions, plan.task)
    resampled = {}
    for metric, statistic in statistics.items():
        values = statistic(weights)
        check_values(plan.kind, metric, values, len(weights))
        resampled[metric] = values
    scores = []
    for metric, statistic in statistics.items():
        basis = plan.kind.basis(predictions, metric)
        freedom = patient_freedom(basis, metric, resampled, patients)
        value = point(statistic, images)
        estimate = estimate_of(resampled[metric], [value], freedom=freedom, scale=basis.scale)
        counted = images_counted(statistic, images)
        scores.append(
            Score(metric, value, estimate.low, estimate.high, counted, estimate.undefined)
        )
    return scores


def record_of(
    cell: Cell,
    plan: TaskPlan,
    encoder: EncoderRef,
    subsets: Mapping[str, Subset],
    predictions: Predictions,
    scores: list[Score],
    seconds: Mapping[str, float],
    device: str,
) -> dict[str, Any]:
    """Return the record of a cell that has its predictions and scores."""
    return {
        "key": cell.key,
        "status": "done",
        "title": cell.title,
        "time": _now(),
        **_cell_facts(cell),
        "hash:test": plan.test_hash,
        "pretrained_on": encoder.pretrained_on,
        "supervision": list(encoder.supervision),
        **{f"n:{name}": len(subset) for name, subset in subsets.items()},
        **_split_facts(plan),
        "skipped_images": len(plan.prepared.skipped),
        "skipped_list": plan.skipped_list,
        "device": device,
        "threads": use_threads(),
        **provenance(),
        **_seen(plan, encoder),
        "cautions": list(plan.dataset.cautions(subsets["test"].index)),
        **{f"seconds:{name}": round(value, 3) for name, value in seconds.items()},
        **measured(predictions, scores),
    }


def _cell_facts(cell: Cell) -> dict[str, Any]:
    """Return the fields of a record that say which cell it is of."""
    facts = asdict(cell)
    settings = facts.pop("settings")
    recipe = facts.pop("recipe") or {}
    return {
        "hash:data": facts.pop("data_hash"),
        "hash:split": facts.pop("split_hash"),
        "hash:checkpoint": facts.pop("checkpoint_hash"),
        **facts,
        "settings_id": settings_id(cell),
        **{f"setting:{name}": value for name, value in settings.items()},
        **{f"recipe:{name}": value for name, value in recipe.items()},
    }


def _split_facts(plan: TaskPlan) -> dict[str, Any]:
    """Return the fields of a record that say where its split is from."""
    facts: dict[str, Any] = {
        "split_source": plan.split_source,
        "duplicates_across_splits": plan.duplicates,
    }
    if plan.lists:
        facts["split_unknown_lines"] = plan.lists.unknown
        facts["split_left_out"] = plan.lists.left_out
    return facts


def measured(predictions: Predictions, scores: Sequence[Score]) -> dict[str, Any]:
    """Return the fields of a record that hold metrics, and what the predictions say of
    themselves."""
    fields = {f"fit:{name}": value for name, value in predictions.extra.items()}
    for item in scores:
        fields[f"metric:{item.metric}"] = _json(item.value)
        fields[f"n:{item.metric}"] = item.n
        fields[f"low:{item.metric}"] = _json(item.low)
        fields[f"high:{item.metric}"] = _json(item.high)
        if item.undefined:
            fields[f"undefined:{item.metric}"] = round(item.undefined, 4)
    return fields


def _seen(plan: TaskPlan, encoder: EncoderRef) -> dict[str, Any]:
    """Return how many test images and patients the encoder was pre-trained on, or that nobody
    knows."""
    count = seen_in(plan, encoder)
    if count is None:
        return {"seen:images": UNKNOWN, "seen:patients": UNKNOWN}
    return {"seen:images": count.images, "seen:patients": count.patients}


def failure(cell: Cell, error: BaseException) -> dict[str, Any]:
    """Return the record of a cell that failed: kept so that a sweep can go on and the reason is not
    lost."""
    facts = asdict(cell)
    del facts["settings"], facts["recipe"]
    message = f"{type(error).__name__}: {error}"
    return {
        "key": cell.key,
        "status": "failed",
        "title": cell.title,
        "time": _now(),
        "error": message,
        **facts,
        **provenance(),
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _json(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
