"""Annotations of one's own: what they hold decides a cell, who is at fault is named, and what is
left out is left out everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
import pytest

from bench.contracts import (
    KINDS,
    Annotation,
    Dataset,
    Finding,
    Skipped,
    Source,
    Stored,
    needs_of,
)
from bench.core.errors import DataError, PlaceBenchError
from bench.data.annotations import Masks, PerImage
from bench.data.cache import Item, Store, open_store
from bench.data.loading import Prepared, prepare

SIDE = 16


class Toy(Dataset):
    """Four images; `ages.csv` beside them."""

    name, title, licence, citation, how_to_get = "toy", "Toy", "none", "none", "none"

    def index(self, root: Path) -> pd.DataFrame:
        names = [f"{number}.png" for number in range(4)]
        return pd.DataFrame({"image_id": names, "patient_id": names, "path": names, "split": ""})

    def validate(self, root: Path) -> list[Finding]:
        return []


class Ages(Annotation[np.ndarray]):
    """The age of every image's patient; one of them is not known."""

    name = "ages"

    def prepare(self, source: Source) -> PerImage:
        ages = pd.read_csv(source.root / "ages.csv", index_col="image")["age"]
        known = ages.dropna()
        skipped = [Skipped(name, "ages.csv", "no age") for name in ages.index[ages.isna()]]
        return PerImage({name: np.array(age) for name, age in known.items()}, skipped)


@dataclass(frozen=True)
class Heat(Stored["np.ndarray"]):
    """Maps in a cache of their own."""

    store: Store

    @property
    def caches(self) -> Sequence[Store]:
        return (self.store,)

    def content(self, index: pd.DataFrame) -> tuple[Any, ...]:
        return ()

    def of(self, rows: pd.DataFrame) -> np.ndarray:
        slots = dict(zip(self.store.ids, self.store.positions.tolist(), strict=True))
        return self.store.pixels[[slots[image] for image in rows["image_id"]]]


class HeatMaps(Annotation[np.ndarray]):
    """A map per image, made of a file per image."""

    name = "heat maps"

    def prepare(self, source: Source) -> Heat:
        items = [
            Item(image, (str((source.root / f"{image}.heat").resolve()),))
            for image in source.index["image_id"]
        ]
        store = open_store(
            items,
            lambda _, blobs: np.full((2, 2), blobs[0][0], np.uint8),
            (2, 2),
            name="toy-heat",
            key_parts={"what": "heat"},
            make=source.make,
        )
        return Heat(store)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with four images, their ages and their maps."""
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "toy"
    home.mkdir()
    for number in range(4):
        image = np.full((SIDE, SIDE), 10 * number, np.uint8)
        cv2.imwrite(str(home / f"{number}.png"), image)
        (home / f"{number}.png.heat").write_bytes(bytes([number + 1]))
    (home / "ages.csv").write_text("image,age\n0.png,40\n1.png,\n2.png,60\n3.png,70\n")
    return home


def prepared(root: Path, *annotations: Annotation[Any]) -> Prepared:
    return prepare(Toy(), root, size=SIDE, annotations=annotations)


def test_an_image_without_its_annotation_is_left_out_of_all_of_them(root: Path) -> None:
    both = prepared(root, HeatMaps(), Ages())
    assert both.index["image_id"].tolist() == ["0.png", "2.png", "3.png"]
    assert [item.reason for item in both.skipped] == ["no age"]
    subset = both.subset(Toy().index(root))
    assert subset.get(Ages).tolist() == [40, 60, 70]
    assert subset.get(HeatMaps)[:, 0, 0].tolist() == [1, 3, 4]
    assert subset.images(slice(None))[:, 0, 0].tolist() == [0, 20, 30]


def test_what_an_annotation_holds_decides_the_cell_and_not_the_features(root: Path) -> None:
    plain, before = prepared(root), prepared(root, Ages())
    assert plain.content_hash == plain.data_hash == before.data_hash != before.content_hash
    table = root / "ages.csv"
    table.write_text(table.read_text().replace("70", "71"))
    assert prepared(root, Ages()).content_hash != before.content_hash
    assert prepared(root, Ages()).data_hash == before.data_hash


def test_what_stands_in_a_cache_of_its_own_decides_the_cell_too(root: Path) -> None:
    before = prepared(root, HeatMaps())
    (root / "2.png.heat").write_bytes(b"\x09")
    after = prepared(root, HeatMaps())
    assert after.content_hash != before.content_hash
    assert after.data_hash == before.data_hash == prepared(root).data_hash
    assert after.subset(after.index).get(HeatMaps)[:, 0, 0].tolist() == [1, 2, 9, 4]


def test_a_fault_of_an_annotation_names_its_file_and_line(root: Path) -> None:
    (root / "ages.csv").write_text("image,years\n0.png,40\n")
    where = (
        r"dataset 'toy', annotation 'ages': prepare\(\) fails in .*test_annotations.py, line \d+"
    )
    with pytest.raises(DataError, match=where + ": KeyError"):
        prepared(root, Ages())


def test_values_of_another_length_are_refused(root: Path) -> None:
    class Short(PerImage):
        def of(self, rows: pd.DataFrame) -> np.ndarray:
            return super().of(rows)[1:]

    class Shorter(Ages):
        def prepare(self, source: Source) -> PerImage:
            stored = super().prepare(source)
            return Short(stored.values, stored.skipped)

    short = prepared(root, Shorter())
    with pytest.raises(DataError, match=r"'ages' of dataset 'toy' has shape \[2\] for 3 rows"):
        short.subset(short.index)


def test_something_else_than_what_is_stored_is_refused(root: Path) -> None:
    class Bare(Annotation[np.ndarray]):
        name = "bare"

        def prepare(self, source: Source) -> Stored[np.ndarray]:
            return cast(Stored[np.ndarray], np.zeros(4))

    with pytest.raises(DataError, match="annotation 'bare' prepares ndarray"):
        prepared(root, Bare())


@pytest.mark.parametrize("needs", [(Masks,), Masks(), ["masks"], ("masks",), None])
def test_a_need_that_is_no_tuple_of_annotations_is_refused(
    needs: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = KINDS.get("segmentation")
    monkeypatch.setattr(type(kind), "needs", lambda *_: needs)
    with pytest.raises(PlaceBenchError, match="'segmentation' needs .* no tuple of annotations"):
        needs_of(kind, None)
