"""Masks of a dataset, on the padded square its images are cached on."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.contracts import Dataset, OnError, Progress
from bench.core.errors import DataError
from bench.data.cache import Item, Store, open_store
from bench.data.headers import read_shape
from bench.data.images import RECIPE_VERSION, resize_pad_mask

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

PATH_COLUMNS = ("path", "mask_paths", "region_paths")
"""Columns that name files: what these hold counts, not where they lie."""
POSITIONS = ("line", "lines", "csv_rows")
"""Private columns that say where in its file a row, or each of its annotations (a tuple), stands.
They are no content: the rows of a table may come in any order."""


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
    items = mask_items(index, root)

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
        "version": dataset.version,
        "classes": list(dataset.mask_classes),
    }
    name = f"{Path(root).resolve().name}-masks-{size}"
    shape = (len(dataset.mask_classes), size, size)
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


def mask_items(index: pd.DataFrame, root: Path) -> list[Item]:
    """Return what the masks (or boxes) of every row are made from."""
    home = os.path.realpath(root)
    contents = private_contents(index)
    files = index["mask_paths"] if "mask_paths" in index else [()] * len(index)
    items = []
    columns = (index["image_id"].tolist(), index["path"].tolist(), files, contents)
    for image, path, masks, extra in zip(*columns, strict=True):
        paths = tuple(f"{home}/{file}" for file in (path, *masks))
        items.append(Item(str(image), paths, extra))
    return items


def private_contents(index: pd.DataFrame) -> Iterator[bytes]:
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
    return column in PUBLIC_COLUMNS or column.startswith("label:") or column in PATH_COLUMNS


def _checked(
    dataset: Dataset, mask: np.ndarray, image: Path, stored: Mapping[str, str]
) -> np.ndarray:
    """Return the mask; raise DataError where it has not one layer per class, or is of another size
    than `image` (`stored`)."""
    if mask.ndim != 3 or len(mask) != len(dataset.mask_classes):
        message = f"masks of dataset '{dataset.name}' have shape {list(mask.shape)}."
        raise DataError(message, f"Return [{len(dataset.mask_classes)}, H, W], one per class.")
    height, width = mask.shape[1:]
    if not stored["height"]:  # the header does not read: decoding the image says so
        return mask
    if (stored["height"], stored["width"]) != (str(height), str(width)):
        raise DataError(
            f"dataset '{dataset.name}': the mask of {image} has {width} x {height} px, "
            f"the image {stored['width']} x {stored['height']}.",
            "Return masks in the pixel grid of the image file; or leave such images out with "
            "--on-error skip.",
        )
    return mask
