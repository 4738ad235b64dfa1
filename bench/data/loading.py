"""From a dataset's folder to decoded subsets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.contracts import (
    Annotation,
    Dataset,
    OnError,
    Progress,
    Scaling,
    Skipped,
    Source,
    Stored,
    Subset,
)
from bench.core.errors import DataError, NotMadeError
from bench.core.hashing import digest
from bench.data.cache import Item, Store, begun, data_hash, open_store
from bench.data.images import RECIPE_VERSION, Interpolation, decode_image, resize_pad
from bench.data.indexing import naming, read_index

if TYPE_CHECKING:
    import pandas as pd


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
        """Return the image in a file, grey uint8 [size, size]."""
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


@dataclass(frozen=True)
class Prepared:
    """One dataset decoded at one size: its index without the skipped images, its images, and the
    annotations that were asked for.

    `data_hash` is of the images, and names the kept features of frozen encoders; `content_hash` is
    of all that was read, annotations included.
    """

    dataset: Dataset
    root: Path
    index: pd.DataFrame
    image_store: Store
    annotations: Sequence[tuple[Annotation[Any], Stored[Any]]]
    data_hash: str
    content_hash: str
    skipped: tuple[Skipped, ...]

    def subset(self, rows: pd.DataFrame) -> Subset:
        """Return the decoded images of `rows` with their annotations; skipped images are left out.

        `rows` may repeat an image, and may carry other private columns than the index (a published
        split that scatters the masks of an image): such an annotation is made now.
        """
        left_out = rows["image_id"].isin({item.id for item in self.skipped})
        rows = rows[~left_out].reset_index(drop=True)
        positions = self._image_positions(rows)
        values = {type(kind): self._values(kind, stored, rows) for kind, stored in self.annotations}
        return Subset(rows, positions, self.image_store.pixels, values)

    def _values(self, annotation: Annotation[Any], stored: Stored[Any], rows: pd.DataFrame) -> Any:
        """Return what an annotation holds for `rows`; raise DataError where an array is of another
        length."""
        with naming(self.dataset, "of", annotation):
            values = stored.of(rows)
        if isinstance(values, np.ndarray) and values.shape[:1] != (len(rows),):
            raise DataError(
                f"annotation '{annotation.name}' of dataset '{self.dataset.name}' has shape "
                f"{list(values.shape)} for {len(rows)} rows.",
                f"Return [{len(rows)}, ...], in the order of the rows.",
            )
        return values

    def _image_positions(self, rows: pd.DataFrame) -> np.ndarray:
        slots = dict(zip(self.image_store.ids, self.image_store.positions.tolist(), strict=True))
        unknown = [image for image in rows["image_id"] if image not in slots]
        if unknown:
            raise DataError(
                f"{len(unknown)} images of a split are not in the data, e.g. '{unknown[0]}'.",
                "Make the split again.",
            )
        return np.array([slots[image] for image in rows["image_id"]], np.int64)

    def digests(self) -> dict[str, str]:
        """Return the digest of every image's content, by id."""
        return dict(zip(self.image_store.ids, self.image_store.digests, strict=True))


def prepare(
    dataset: Dataset,
    root: Path,
    *,
    size: int,
    annotations: Sequence[Annotation[Any]] = (),
    on_error: OnError = "stop",
    workers: int = 2,
    progress: Progress | None = None,
    index: pd.DataFrame | None = None,
    make: bool = True,
    scaling: Scaling = "range",
) -> Prepared:
    """Read the index of `dataset` (unless given), decode its images and prepare `annotations`.

    With `on_error="skip"` what is at fault (a row, a report, an image, an annotation) is listed in
    `skipped` and left out of the index, which keeps the rest usable. Without `make` NotMadeError is
    raised where something is not decoded yet. `scaling` is how image files become 8 bits: another
    one than "range" is another cache and another data hash.
    """
    if not make and not begun(_store_name(root, size)):  # before a large index is read
        raise NotMadeError("its images are decoded first")
    skipped: tuple[Skipped, ...] = ()
    if index is None:
        index, skipped = read_index(dataset, root, on_error, progress)
    for annotation in annotations:
        annotation.check(dataset, index)
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
    skipped += images.skipped
    prepared: list[tuple[Annotation[Any], Stored[Any]]] = []
    for annotation in annotations:
        source = Source(dataset, index, Path(root), size, workers, on_error, make, progress)
        with naming(dataset, "prepare", annotation):
            stored = annotation.prepare(source)
        if not isinstance(stored, Stored):
            raise DataError(
                f"annotation '{annotation.name}' prepares {type(stored).__name__}.",
                "Return a bench.contracts.Stored, such as bench.data.annotations.PerImage.",
            )
        index = _without(index, stored.skipped)
        skipped += tuple(stored.skipped)
        prepared.append((annotation, stored))
    named = [stored for annotation, stored in prepared if annotation.keys_features]
    others = [stored for annotation, stored in prepared if not annotation.keys_features]
    features = _hash_pixels(images, named, scaling)
    for stored in named:
        features = _hash_with(features, stored.content(index))
    content = features
    for stored in others:
        caches = (data_hash(*stored.caches),) if stored.caches else ()
        content = _hash_with(content, (*caches, *stored.content(index)))
    return Prepared(dataset, Path(root), index, images, prepared, features, content, skipped)


def _hash_pixels(images: Store, annotations: Iterable[Stored[Any]], scaling: Scaling) -> str:
    """Return a hash of images, and of the caches of `annotations` with them."""
    caches = (cache for stored in annotations for cache in stored.caches)
    pixels = data_hash(images, *caches)
    return pixels if scaling == "range" else digest([pixels, scaling])


def _hash_with(before: str, content: tuple[Any, ...]) -> str:
    """Return the hash `before` with more content; where there is none, as it is."""
    return digest([before, *content]) if content else before


def _without(index: pd.DataFrame, skipped: Sequence[Skipped]) -> pd.DataFrame:
    left = index[~index["image_id"].isin({item.id for item in skipped})].reset_index(drop=True)
    if left.empty:
        raise DataError(
            f"no image is left: {len(skipped)} were skipped{_example(skipped)}",
            "Check the download.",
        )
    return left


def _example(skipped: Sequence[Skipped]) -> str:
    return f", e.g. {skipped[0].path}: {skipped[0].reason}" if skipped else ""
