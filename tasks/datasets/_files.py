"""Find the image files of a table in their folders."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import DataError


def scan(root: Path, folders: Sequence[str], suffix: str) -> dict[str, str]:
    """Return file name -> path relative to `root` of every file ending in `suffix` under the
    folders (and their folders).

    Raise DataError where a name stands in two places.
    """
    found: dict[str, str] = {}
    for top in folders:
        for folder, _, names in os.walk(root / top):
            for name in names:
                if name.endswith(suffix):
                    path = f"{folder}/{name}".removeprefix(f"{root}/")
                    if name in found:
                        raise DataError(
                            f"image {root / path} also is {root / found[name]}.",
                            "Remove one of the two.",
                        )
                    found[name] = path
    return found


def locate(
    names: Sequence[str], files: Mapping[str, str], table: Path, folder: Path, how_to_get: str
) -> list[str]:
    """Return the path of every file name of a table; raise DataError with the count and the first
    that has no file."""
    missing = [name for name in names if name not in files]
    if missing:
        message = (
            f"{len(missing)} of {len(names)} images of {table} have no file under {folder}, e.g. "
            f"'{missing[0]}'."
        )
        raise DataError(message, f"How to get them: {how_to_get}")
    return [files[name] for name in names]
