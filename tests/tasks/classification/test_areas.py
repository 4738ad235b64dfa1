"""Masks or boxes of a dataset's labels, read through the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import DataError
from bench.data.annotations import Boxes, Masks
from bench.data.loading import prepare
from tasks.classification.areas import Areas
from tasks.datasets.marker import BOXES, Marker
from tasks.datasets.nih import Nih
from tasks.datasets.siim import Siim
from tests.support.marker import write_marker
from tests.tasks.datasets.fakes import write_siim


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


def test_boxes_are_filled_where_they_stand(tmp_path: Path) -> None:
    """The images are of 16 px, and kept at 32."""
    root = write_marker(tmp_path / "marker")
    areas = Areas(("Effusion",))
    prepared = prepare(Marker(), root, size=32, annotations=[areas])
    images = prepared.subset(prepared.index)
    rows = images.get(Areas)
    assert rows.annotation is Boxes and len(rows) == 40
    expected = np.zeros((32, 32), np.uint8)
    expected[6:19, 4:20] = 1
    np.testing.assert_array_equal(rows.area(2, "Effusion"), expected)
    assert not rows.area(0, "Effusion").any() and not rows.area(2, "Mass").any()
    some = images.take(np.array([5, 2])).get(Areas)
    np.testing.assert_array_equal(some.area(1, "Effusion"), expected)


def test_masks_are_those_of_the_annotation(tmp_path: Path) -> None:
    root = tmp_path / "siim"
    root.mkdir()
    write_siim(root)
    prepared = prepare(Siim(), root, size=32, annotations=[Areas(("Pneumothorax",)), Masks()])
    images = prepared.subset(prepared.index)
    rows = images.get(Areas)
    assert rows.annotation is Masks
    masks = images.get(Masks)[np.arange(len(images))]
    assert masks.any()
    for row, mask in enumerate(masks):
        np.testing.assert_array_equal(rows.area(row, "Pneumothorax"), mask[0])


def test_another_box_is_another_cell_and_the_same_features(tmp_path: Path) -> None:
    root = write_marker(tmp_path / "marker")
    areas = [Areas(("Effusion",))]
    before = prepare(Marker(), root, size=32, annotations=areas)
    (root / BOXES).write_text((root / BOXES).read_text().replace("8.0,6.5", "9.0,6.5"))
    after = prepare(Marker(), root, size=32, annotations=areas)
    assert after.content_hash != before.content_hash
    assert after.data_hash == before.data_hash


def test_a_dataset_that_marks_no_label_is_refused(tmp_path: Path) -> None:
    root = write_marker(tmp_path / "nih")
    assert not Areas(("Mass",)).offered(Nih())
    with pytest.raises(DataError, match="dataset 'nih' has no masks or boxes of Mass"):
        prepare(Nih(), root, size=32, annotations=[Areas(("Mass",))])
