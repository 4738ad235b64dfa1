"""The annotations that come with place-bench: masks, boxes, regions, labels and reports. Light to
import; what reads them is imported when it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.contracts import Annotation, Cache, Dataset, Skipped, Source, Stored, annotation
from bench.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.data.boxes import BoxStore
    from bench.data.cache import Item, Store
    from bench.data.regions import RegionRows, StoredRegions

FACTS = ("age", "findings", "impression", "part", "patient_id", "report", "scanner", "sex", "view")
"""Columns of an index beside its labels that decide a result."""
REPORTS = ("report", "findings", "impression")


# ---------------------------------------------------------------------------------- one per image
@dataclass(frozen=True)
class PerImage(Stored["np.ndarray"]):
    """One array per image, all of one shape: `values[image_id]`. `of` stacks them to [n, ...]."""

    values: Mapping[str, np.ndarray]
    skipped: Sequence[Skipped] = ()

    def content(self, index: pd.DataFrame) -> tuple[Any, ...]:
        """Return a hash of ids, shapes and values."""
        import hashlib

        import numpy as np

        content = hashlib.blake2b(digest_size=16)
        for image in sorted(self.values):
            value = np.ascontiguousarray(self.values[image])
            content.update(f"{image}:{value.dtype.str}:{value.shape}:".encode())
            content.update(value.tobytes())
        return (content.hexdigest(),)

    def of(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the values of some rows, [n, ...]."""
        import numpy as np

        return np.stack([self.values[image] for image in rows["image_id"].astype(str)])


