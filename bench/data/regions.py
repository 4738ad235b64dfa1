"""Regions of a dataset on the padded square its images are cached on: made, checked, kept as uint8,
and brought to any window and grid."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.contracts import (
    REGION_SIDE,
    REGION_SOURCES,
    Dataset,
    Region,
    Source,
    Stored,
)
from bench.contracts.regions import RegionFacts
from bench.core.errors import DataError
from bench.core.sentences import split_sentences
from bench.data.boxes import check_boxes, image_shapes
from bench.data.cache import Item, Store, open_store
from bench.data.masks import private_contents

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
"""Raise when a map comes out otherwise from the same files."""
LISTING_BYTES = 8192
"""What the list of an image's regions may take up: about a hundred of them."""
_KEPT = 256
"""Images whose regions are kept in memory while their maps are written. Of more images they are
made twice, once for the list and once for the maps: all of a large dataset would not fit."""
Shape = tuple[int, int]


# ------------------------------------------------------------------------------------ making maps
def map_of_mask(mask: np.ndarray) -> np.ndarray:
    """Return the map of a 0/1 mask [H, W] in the pixels of its image: each cell holds the share of
    it that the mask covers."""
    side = max(mask.shape)
    cells = side / REGION_SIDE * np.arange(REGION_SIDE + 1)
    rows, columns = (_overlaps(cells, length, (side - length) / 2) for length in mask.shape)
    covered: np.ndarray = rows @ (mask > 0).astype(np.float64) @ columns.T
    return (covered * (REGION_SIDE / side) ** 2).clip(0, 1).astype(np.float32)


def map_of_box(box: Sequence[float], shape: Shape) -> np.ndarray:
    """Return the map of a box (x1, y1, x2, y2 in pixels) of an image of `shape` (height, width)."""
    x1, y1, x2, y2 = _on_square(np.array([box[:2], box[2:4]]), shape).ravel()
    rows = _overlaps(np.array([y1, y2]), REGION_SIDE, 0.0)[0]
    columns = _overlaps(np.array([x1, x2]), REGION_SIDE, 0.0)[0]
    covered: np.ndarray = np.outer(rows, columns).astype(np.float32)
    return covered


def map_of_points(
    points: np.ndarray, sigmas: np.ndarray, weights: np.ndarray, shape: Shape
) -> np.ndarray:
    """Return the map of points [n, 2] (x, y) in an image of `shape` (height, width): the sum of a
    Gaussian each, divided by its maximum; all zero for no point.

    `sigmas` [n, 2] are the deviations in x and y, in pixels; `weights` [n], e.g. durations, the
    heights of the Gaussians.
    """
    if not len(points):
        return np.zeros((REGION_SIDE, REGION_SIDE), np.float32)
    scale = REGION_SIDE / max(shape)
    centres = _on_square(np.asarray(points, np.float64), shape)
    widths = np.maximum(np.asarray(sigmas, np.float64) * scale, 0.25)
    cells = np.arange(REGION_SIDE) + 0.5
    along = [
        np.exp(-(((cells - centres[:, axis, None]) / widths[:, axis, None]) ** 2) / 2)
        for axis in (0, 1)
    ]
    heat = np.einsum("n,ny,nx->yx", np.asarray(weights, np.float64), along[1], along[0])
    highest = heat.max()
    return (heat / highest).astype(np.float32) if highest > 0 else heat.astype(np.float32)


def _on_square(points: np.ndarray, shape: Shape) -> np.ndarray:
    """Return points [n, 2] (x, y), in pixels of an image of `shape`, in cells of the map."""
    scale = REGION_SIDE / max(shape)
    margins = [(REGION_SIDE - side * scale) / 2 for side in (shape[1], shape[0])]
    return points * scale + np.array(margins)


def _overlaps(edges: np.ndarray, pixels: int, margin: float) -> np.ndarray:
    """Return how much of each cell between two `edges` each of so many pixels covers, where the
    first begins at `margin`: [cells, pixels]."""
    starts = margin + np.arange(pixels)
    upper = np.minimum(edges[1:, None], starts + 1)
    overlaps: np.ndarray = (upper - np.maximum(edges[:-1, None], starts)).clip(0)
    return overlaps


