"""From a dataset's folder to decoded subsets."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.contracts import Dataset, OnError, Progress, Scaling, Subset
from bench.core.errors import DataError, NotMadeError
from bench.core.hashing import digest
from bench.data.boxes import BoxStore, box_store
from bench.data.cache import Item, Skipped, Store, begun, data_hash, open_store
from bench.data.headers import read_shape
from bench.data.images import (
    RECIPE_VERSION,
    Interpolation,
    decode_image,
    resize_pad,
    resize_pad_mask,
)
from bench.data.indexing import read_index

if TYPE_CHECKING:
    import pandas as pd

PUBLIC_COLUMNS = frozenset(
    {
        "image_id",
        "patient_id",
        "study_id",
        "split",
        "view",
        "sex",
        "age",
        "report",
        "findings",
        "impression",
    }
)

POSITIONS = ("line", "lines", "csv_rows")
"""Private columns that say where in its file a row, or each of its annotations (a tuple), stands.
They are no content: the rows of a table may come in any order."""


def image_store(
    index: pd.DataFrame,
    root: Path,
    size: int,
    *,
    interpolation: Interpolation = "area",
    voi_lut: bool = False,
    scaling: Scaling = "range",
    workers: int = 2,
    progress: Progress | None = None,
    on_error: OnError = "stop",
    make: bool = True,
) -> Store:
    """Open the grey images of `index`, long side `size`, padded square: pixels uint8 [M, size,
    size]."""
    home = os.path.realpath(root)
    items = [
        Item(str(image), (f"{home}/{path}",))
        for image, path in zip(index["image_id"].tolist(), index["path"].tolist(), strict=True)
    ]

    def decode(number: int, blobs: tuple[bytes, ...]) -> np.ndarray:
        image = decode_image(blobs[0], items[number].paths[0], voi_lut=voi_lut, scaling=scaling)
        return resize_pad(image, size, interpolation)

    parts = {
        "recipe": RECIPE_VERSION,
        "what": "image",
        "interpolation": interpolation,
        "voi_lut": voi_lut,
        "scaling": scaling,
    }
    name = _store_name(root, size)
    return open_store(
        items,
        decode,
        (size, size),
        name=name,
        key_parts=parts,
        workers=workers,
        progress=progress,
        on_error=on_error,
        make=make,
    )


def _store_name(root: Path, size: int) -> str:
    return f"{Path(root).resolve().name}-{size}"


def mask_store(
    dataset: Dataset,
    index: pd.DataFrame,
    root: Path,
    size: int,
    *,
    interpolation: Literal["area", "nearest"] = "area",
    workers: int = 2,
    progress: Progress | None = None,
    on_error: OnError = "stop",
    make: bool = True,
) -> Store:
    """Open the masks of `index` on the grid of `image_store`: pixels uint8 0/1 [M, C, size, size].

    A mask's content is its image, the files named in the column `mask_paths` (a tuple, where masks
    are files), and the values of the dataset's private columns (e.g. run lengths): when one of them
    changes, the mask is made again.
    """
    items = _mask_items(index, root)

    def decode(number: int, blobs: tuple[bytes, ...]) -> np.ndarray:
        row = index.iloc[number]
        mask = _checked(
            dataset,
            dataset.mask(row, Path(root)),
            Path(root, row["path"]),
            read_shape(io.BytesIO(blobs[0])),
        )
        return resize_pad_mask(mask, size, interpolation)

    parts = {
        "recipe": RECIPE_VERSION,
        "what": "mask",
        "interpolation": interpolation,
        "dataset": dataset.name,
    }
    parts |= {"version": dataset.version, "classes": list(dataset.mask_classes)}
    name, shape = (
        f"{Path(root).resolve().name}-masks-{size}",
        (len(dataset.mask_classes), size, size),
    )
    return open_store(
        items,
        decode,
        shape,
        name=name,
        key_parts=parts,
        workers=workers,
        progress=progress,
        on_error=on_error,
        make=make,
    )


def _mask_items(index: pd.DataFrame, root: Path) -> list[Item]:
    home = os.path.realpath(root)
    own = _private_contents(index)
    files = index["mask_paths"] if "mask_paths" in index else [()] * len(index)
    return [
        Item(str(image), tuple(f"{home}/{each}" for each in (path, *masks)), extra)
        for image, path, masks, extra in zip(
            index["image_id"].tolist(), index["path"].tolist(), files, own, strict=True
        )
    ]


def _private_contents(index: pd.DataFrame) -> Iterator[bytes]:
    """Yield what the private columns of each row say, whatever the order of the annotations that
    have a column of their lines."""
    encode = json.JSONEncoder(sort_keys=True, default=str).encode
    private = sorted(str(column) for column in index.columns if not _is_public(str(column)))
    lines = [name for name in POSITIONS if name in private and name != "line"]
    private = [name for name in private if name not in POSITIONS]
    listed = [name for name in private if lines and _of_equal_length(index, name, lines[0])]
    for row in index[private].to_dict("records"):
        annotations = sorted(map(encode, zip(*(row.pop(name) for name in listed), strict=True)))
        yield encode({**row, "annotations": annotations} if listed else row).encode()


def _of_equal_length(index: pd.DataFrame, name: str, other: str) -> bool:
    """Say whether a column holds tuples that are as long as those of another one."""
    pairs = zip(index[name], index[other], strict=True)
    return all(isinstance(values, tuple) and len(values) == len(lines) for values, lines in pairs)


def _is_public(column: str) -> bool:
    return (
        column in PUBLIC_COLUMNS or column.startswith("label:") or column in ("path", "mask_paths")
    )


def _checked(
    dataset: Dataset, mask: np.ndarray, image: Path, stored: Mapping[str, str]
) -> np.ndarray:
    """Return the mask; raise DataError where it has not one layer per class, or is of another size
    than `image` (`stored`)."""
    if mask.ndim != 3 or len(mask) != len(dataset.mask_classes):
        message = f"masks of dataset '{dataset.name}' have shape {list(mask.shape)}."
        raise DataError(message, f"Return [{len(dataset.mask_classes)}, H, W], one per class.")
    height, width = mask.shape[1:]
    known = bool(stored["height"])  # else the header does not read: decoding the image says so
    if known and (stored["height"], stored["width"]) != (str(height), str(width)):
        raise DataError(
            f"dataset '{dataset.name}': the mask of {image} has {width} x {height} px, "
            f"the image {stored['width']} x {stored['height']}.",
            "Return masks in the pixel grid of the image file; or leave such images out with "
            "--on-error skip.",
        )
    return mask


@dataclass(frozen=True)
class Prepared:
    """One dataset decoded at one size: its index without the skipped images, its stores, its
    hash."""

    dataset: Dataset
    root: Path
    index: pd.DataFrame
    image_store: Store
    mask_store: Store | None
    data_hash: str
    skipped: tuple[Skipped, ...]
    size: int
    workers: int = 2
    box_store: BoxStore | None = None

    def subset(self, rows: pd.DataFrame) -> Subset:
        """Return the decoded images (and masks or boxes) of `rows`; skipped images are left out.

        `rows` may repeat an image, and may carry another mask content than the index (a published
        split that scatters the masks of an image): such masks are made now.
        """
        rows = rows[~rows["image_id"].isin({item.id for item in self.skipped})].reset_index(
            drop=True
        )
        positions = self._image_positions(rows)
        if self.box_store is not None:
            return Subset(
                rows,
                positions,
                self.image_store.pixels,
                box_lists=self._boxes(rows, self.box_store),
            )
        if self.mask_store is None:
            return Subset(rows, positions, self.image_store.pixels)
        masks, mask_positions = self._masks(rows, self.mask_store)
        return Subset(rows, positions, self.image_store.pixels, masks, mask_positions)

    def _image_positions(self, rows: pd.DataFrame) -> np.ndarray:
        place = dict(zip(self.image_store.ids, self.image_store.positions.tolist(), strict=True))
        unknown = [image for image in rows["image_id"] if image not in place]
        if unknown:
            raise DataError(
                f"{len(unknown)} images of a split are not in the data, e.g. '{unknown[0]}'.",
                "Make the split again.",
            )
        return np.array([place[image] for image in rows["image_id"]], np.int64)

    def digests(self) -> dict[str, str]:
        """Return the digest of every image's content, by id."""
        return dict(zip(self.image_store.ids, self.image_store.digests, strict=True))

    def _boxes(self, rows: pd.DataFrame, prepared: BoxStore) -> tuple[np.ndarray, ...]:
        """Return the boxes of `rows`, read again where a published procedure gave them other
        private columns."""
        if set(_mask_items(rows, self.root)) <= set(_mask_items(self.index, self.root)):
            return tuple(prepared.boxes[image] for image in rows["image_id"].astype(str))
        own = box_store(self.dataset, rows, self.root, self.size)
        return tuple(own.boxes[image] for image in rows["image_id"].astype(str))

    def _masks(self, rows: pd.DataFrame, prepared: Store) -> tuple[np.ndarray, np.ndarray]:
        place = dict(
            zip(
                _mask_items(self.index, self.root),
                prepared.positions[prepared.positions >= 0].tolist(),
                strict=True,
            )
        )
        wanted = _mask_items(rows, self.root)
        if all(item in place for item in wanted):
            return prepared.pixels, np.array([place[item] for item in wanted], np.int64)
        scattered = mask_store(self.dataset, rows, self.root, self.size, workers=self.workers)
        return scattered.pixels, scattered.positions