# ------------------------------------------------------------------------------------------- masks
@dataclass(frozen=True)
class MaskRows:
    """The masks of some rows: those of row r stand at `positions[r]` of `pixels`, uint8 0/1
    [M, C, S, S] (a memory map, never written); class c is `classes[c]`."""

    pixels: np.ndarray
    positions: np.ndarray
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return a copy of the masks of `rows` (an integer array or slice), uint8 [n, C, S, S]."""
        masks: np.ndarray = self.pixels[self.positions[rows]]
        return masks


@annotation
class Masks(Annotation[MaskRows]):
    """A mask per class and image, on the padded square of the image."""

    name = "masks"
    hint = "Set mask_classes in the dataset and write mask(row, root)."
    keys_features = True

    def offered(self, dataset: Dataset) -> bool:
        """Say whether the dataset names classes of masks."""
        return bool(dataset.mask_classes)

    def prepare(self, source: Source) -> StoredMasks:
        """Decode the masks of the images."""
        from bench.data.masks import mask_store

        _check_offered(self, source.dataset)
        store = mask_store(
            source.dataset,
            source.index,
            source.root,
            source.size,
            workers=source.workers,
            progress=source.progress,
            on_error=source.on_error,
            make=source.make,
        )
        return StoredMasks(source, store)

    @classmethod
    def take(cls, values: MaskRows, rows: np.ndarray) -> MaskRows:
        """Return the masks of the rows `rows`; the pixels stay where they are."""
        return replace(values, positions=values.positions[rows])


@dataclass(frozen=True)
class StoredMasks(Stored[MaskRows]):
    """The masks of a dataset in their cache."""

    source: Source
    store: Store

    @property
    def skipped(self) -> Sequence[Skipped]:
        """Return the images whose mask is at fault."""
        return self.store.skipped

    @property
    def caches(self) -> Sequence[Cache]:
        """Return the cache of the masks."""
        return (self.store,)

    def content(self, index: pd.DataFrame) -> tuple[Any, ...]:
        """Return (): the cache says it all."""
        return ()

    def of(self, rows: pd.DataFrame) -> MaskRows:
        """Return the masks of `rows`, made now where their private columns are not those of the
        index."""
        import numpy as np

        from bench.data.masks import mask_items, mask_store

        source = self.source
        row_items = mask_items(rows, source.root)
        if all(item in self._slots for item in row_items):
            positions = np.array([self._slots[item] for item in row_items], np.int64)
            return MaskRows(self.store.pixels, positions, source.dataset.mask_classes)
        scattered = mask_store(
            source.dataset, rows, source.root, source.size, workers=source.workers
        )
        return MaskRows(scattered.pixels, scattered.positions, source.dataset.mask_classes)

    @cached_property
    def _slots(self) -> dict[Item, int]:
        """Return where the mask of every row of the index stands, by what it is made from."""
        from bench.data.masks import mask_items

        items = mask_items(self.source.index, self.source.root)
        return dict(zip(items, self.store.positions.tolist(), strict=True))


# ------------------------------------------------------------------------------------------- boxes
@dataclass(frozen=True)
class BoxRows:
    """The boxes of some rows: `lists[r]` float32 [n, 5], x1, y1, x2, y2 in pixels of the padded
    square, and the class c, which is `classes[c]`."""

    lists: tuple[np.ndarray, ...]
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lists)

    def __getitem__(self, row: int) -> np.ndarray:
        """Return a copy of the boxes of one row, float32 [n, 5]."""
        return self.lists[row].copy()


@annotation
class Boxes(Annotation[BoxRows]):
    """Boxes with a class, on the padded square of the image."""

    name = "boxes"
    hint = "Set box_classes in the dataset and write boxes(row, root)."
    keys_features = True

    def offered(self, dataset: Dataset) -> bool:
        """Say whether the dataset names classes of boxes."""
        return bool(dataset.box_classes)

    def prepare(self, source: Source) -> StoredBoxes:
        """Read and check the boxes of the images."""
        from bench.data.boxes import box_store

        _check_offered(self, source.dataset)
        store = box_store(
            source.dataset,
            source.index,
            source.root,
            source.size,
            on_error=source.on_error,
            progress=source.progress,
        )
        return StoredBoxes(source, store)

    @classmethod
    def take(cls, values: BoxRows, rows: np.ndarray) -> BoxRows:
        """Return the boxes of the rows `rows`."""
        return replace(values, lists=tuple(values.lists[row] for row in rows))


@dataclass(frozen=True)
class StoredBoxes(Stored[BoxRows]):
    """The boxes of a dataset."""

    source: Source
    store: BoxStore

    @property
    def skipped(self) -> Sequence[Skipped]:
        """Return the images whose boxes are at fault."""
        return self.store.skipped

    def content(self, index: pd.DataFrame) -> tuple[Any, ...]:
        """Return the hash of all boxes."""
        return (self.store.data_hash(),)

    def of(self, rows: pd.DataFrame) -> BoxRows:
        """Return the boxes of `rows`, read again where their private columns are not those of the
        index."""
        from bench.data.boxes import box_store
        from bench.data.masks import mask_items

        source = self.source
        store = self.store
        if not self._items.issuperset(mask_items(rows, source.root)):
            store = box_store(source.dataset, rows, source.root, source.size)
        lists = tuple(store.boxes[image] for image in rows["image_id"].astype(str))
        return BoxRows(lists, source.dataset.box_classes)

    @cached_property
    def _items(self) -> frozenset[Item]:
        """Return what the boxes of every row of the index are made from."""
        from bench.data.masks import mask_items

        return frozenset(mask_items(self.source.index, self.source.root))


# ----------------------------------------------------------------------------------------- regions
@annotation
class Regions(Annotation["RegionRows"]):
    """Maps of where in an image a sentence, a label or the whole study is to be found.

    With `derived` masks and boxes of the dataset are regions too, their class is the label.
    """

    name = "regions"
    hint = "Set has_regions in the dataset and write regions(row, root)."

    def __init__(self, derived: bool = False) -> None:
        self.derived = derived

    def offered(self, dataset: Dataset) -> bool:
        """Say whether the dataset has regions, or something they are derived from."""
        made = self.derived and (dataset.mask_classes or dataset.box_classes)
        return dataset.has_regions or bool(made)

    def prepare(self, source: Source) -> StoredRegions:
        """Read, check and keep the regions of the images."""
        from bench.data.regions import region_store

        _check_offered(self, source.dataset)
        return region_store(source, derived=self.derived)

    @classmethod
    def take(cls, values: RegionRows, rows: np.ndarray) -> RegionRows:
        """Return the regions of the rows `rows`; the maps stay where they are."""
        return replace(values, entries=tuple(values.entries[row] for row in rows))


# ----------------------------------------------------------------------- columns of the index
@dataclass(frozen=True)
class Columns(Stored["pd.DataFrame"]):
    """Columns of the index itself; `prefix` selects them by their beginning, `names` by name."""

    names: tuple[str, ...] = ()
    prefix: str = ""

    def content(self, index: pd.DataFrame) -> tuple[Any, ...]:
        """Return the names of all columns that decide a result and a hash of each row of them."""
        import pandas as pd

        columns = sorted(map(str, index.columns))
        read = [name for name in columns if name in FACTS or name.startswith("label:")]
        rows = pd.util.hash_pandas_object(index[["image_id", *read]].astype(str), index=False)
        return (read, sorted(rows.tolist()))

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the columns of some rows, named without the prefix."""
        if self.prefix:
            names = [str(name) for name in rows.columns if str(name).startswith(self.prefix)]
        else:
            names = [name for name in self.names if name in rows.columns]
        columns = rows[names].reset_index(drop=True)
        return columns.rename(columns=lambda name: str(name).removeprefix(self.prefix))