# -------------------------------------------------------------------------------- windows and grids
@lru_cache(maxsize=1024)
def axis_weights(
    start: float, length: float, cells: int, how: Literal["area", "bilinear"]
) -> np.ndarray:
    """Return what each of REGION_SIDE cells along a side counts for each of `cells` in the window
    from `start` of a length (shares of the side): [cells, REGION_SIDE], rows sum to one.

    "area" averages over each cell, so that a cell is 0 only where nothing of the region reaches
    into it: for labels. "bilinear" is antialiased: for weights.
    """
    size = length * REGION_SIDE / cells
    edges = start * REGION_SIDE + size * np.arange(cells + 1)
    if how == "area":
        weights = _overlaps(edges, REGION_SIDE, 0.0)
        weights[weights < 1e-9] = 0  # an edge that meets an edge
    else:
        centres = edges[:-1, None] + size / 2
        distance = np.abs(np.arange(REGION_SIDE) + 0.5 - centres)
        weights = (1 - distance / max(size, 1.0)).clip(0)
    normed: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return normed


# ----------------------------------------------------------------------------------------- keeping
@dataclass(frozen=True)
class RegionEntry(RegionFacts):
    """A kept region: its map stands at `position` of `RegionRows.maps`; the rest is as in
    `Region`."""

    position: int
    sentence: int
    label: str
    source: str
    phrase: str


@dataclass(frozen=True)
class RegionRows:
    """The regions of some rows: those of row r are `entries[r]`; `maps` uint8 [M, REGION_SIDE,
    REGION_SIDE] (a memory map, never written) holds 255 where a map is 1."""

    maps: np.ndarray
    entries: tuple[tuple[RegionEntry, ...], ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, row: int) -> list[Region]:
        """Return the regions of one row, maps as float32."""
        regions = []
        for entry in self.entries[row]:
            heat = self.maps[entry.position].astype(np.float32) / 255
            source: Any = entry.source
            regions.append(Region(heat, entry.sentence, entry.label, source, entry.phrase))
        return regions


@dataclass(frozen=True)
class StoredRegions(Stored[RegionRows]):
    """The regions of a dataset in two caches: what each image has, and the maps of all."""

    listing: Store
    maps: Store

    @property
    def skipped(self) -> Sequence[Any]:
        """Return the images whose regions are at fault."""
        return self.listing.skipped

    @property
    def caches(self) -> Sequence[Store]:
        """Return both caches."""
        return (self.listing, self.maps)

    def content(self, index: pd.DataFrame) -> tuple[Any, ...]:
        """Return (): the caches say it all."""
        return ()

    def of(self, rows: pd.DataFrame) -> RegionRows:
        """Return the regions of `rows`."""
        entries = tuple(self._entries[image] for image in rows["image_id"].astype(str))
        return RegionRows(self.maps.pixels, entries)

    @cached_property
    def _entries(self) -> dict[str, tuple[RegionEntry, ...]]:
        positions = iter(self.maps.positions.tolist())
        entries = {}
        for image, listed in _listed(self.listing):
            entries[image] = tuple(RegionEntry(next(positions), *facts) for facts in listed)
        return entries


def region_store(source: Source, *, derived: bool = False) -> StoredRegions:
    """Read, check and keep the regions of the images of `source`; those of masks and boxes too
    where `derived`.

    What is kept is named after the files they come from (`region_paths` and `mask_paths` of a row),
    its private columns, and the versions: when one of them changes, the regions are made again.
    """
    maker = _Maker(source, derived)
    parts = {
        "version": VERSION,
        "side": REGION_SIDE,
        "dataset": source.dataset.name,
        "dataset_version": source.dataset.version,
        "regions_version": source.dataset.regions_version,
        "derived": derived,
    }
    name = f"{Path(source.root).resolve().name}-regions"
    options: dict[str, Any] = {
        "workers": source.workers,
        "progress": source.progress,
        "make": source.make,
    }
    listing = open_store(
        maker.items,
        maker.listing,
        (LISTING_BYTES,),
        name=f"{name}-list",
        key_parts={"what": "regions-list", **parts},
        on_error=source.on_error,
        **options,
    )
    rows = {item.id: number for number, item in enumerate(maker.items)}
    numbered = [
        (rows[image], place) for image, listed in _listed(listing) for place in range(len(listed))
    ]
    maps = open_store(
        [maker.item_of_map(row, place) for row, place in numbered],
        lambda number, _: maker.map(*numbered[number]),
        (REGION_SIDE, REGION_SIDE),
        name=name,
        key_parts={"what": "regions", **parts},
        **options,
    )
    return StoredRegions(listing, maps)


def _listed(listing: Store) -> Iterator[tuple[str, list[Any]]]:
    """Yield every image that is not skipped, with the facts of its regions."""
    for image, position in zip(listing.ids, listing.positions.tolist(), strict=True):
        if position >= 0:
            text = listing.pixels[position].tobytes().rstrip(b"\0")
            yield image, json.loads(text) if text else []


