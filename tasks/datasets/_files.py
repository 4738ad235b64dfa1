"""Find the image files of a table in their folders."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import DataError
from bench.data.faults import fault
from bench.data.notes import note

if TYPE_CHECKING:
    import pandas as pd

UNLISTED = "images on disk without a row in the table"
UNLISTED_PATIENTS = "patients on disk without a row in the table"


def scan(root: Path, folders: Sequence[str], suffix: str) -> dict[str, str]:
    """Return file name -> path relative to `root` of every file ending in `suffix`, in small or
    capital letters, under the folders and their folders; in the name they are small.

    Hidden files of a system are not counted. Raise DataError where a name stands in two places.
    """
    from bench.data.text import is_hidden
    from bench.data.tree import plain_suffix

    files: dict[str, str] = {}
    for top in folders:
        for folder, inner, names in os.walk(root / top):
            inner[:] = [name for name in inner if not is_hidden(name)]
            for name in names:
                plain = plain_suffix(name)
                if not plain.endswith(suffix) or is_hidden(name):
                    continue
                path = f"{folder}/{name}".removeprefix(f"{root}/")
                if plain in files:
                    raise DataError(
                        f"image {root / path} also is {root / files[plain]}.",
                        "Remove one of the two.",
                    )
                files[plain] = path
    return files


def locate(
    images: pd.DataFrame,
    names: Sequence[str],
    files: Mapping[str, str],
    *,
    table: Path,
    folder: Path,
    how_to_get: str,
) -> pd.DataFrame:
    """Return `images` with the `path` of each: that of its file name in `names`.

    Raise DataError with the count and the first image that has no file; where faults are skipped
    each is listed and left out. The notes (`unmatched`) count the files that no
    image has.
    """
    from bench.data.tree import plain_suffix

    plain = [plain_suffix(name) for name in names]
    there = [name in files for name in plain]
    for image, name in zip(images["image_id"], plain, strict=True):
        if name not in files:
            message = (
                f"{there.count(False)} of {len(there)} images of {table} have no file under "
                f"{folder}, e.g. '{name}' ({len(files)} files lie there)."
            )
            fault(DataError(message, f"How to get them: {how_to_get}"), image, folder)
    located = images[there].assign(path=[files[name] for name in plain if name in files])
    note(located, unmatched={UNLISTED: len(set(files) - set(plain))})
    return located
