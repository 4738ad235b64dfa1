"""Rows of a subset keep everything that belongs to them; what was asked for in a word still is."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from bench.contracts import DATASETS, KINDS, TASKS, Body, CellContext, Subset, TaskKind, needs_of
from bench.core.errors import DataError, PlaceBenchError, UnknownNameError
from bench.core.progress import Silent
from bench.data.annotations import Boxes, BoxRows, Labels, MaskRows, Masks, PerImage, Reports

IMAGES = np.arange(4, dtype=np.uint8).repeat(4).reshape(4, 2, 2)
INDEX = pd.DataFrame({"image_id": ["a", "b", "c"], "label:x": [0.0, 1.0, 1.0]})


def annotated() -> Subset:
    """Three images with masks, boxes and labels."""
    masks = MaskRows(IMAGES[:, None] % 2, np.array([0, 1, 3]), ("lung",))
    boxes = BoxRows(tuple(np.full((row, 5), row, np.float32) for row in range(3)), ("node",))
    annotations: dict[Any, Any] = {
        Masks: masks,
        Boxes: boxes,
        Labels: pd.DataFrame({"x": [0.0, 1.0, 1.0]}),
    }
    return Subset(INDEX, np.array([3, 1, 2]), IMAGES, annotations)


def test_rows_of_a_subset_keep_their_pixels_and_annotations() -> None:
    whole = annotated()
    some = whole.take(np.array([2, 0]))
    assert list(some.index["image_id"]) == ["c", "a"] and list(some.index.index) == [0, 1]
    assert some.images(slice(None))[:, 0, 0].tolist() == [2, 3]
    assert some.get(Masks)[:][:, 0, 0, 0].tolist() == [1, 0]
    assert [len(some.get(Boxes)[row]) for row in range(2)] == [2, 0]
    assert some.get(Labels)["x"].tolist() == [1, 0]
    assert (some.get(Masks).classes, some.get(Boxes).classes) == (("lung",), ("node",))
    assert some.image_store is whole.image_store
    assert some.get(Masks).pixels is whole.get(Masks).pixels


def test_masks_and_boxes_are_asked_for_as_before() -> None:
    subset = annotated()
    np.testing.assert_array_equal(subset.masks([0, 2]), subset.get(Masks)[[0, 2]])
    np.testing.assert_array_equal(subset.boxes(2), subset.get(Boxes)[2])


def test_a_subset_without_an_annotation_says_so() -> None:
    some = Subset(INDEX, np.arange(3), IMAGES).take(np.array([], int))
    assert len(some) == 0 and not some.has(Masks)
    for ask in (lambda: some.get(Masks), lambda: some.masks([0])):
        with pytest.raises(DataError, match="these images have no masks"):
            ask()


@dataclass(frozen=True)
class Small:
    """The least that settings have."""

    image_size: int = 32


class Kind(TaskKind):
    """A kind that fits nothing."""

    name = "kind"

    def settings(self, *_: Any) -> None: ...
    def protocols(self) -> tuple[str, ...]:
        return ()

    def fit(self, *_: Any) -> None: ...
    def predict(self, *_: Any) -> Any: ...
    def statistics(self, *_: Any) -> Any: ...


@pytest.mark.parametrize("word", ["images", "masks", "boxes", "labels", "reports"])
def test_a_kind_of_before_names_what_it_needs_in_a_word(word: str) -> None:
    old = type("Old", (Kind,), {"needs": word})()
    classes = {"images": (), "masks": (Masks,), "boxes": (Boxes,)}
    classes |= {"labels": (Labels,), "reports": (Reports,)}
    assert tuple(type(each) for each in needs_of(old, None)) == classes[word]
    assert needs_of(Kind(), None) == ()


BODIES = [
    (name, method, body)
    for name, kind in KINDS.items()
    for method, body in vars(type(kind)).items()
    if isinstance(body, Body)
]


def test_every_kind_is_declared_apart_from_its_body() -> None:
    for name, kind in KINDS.items():
        if type(kind).__module__.startswith("tasks."):
            methods = {method for owner, method, _ in BODIES if owner == name}
            assert methods >= {"fit", "predict", "statistics"}, name


@pytest.mark.parametrize(("name", "method", "body"), BODIES)
def test_the_body_of_a_kind_takes_what_the_engine_gives(name: str, method: str, body: Body) -> None:
    wanted = list(inspect.signature(getattr(TaskKind, method)).parameters)[1:]
    taken = inspect.signature(body.load()).parameters
    assert len(taken) == len(wanted), body.function
    assert set(wanted) & set(taken), body.function


@pytest.mark.parametrize("place", ["tasks.retrieval.fit", "", "tasks retrieval:fit", ":fit"])
def test_a_body_that_is_no_place_is_refused_where_it_is_written(place: str) -> None:
    with pytest.raises(PlaceBenchError, match="is no place of a function"):
        Body(place)


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("tasks.retrieval.fits:fit", "there is no tasks.retrieval.fits"),
        ("no_package.fit:fit", "there is no no_package"),
        ("bench.data.splits:no_function", "names no function of its module"),
        ("bench.data.annotations:FACTS", "names no function of its module"),
    ],
)
def test_a_body_that_is_not_there_is_named(place: str, fault: str) -> None:
    with pytest.raises(PlaceBenchError, match=fault):
        Body(place)()


def test_the_preset_of_a_protocol_is_overridden_by_type() -> None:
    class Settled(Kind):
        name = "settled"
        presets: ClassVar[dict[str, Any]] = {"default": {"demo": Small()}}
        settings = TaskKind.settings
        protocols = TaskKind.protocols

    task = TASKS.get("siim_seg")
    assert Settled().protocols() == ("default",)
    assert Settled().settings(task, "default", "demo", {"image_size": "64"}) == Small(64)
    with pytest.raises(UnknownNameError, match="unknown protocol 'mcga' of settled"):
        Settled().settings(task, "mcga", "demo", {})


def test_a_context_names_the_classes_of_its_dataset_as_before(tmp_path: Path) -> None:
    task = TASKS.get("siim_seg")
    context = CellContext(task, None, tmp_path, "cpu", 0, "demo", Silent())
    dataset = DATASETS.get("siim")
    assert context.mask_classes == dataset.mask_classes == ("pneumothorax",)
    assert context.label_names == dataset.label_names and context.box_classes == ()


@pytest.mark.parametrize("name", TASKS.names())
def test_every_dataset_offers_what_its_tasks_need(name: str) -> None:
    task = TASKS.get(name)
    kind = KINDS.get(task.kind)
    settings = kind.settings(task, "default", "demo", {})
    for annotation in needs_of(kind, settings):
        assert annotation.offered(DATASETS.get(task.dataset)), annotation.name


def test_values_per_image_are_hashed_whatever_their_order() -> None:
    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    stored = PerImage({"a": a, "b": b})
    assert stored.content(INDEX) == PerImage({"b": b, "a": a}).content(INDEX)
    assert stored.content(INDEX) != PerImage({"a": b, "b": a}).content(INDEX)
    assert stored.content(INDEX) != PerImage({"a": a[:, None], "b": b[:, None]}).content(INDEX)
    rows = INDEX.iloc[[1, 0, 1]]
    assert stored.of(rows).tolist() == [[3, 4], [1, 2], [3, 4]]
