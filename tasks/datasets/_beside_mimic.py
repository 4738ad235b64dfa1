"""What releases share whose images are those of MIMIC-CXR: where it and they lie, and one row per
image of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.contracts import CheckResult
from bench.core.errors import DataError
from bench.data.notes import notes
from tasks.datasets._checks import compare, dropped_results, file_results
from tasks.datasets._rendered import Rendered
from tasks.datasets.mimic_cxr import TABLE, MimicCxr

if TYPE_CHECKING:
    import pandas as pd


class BesideMimic(Rendered):
    """Images of MIMIC-CXR with regions from a release of their own."""

    folders = ("mimic_cxr", *MimicCxr.folders)
    label_names = MimicCxr.label_names
    has_regions = True
    published_counts: ClassVar[Mapping[str, int]]
    """What the release holds, by the names that `index` notes as facts."""

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the tables with the published counts, or a demo's with its own."""
        return compare(root, notes(index).facts, self.published_counts)

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the counts, say what is dropped, and look for the images."""
        index = self.index(root)
        return [
            *self.counts(index, root),
            *dropped_results(index),
            *file_results(root, index["path"], self.how_to_get),
        ]


def find_home(root: Path, patterns: Sequence[str], tables: Sequence[str], how_to_get: str) -> str:
    """Return the folder, relative to `root`, that holds one of `tables`: `root` itself ("") or one
    that a pattern names, e.g. "egd*"; raise DataError where none does."""
    home = _home(root, patterns, tables)
    if home is None:
        raise DataError(
            f"no file {' nor '.join(tables)} is in {root} or in a folder "
            f"{' or '.join(patterns)} of it.",
            f"How to get it: {how_to_get}",
        )
    return home


def find_mimic(root: Path, how_to_get: str) -> str:
    """Return the folder of MIMIC-CXR-JPG relative to `root` ("" for `root` itself); raise DataError
    where there is none."""
    table = TABLE.format("metadata")
    home = _home(root, BesideMimic.folders, [table])
    if home is None:
        listed = ", ".join(f"{name}/" for name in BesideMimic.folders)
        raise DataError(
            f"MIMIC-CXR, whose images these are, is not in {root} (looked for {table} there "
            f"and in {listed}).",
            f"How to get it: {how_to_get}",
        )
    return home


def _home(root: Path, patterns: Sequence[str], tables: Sequence[str]) -> str | None:
    from bench.data.tables import find_file

    folders = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    for folder in (root, *folders):
        if folder.is_dir() and find_file(folder, *tables) is not None:
            return "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    return None


def join_mimic(
    table: pd.DataFrame, path: Path, root: Path, how_to_get: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return one row per image of `table` (column dicom_id) with what MIMIC-CXR says of it, its
    path relative to `root`, its height and width, and its CheXpert labels; and what of MIMIC-CXR's
    tables has no counterpart.

    A dicom_id that MIMIC-CXR lacks is a fault of that image.
    """
    from bench.data.boxes import image_shapes
    from bench.data.tables import check_rows, find_table
    from tasks.datasets.mimic_cxr import read_images, with_labels

    prefix = find_mimic(root, how_to_get)
    home = root / prefix
    images = read_images(home)
    tables = [find_table(home, TABLE.format(what)) for what in ("metadata", "split")]
    names = " and ".join(each.name for each in tables)
    lacking = ~table["dicom_id"].isin(images["image_id"])
    table = check_rows(
        table,
        lacking,
        path,
        lambda row: f"dicom_id '{row['dicom_id']}' is not in MIMIC-CXR ({names} in {home})",
        "Complete MIMIC-CXR, or use --on-error skip.",
        key="dicom_id",
    )
    rows = images[images["image_id"].isin(table["dicom_id"])].reset_index(drop=True)
    unmatched = notes(images).unmatched
    rows, unlabelled = with_labels(rows, home, MimicCxr.label_names)
    rows = rows.assign(path=on_disk(root, prefix + rows["path"]))
    shapes = image_shapes(rows, root)
    heights, widths = ([float(shape[side]) for shape in shapes] for side in (0, 1))
    return rows.assign(height=heights, width=widths), {**unmatched, **unlabelled}


def on_disk(root: Path, paths: Iterable[str]) -> list[str]:
    """Return paths with their extension as it is on disk; what leads out of `root` stays as it is,
    for the check of the index to say so."""
    from bench.data.tree import Tree

    tree = Tree(root)
    located = []
    for path in paths:
        try:
            located.append(tree.find(path))
        except DataError:
            located.append(path)
    return located