def prepare(
    dataset: Dataset,
    root: Path,
    *,
    size: int,
    needs_masks: bool = False,
    needs_boxes: bool = False,
    on_error: OnError = "stop",
    workers: int = 2,
    progress: Progress | None = None,
    index: pd.DataFrame | None = None,
    make: bool = True,
    scaling: Scaling = "range",
) -> Prepared:
    """Read the index of `dataset` (unless given) and decode its images, and its masks or boxes
    where needed.

    With `on_error="skip"` what is at fault (a row, a report, an image, a mask, boxes) is listed in
    `skipped` and left out of the index, which keeps the rest usable. Without `make` NotMadeError is
    raised where something is not decoded yet. `scaling` is how image files become 8 bits: another
    one than "range" is another cache and another data hash.
    """
    if not make and not begun(_store_name(root, size)):  # before a large index is read
        raise NotMadeError("its images are decoded first")
    faults: tuple[Skipped, ...] = ()
    if index is None:
        index, faults = read_index(dataset, root, on_error, progress)
    images = image_store(
        index,
        root,
        size,
        scaling=scaling,
        workers=workers,
        progress=progress,
        on_error=on_error,
        make=make,
    )
    index = _without(index, images.skipped)
    masks = None
    if needs_masks:
        masks = mask_store(
            dataset,
            index,
            root,
            size,
            workers=workers,
            progress=progress,
            on_error=on_error,
            make=make,
        )
        index = _without(index, masks.skipped)
    stores = (images,) if masks is None else (images, masks)
    content = data_hash(*stores)
    if scaling != "range":
        content = digest([content, scaling])
    skipped = (*faults, *(item for store in stores for item in store.skipped))
    boxes = None
    if needs_boxes:
        boxes = box_store(dataset, index, Path(root), size, on_error=on_error, progress=progress)
        index = _without(index, boxes.skipped)
        skipped += boxes.skipped
        content = digest([content, boxes.data_hash()])
    return Prepared(
        dataset, Path(root), index, images, masks, content, skipped, size, workers, boxes
    )


def _without(index: pd.DataFrame, skipped: tuple[Skipped, ...]) -> pd.DataFrame:
    left = index[~index["image_id"].isin({item.id for item in skipped})].reset_index(drop=True)
    if left.empty:
        raise DataError(
            f"no image is left: {len(skipped)} were skipped{_example(skipped)}",
            "Check the download.",
        )
    return left


def _example(skipped: tuple[Skipped, ...]) -> str:
    return f", e.g. {skipped[0].path}: {skipped[0].reason}" if skipped else ""