class _IndexColumns(Annotation["pd.DataFrame"]):
    """An annotation that is read with the index: nothing is decoded for it."""

    in_index = True

    @classmethod
    def take(cls, values: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
        """Return the rows `rows`, numbered anew."""
        return values.iloc[rows].reset_index(drop=True)


@annotation
class Labels(_IndexColumns):
    """The labels of every image: a DataFrame with a column per name, 0, 1, -1 (uncertain) or
    NaN."""

    name = "labels"
    hint = "Set label_names in the dataset, and give index() a column label:NAME for each."

    def check(self, dataset: Dataset, index: pd.DataFrame) -> None:
        """Raise DataError where no column holds labels."""
        if not any(str(name).startswith("label:") for name in index.columns):
            raise _no_columns(self, dataset)

    def offered(self, dataset: Dataset) -> bool:
        """Say whether the dataset names labels."""
        return bool(dataset.label_names)

    def prepare(self, source: Source) -> Columns:
        """Return the columns `label:<name>`."""
        return Columns(prefix="label:")


@annotation
class Reports(_IndexColumns):
    """The report of every image: a DataFrame with `report`, and where known `findings` and
    `impression`."""

    name = "reports"
    hint = "Give index() a column report."

    def check(self, dataset: Dataset, index: pd.DataFrame) -> None:
        """Raise DataError where no column holds reports."""
        if not any(name in index for name in REPORTS):
            raise _no_columns(self, dataset)

    def offered(self, dataset: Dataset) -> bool:
        """Say whether the dataset has reports."""
        return dataset.has_reports

    def prepare(self, source: Source) -> Columns:
        """Return the columns of the report."""
        return Columns(REPORTS)


def _no_columns(annotation: Annotation[Any], dataset: Dataset) -> DataError:
    return DataError(
        f"the index of dataset '{dataset.name}' has no {annotation.name}.", annotation.hint
    )


def _check_offered(annotation: Annotation[Any], dataset: Dataset) -> None:
    """Raise DataError for a dataset that does not declare an annotation."""
    if not annotation.offered(dataset):
        raise DataError(
            f"dataset '{dataset.name}' has no {annotation.name}.",
            f"Choose a dataset that has {annotation.name}.",
        )
