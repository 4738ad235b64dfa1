"""From encoders and a dataset with outlines to pictures and tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backbones.shared.pretraining import pictures
from backbones.studies.look import pointing
from backbones.studies.look.lesions import GREYS, Lesions, find_lesions
from backbones.studies.look.reading import Reading, query_maps, read, seen
from backbones.studies.look.request import Look
from bench.cells.encoders import encoder_request, resolve_encoder
from bench.cells.engines.local import Job, LoadedEncoder
from bench.cells.prepare import TaskPlan, make_cell, plan_task
from bench.contracts import BACKBONES, DEMO_NOTE, Backbone, ImageTextEncoder, Progress, Subset
from bench.core.errors import DataError
from bench.core.storage import write_atomically
from bench.data.annotations import Boxes, Masks
from bench.encoding.similarity import need_text_side
from bench.report.csv_files import csv_text
from bench.report.pictures import stamp


@dataclass
class View:
    """What is known of all encoders that see the same part of an image."""

    lesions: Lesions
    readings: dict[str, Reading] = field(default_factory=dict)


def run(look: Look, progress: Progress) -> Path:
    """Look with every encoder, write pictures and tables, and return the path of `pointing.md`."""
    plan = plan_task(look.request.tasks[0], look.request, progress)
    train, test = (
        plan.prepared.subset(plan.index[plan.index["split"] == name]) for name in ("train", "test")
    )
    loaded = LoadedEncoder(look.request)
    views = dict[tuple[int, int], View]()
    for name in look.request.backbones:
        backbone = _load(name, plan, look, loaded, progress)
        seen_part = (backbone.input.resize, backbone.input.size)
        if seen_part not in views:
            views[seen_part] = View(_lesions(plan, train, test, backbone))
        lesions = views[seen_part].lesions
        reading = read(
            backbone, test, lesions, look.prompts(lesions.names), loaded.device, progress
        )
        views[seen_part].readings[name] = reading
        _draw(backbone, test, lesions, reading, look, plan, loaded.device)
    _draw_embeddings(list(views.values()), look, plan)
    return _write(views, look, plan)


def _load(
    name: str, plan: TaskPlan, look: Look, loaded: LoadedEncoder, progress: Progress
) -> ImageTextEncoder:
    request = look.request
    encoder = resolve_encoder(encoder_request(name, request), progress)
    backbone = loaded.get(
        Job(make_cell(plan, BACKBONES.get(name), encoder, 1.0, 0, request), plan, encoder)
    )
    return need_text_side(backbone, "looking for a finding")


def _lesions(plan: TaskPlan, train: Subset, test: Subset, backbone: Backbone) -> Lesions:
    outlined = train.get(Masks) if train.has(Masks) else train.get(Boxes)
    names = outlined.classes
    lesions = find_lesions(train, test, names, backbone.input)
    if not len(lesions.rows):
        raise DataError(
            f"no test image of '{plan.dataset.name}' has an outlined lesion.",
            "Choose another task.",
        )
    return lesions


# ----------------------------------------------------------------------------------------- pictures
def _draw(
    backbone: Backbone,
    test: Subset,
    lesions: Lesions,
    reading: Reading,
    look: Look,
    plan: TaskPlan,
    device: str,
) -> None:
    title = f"{backbone.name}, {plan.task.name} ({plan.root.kind} data)"
    stem = re.sub(r"[^\w.-]+", "_", backbone.name)
    drawn = []
    if reading.maps is not None:
        pairs = lesions.examples(look.images)
        examples = [
            _example(pair, reading.maps[pair], backbone, test, lesions, look, device)
            for pair in pairs
        ]
        drawn.append(pictures.draw_grounding(examples, look.out / f"{stem}_attention.png", title))
    if reading.cosines:
        drawn.append(pictures.draw_cosines(reading.cosines, look.out / f"{stem}_cosine.png", title))
    _note(drawn, plan)


def _example(
    pair: int,
    own: np.ndarray,
    backbone: Backbone,
    test: Subset,
    lesions: Lesions,
    look: Look,
    device: str,
) -> pictures.Example:
    row = int(lesions.rows[pair])
    asked = lesions.names[lesions.classes[pair]]
    others = [int(other) for other in np.flatnonzero(lesions.rows == row) if other != pair]
    outlined = {
        lesions.names[lesions.classes[lesion]]: lesions.masks[lesion] for lesion in (pair, *others)
    }
    peak = pointing.peaks(own[None], lesions.masks.shape[-1])
    hit = pointing.hits(lesions.masks[[pair]], peak)[0] > 0
    heats = {
        f"class map: {'hit' if hit else 'miss'}": own,
        **query_maps(backbone, test, row, look.prompts([asked])[0], device),
    }
    return pictures.Example(
        seen(backbone, test, np.array([row]))[0],
        asked,
        outlined,
        heats,
        (int(peak[0, 0]), int(peak[0, 1])),
    )


def _draw_embeddings(views: Sequence[View], look: Look, plan: TaskPlan) -> None:
    readings = {
        name: (reading, view.lesions) for view in views for name, reading in view.readings.items()
    }
    points = {name: embed_2d(readings[name][0].embeddings) for name in look.request.backbones}
    images = len(next(iter(points.values())))
    labels = views[0].lesions.labels(images)
    title = f"t-SNE of {images} test images, {plan.task.name} ({plan.root.kind} data)"
    _note(
        [pictures.draw_embeddings(points, labels, GREYS, look.out / "embedding.png", title)], plan
    )


def embed_2d(embeddings: np.ndarray) -> np.ndarray:
    """Return a t-SNE [n, 2] of embeddings [n, d], always the same for the same embeddings."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(embeddings) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(embeddings)


def _note(drawn: Sequence[Path], plan: TaskPlan) -> None:
    for path in drawn:
        if plan.root.kind == "demo":
            stamp(path, DEMO_NOTE)


# ------------------------------------------------------------------------------------------- tables
def _write(views: Mapping[tuple[int, int], View], look: Look, plan: TaskPlan) -> Path:
    parts = [_head(look, plan)]
    lines = []
    for (resize, size), view in views.items():
        maps = {name: reading.maps for name, reading in view.readings.items()}
        game = pointing.play(view.lesions, maps)
        facts = {
            "task": plan.task.name,
            "data_kind": plan.root.kind,
            "data_hash": plan.data_hash,
            "resize": resize,
            "size": size,
        }
        lines += pointing.rows(view.lesions, game, facts)
        table = pointing.table(view.lesions, game, list(view.readings))
        parts.append(f"Images at {resize} px, the middle {size} px:\n\n{table}")
    write_atomically(look.out / "pointing.csv", csv_text(lines))
    write_atomically(look.out / "pointing.md", "\n\n".join(parts) + "\n")
    return look.out / "pointing.md"


def _head(look: Look, plan: TaskPlan) -> str:
    note = f"**{DEMO_NOTE}**\n\n" if plan.root.kind == "demo" else ""
    return (
        f"# Pointing game: {plan.task.title}\n\n{note}Share of the test images with a "
        "finding in which the peak of its map, "
        f'asked for by "{look.prompt.format("[finding]")}", lies inside the outline, without '
        "a margin. Chance: a point anywhere. "
        "Centre prior: where the finding was most often in the training split, whatever the "
        "image. 95% intervals under "
        "resampling of patients; bold: better than the centre prior in a paired comparison."
    )
