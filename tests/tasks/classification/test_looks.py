"""What is measured of a saliency: known values of models that read one pixel, references written
out, and a test set with masks, boxes or none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from bench.contracts import DATASETS, KINDS, TASKS, Subset, needs_of
from bench.core.errors import SettingError
from bench.data.annotations import Boxes, BoxRows, MaskRows, Masks
from bench.metrics.bootstrap import point
from tasks.classification import ClassificationKind, looks
from tasks.classification.areas import AreaRows, Areas, marking
from tests.support.progress import Said
from tests.tasks.fakes import Encoder, context, subset, task

KIND = ClassificationKind()
SIDE = 28
"""Two pixels are a patch."""


def dot(y: int, x: int) -> np.ndarray:
    """Return a map that is 1 at one pixel."""
    saliency = np.zeros((SIDE, SIDE))
    saliency[y, x] = 1
    return saliency


# ------------------------------------------------------------------------ deletion and insertion
def reads(y: int, x: int) -> Any:
    """Return a model whose probability is 1 as long as one pixel is that of the image."""
    return lambda images: (images[:, 0, y, x] == 1).float()


def image_of(y: int, x: int) -> Tensor:
    image = torch.zeros(1, SIDE, SIDE)
    image[0, y, x] = 1
    return image


@pytest.mark.parametrize("steps", [14, 196])
def test_a_model_that_reads_one_pixel_has_known_areas(steps: int) -> None:
    """The right pixel goes and comes with the first patch, a wrong one with the last."""
    image = image_of(9, 4)
    right = looks.deletion_and_insertion(reads(9, 4), image, dot(9, 4), steps)
    assert right == pytest.approx((0.5 / steps, 1 - 0.5 / steps))
    last = np.ones((SIDE, SIDE))
    last[8:10, 4:6] = 0
    wrong = looks.deletion_and_insertion(reads(9, 4), image, last, steps)
    assert wrong == pytest.approx((1 - 0.5 / steps, 0.5 / steps))


def test_a_model_that_reads_nothing_has_its_probability_as_both_areas() -> None:
    areas = looks.deletion_and_insertion(
        lambda images: torch.full((len(images),), 0.3), image_of(0, 0), dot(3, 3)
    )
    assert areas == pytest.approx((0.3, 0.3))


def test_whole_patches_are_replaced_the_most_salient_first() -> None:
    rng = np.random.default_rng(0)
    for side in (SIDE, 30, 128):
        saliency = rng.random((side, side))
        replaced = looks.replaced(saliency)
        assert replaced[0].sum() == 0 and replaced[-1].all()
        assert (np.diff(replaced.astype(int), axis=0) >= 0).all()
        cell = np.arange(side) * 14 // side
        sums = np.zeros((14, 14))
        for y in range(side):
            for x in range(side):
                sums[cell[y], cell[x]] += saliency[y, x]
        least = np.sort(sums.ravel())[-14 * 5]
        expected = (sums >= least)[cell][:, cell]
        np.testing.assert_array_equal(replaced[5], expected)


# --------------------------------------------------------------------------------- where it lies
def test_pointing_has_a_tolerance_of_15_pixels_at_224() -> None:
    area = np.zeros((224, 224), np.uint8)
    area[100:120, 100:120] = 1
    for x, hit in ((100, 1), (119, 1), (134, 1), (135, 0), (85, 1), (84, 0)):
        saliency = np.zeros((224, 224))
        saliency[110, x] = 2
        assert looks.pointing(saliency, area) == hit
    saliency = np.zeros((224, 224))
    saliency[100 - 11, 100 - 11] = 1  # 15.6 px from the corner
    assert looks.pointing(saliency, area) == 0


def test_overlap_and_energy_are_those_of_sets() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        saliency = rng.random((SIDE, SIDE))
        area = (rng.random((SIDE, SIDE)) < 0.2).astype(np.uint8)
        marked = set(np.flatnonzero(area).tolist())
        salient = set(np.argsort(saliency.ravel())[::-1][: len(marked)].tolist())
        expected = len(marked & salient) / len(marked | salient)
        assert looks.overlap(saliency, area) == pytest.approx(expected)
        inside = sum(saliency.ravel()[pixel] for pixel in marked) / saliency.sum()
        assert looks.energy(saliency, area) == pytest.approx(inside)
    assert np.isnan(looks.energy(np.zeros((4, 4)), np.ones((4, 4))))


# ------------------------------------------------------------------------------- a whole test set
def marked(images: Subset, kind: type, without: int = 0) -> Subset:
    """Return images with the halves of labels a and b as masks or boxes, none in the first few."""
    size = images.image_store.shape[1]
    half = size // 2
    masks = np.zeros((len(images), 2, size, size), np.uint8)
    lists = []
    for row, (a, b) in enumerate(images.index[["label:a", "label:b"]].to_numpy()):
        boxes = []
        if row >= without and a:
            masks[row, 0, :, :half] = 1
            boxes.append((0, 0, half, size, 0))
        if row >= without and b:
            masks[row, 1, :, half:] = 1
            boxes.append((half, 0, size, size, 1))
        lists.append(np.array(boxes, np.float32).reshape(-1, 5))
    rows: Any = BoxRows(tuple(lists), ("A", "B"))
    if kind is Masks:
        rows = MaskRows(masks, np.arange(len(images)), ("A", "B"))
    return replace(images, annotations={Areas: AreaRows(rows, kind, size)})


def run(
    folder: Path,
    test: Subset,
    said: Said | None = None,
    train: Subset | None = None,
    **changes: str,
) -> Any:
    spec = task()
    settings = replace(
        KIND.settings(spec, "default", "demo", {"head": "finetune", "epochs": "2", **changes}),
        saliency_metrics=True,
    )
    cell = context(spec, settings, folder, **({"progress": said} if said else {}))
    classifier = KIND.fit(Encoder(), train or subset(60, 1), subset(40, 2), cell)
    return KIND.predict(classifier, test, cell)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("head", ["finetune", "linear"])
def test_masks_and_boxes_of_the_same_places_give_the_same_numbers(
    tmp_path: Path, head: str
) -> None:
    images = subset(24, 3)
    masked, boxed = (
        run(tmp_path / kind.name, marked(images, kind), head=head) for kind in (Masks, Boxes)
    )
    pd.testing.assert_frame_equal(masked.table, boxed.table)
    statistics = KIND.statistics(masked, task())
    for name in looks.SALIENCY_METRICS:
        column = masked.table[f"value:{name}"]
        value = point(statistics[name], len(images))
        assert value == pytest.approx(column.mean())
        assert 0 <= value <= 1
        assert statistics[name].n == column.notna().sum() == masked.extra["saliency_images"]
    labels = images.index[["label:a", "label:b"]].to_numpy()
    np.testing.assert_array_equal(column.notna(), labels.any(axis=1))


def test_measuring_changes_no_other_number(tmp_path: Path) -> None:
    images = marked(subset(24, 3), Masks)
    measured = run(tmp_path / "one", images).table
    settings = KIND.settings(task(), "default", "demo", {"head": "finetune", "epochs": "2"})
    cell = context(task(), settings, tmp_path / "two")
    classifier = KIND.fit(Encoder(), subset(60, 1), subset(40, 2), cell)
    usual = KIND.predict(classifier, images, cell).table
    pd.testing.assert_frame_equal(measured[list(usual)], usual)


def test_a_class_without_an_example_in_training_is_not_looked_at(tmp_path: Path) -> None:
    train = subset(60, 1)
    train.index["label:b"] = 0.0
    images = marked(subset(24, 3), Masks)
    predictions = run(tmp_path, images, train=train)
    assert predictions.extra["untrained_classes"] == "b"
    only_b = (images.index["label:a"] == 0) & (images.index["label:b"] == 1)
    assert only_b.any() and predictions.table.loc[only_b, "value:pointing"].isna().all()
    assert predictions.extra["saliency_images"] == (images.index["label:a"] == 1).sum()


def test_where_masks_are_missing_it_is_said_on_how_many_a_metric_stands(tmp_path: Path) -> None:
    said = Said()
    images = subset(24, 3)
    predictions = run(tmp_path, marked(images, Masks, without=10), said)
    positive = images.index[["label:a", "label:b"]].to_numpy().any(axis=1)
    statistics = KIND.statistics(predictions, task())
    assert statistics["deletion_auc"].n == positive.sum()
    assert statistics["pointing"].n == positive[10:].sum() == predictions.extra["marked_images"]
    sentence = f"{positive[10:].sum()} of {positive.sum()} test images with a label have a mask"
    assert any(sentence in line for line in said.lines)
    basis = KIND.basis(predictions, "pointing").labels
    assert np.nansum(basis) == positive[10:].sum()


def test_metrics_are_named_before_anything_is_computed() -> None:
    settings = KIND.settings(TASKS.get("siim_cls"), "default", "demo", {"head": "finetune"})
    measured = replace(settings, saliency_metrics=True)
    names = KIND.metric_names(TASKS.get("siim_cls"), measured)
    assert set(looks.SALIENCY_METRICS) <= set(names)
    assert not set(looks.SALIENCY_METRICS) & set(KIND.metric_names(TASKS.get("siim_cls"), settings))


# ------------------------------------------------------------------------------------- the need
@pytest.mark.parametrize(
    ("name", "kind"),
    [("siim_cls", Masks), ("rsna_cls", Masks), ("vindr_cls", Boxes), ("marker_cls", Boxes)],
)
def test_a_task_whose_dataset_marks_its_labels_needs_them(name: str, kind: type) -> None:
    spec = TASKS.get(name)
    changes = {"head": "finetune", "saliency_metrics": "true"}
    settings = KINDS.get("classification").settings(spec, "default", "demo", changes)
    annotation = needs_of(KIND, settings)[-1]
    assert isinstance(annotation, Areas)
    assert annotation.offered(DATASETS.get(spec.dataset))
    assert type(marking(DATASETS.get(spec.dataset), settings.labels)) is kind


@pytest.mark.parametrize("name", ["chexpert_cls", "nih_cls", "covidx_cls"])
def test_a_task_whose_dataset_marks_nothing_says_so_before_a_file_is_read(name: str) -> None:
    changes = {"head": "finetune", "saliency_metrics": "true"}
    dataset = TASKS.get(name).dataset
    with pytest.raises(SettingError, match=f"task '{name}', and dataset '{dataset}' has none"):
        KIND.settings(TASKS.get(name), "default", "demo", changes)