class _Maker:
    """Makes the regions of single images, from what their cache items are named after."""

    def __init__(self, source: Source, derived: bool) -> None:
        self.source = source
        self.derived = derived
        self.shapes = image_shapes(source.index, source.root, source.progress)
        self.items = list(self._items())
        self.of = lru_cache(maxsize=_KEPT)(self._of)

    def _items(self) -> Iterator[Item]:
        index = self.source.index
        home = os.path.realpath(self.source.root)
        facts_of_rows = zip(
            index["image_id"].astype(str).tolist(),
            index["path"].tolist(),
            self.shapes,
            _column(index, "report", None),
            strict=True,
        )
        files = [_column(index, name, ()) for name in ("mask_paths", "region_paths")]
        contents = private_contents(index)
        for facts, masks, looks, private in zip(facts_of_rows, *files, contents, strict=True):
            extra = json.dumps(facts, default=str).encode() + private
            yield Item(facts[0], tuple(f"{home}/{name}" for name in (*masks, *looks)), extra)

    def item_of_map(self, row: int, place: int) -> Item:
        """Return what the map of one region of one row is made from."""
        item = self.items[row]
        return Item(f"{item.id}#{place}", item.paths, item.extra + b"#%d" % place)

    def listing(self, number: int, _: tuple[bytes, ...]) -> np.ndarray:
        """Return the list of an image's regions as bytes, padded with zeros."""
        regions = self.of(number)
        facts = [
            (region.sentence, region.label, region.source, region.phrase) for region in regions
        ]
        text = json.dumps(facts).encode() if facts else b""
        if len(text) > LISTING_BYTES:
            raise self._fault(number, f"has {len(facts)} regions, too many to list")
        padded = np.zeros(LISTING_BYTES, np.uint8)
        padded[: len(text)] = np.frombuffer(text, np.uint8)
        return padded

    def map(self, number: int, place: int) -> np.ndarray:
        """Return the map of one region as uint8."""
        return np.rint(self.of(number)[place].map * 255).astype(np.uint8)

    def _of(self, number: int) -> list[Region]:
        row = self.source.index.iloc[number]
        shape = self.shapes[number]
        if shape == (0, 0):
            raise self._fault(number, "does not state its size")
        dataset = self.source.dataset
        root = Path(self.source.root)
        regions = list(dataset.regions(row, root)) if dataset.has_regions else []
        if self.derived:
            regions += derived_regions(dataset, row, root, shape)
        count = _sentences_of(row)
        for region in regions:
            reason = _fault(region, count)
            if reason:
                raise self._fault(number, reason)
        return regions

    def _fault(self, number: int, what: str) -> DataError:
        row = self.source.index.iloc[number]
        return DataError(
            f"dataset '{self.source.dataset.name}', image {self.source.root / row['path']} {what}.",
            "Correct its regions, or use --on-error skip.",
        )


def derived_regions(dataset: Dataset, row: pd.Series, root: Path, shape: Shape) -> list[Region]:
    """Return the masks and boxes of one image as regions, each with its class as label; an empty
    mask is none."""
    regions: list[Region] = []
    if dataset.mask_classes:
        masks = zip(dataset.mask_classes, dataset.mask(row, root), strict=True)
        regions += [
            Region(map_of_mask(mask), label=name, source="mask")
            for name, mask in masks
            if mask.any()
        ]
    if dataset.box_classes:
        names = dataset.box_classes
        boxes = check_boxes(dataset.boxes(row, root), shape, len(names))
        regions += [
            Region(map_of_box(box, shape), label=names[int(box[4])], source="box") for box in boxes
        ]
    return regions


def _fault(region: Region, sentences: int | None) -> str:
    """Return what is wrong with a region of a report of so many sentences; "" where nothing is."""
    heat = np.asarray(region.map)
    if heat.shape != (REGION_SIDE, REGION_SIDE):
        return f"has a region of shape {list(heat.shape)}, {[REGION_SIDE] * 2} was expected"
    if not np.isfinite(heat).all() or heat.min() < 0 or heat.max() > 1:
        return "has a region with values outside [0, 1]"
    if region.source not in REGION_SOURCES:
        return f"has a region of source '{region.source}', none of {', '.join(REGION_SOURCES)}"
    if region.sentence < -1:
        return f"has a region of sentence {region.sentence}; -1 stands for none"
    if sentences is not None and region.sentence >= sentences:
        return f"has a region of sentence {region.sentence}, its report has {sentences}"
    return ""


def _sentences_of(row: pd.Series) -> int | None:
    """Return how many sentences the report of a row has, 0 where it is missing; None for data
    without reports."""
    if "report" not in row:
        return None
    report = row["report"]
    return len(split_sentences(report)) if isinstance(report, str) else 0


def _column(index: pd.DataFrame, name: str, missing: Any) -> list[Any]:
    """Return the values of a column, `missing` for every row where there is none."""
    return index[name].tolist() if name in index else [missing] * len(index)
