"""Findings that every dataset's `validate` shares: counts against the published ones, missing
files, the demo's own counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult
from bench.core.errors import DataError
from bench.data.notes import notes

if TYPE_CHECKING:
    import pandas as pd


def count_results(
    found: Mapping[str, int], expected: Mapping[str, int], source: str
) -> list[CheckResult]:
    """Compare counts: ok where equal, an error that names both where not."""
    results = []
    for name, count in expected.items():
        if found.get(name) == count:
            results.append(CheckResult("ok", f"{name}: {count}, as {source}."))
        else:
            results.append(
                CheckResult(
                    "error", f"{name}: {found.get(name, 0)} found, {count} expected ({source})."
                )
            )
    return results


def compare(
    root: Path,
    found: Mapping[str, int],
    published: Mapping[str, int],
    source: str = "published",
    *,
    partly: bool = False,
) -> list[CheckResult]:
    """Compare the counts of a folder with the published ones (`source` says where or of what), or a
    demo's with its own; with `partly` only those that were found."""
    demo = demo_counts(root)
    expected = demo or published
    if partly:
        expected = {name: count for name, count in expected.items() if name in found}
    return count_results(found, expected, "stated in DEMO.json" if demo else source)


def demo_counts(root: Path) -> dict[str, int]:
    """Return the counts that DEMO.json states (key `counts`), or {} for real data."""
    from bench.data.roots import DEMO_MARK, is_demo, read_demo_card

    if not is_demo(root):
        return {}
    counts = read_demo_card(root).get("counts", {})
    if not isinstance(counts, dict):
        raise DataError(f"file {root / DEMO_MARK} has no object 'counts'.", "Make the demo again.")
    return dict(counts)


def dropped_results(index: pd.DataFrame) -> list[CheckResult]:
    """Say what an index leaves out by intent, and what of tables and files has no counterpart."""
    noted = notes(index)
    left_out = noted.left_out.items()
    unmatched = noted.unmatched.items()
    return [
        *(CheckResult("ok", f"{count} {name} are left out.") for name, count in left_out if count),
        *(CheckResult("warning", f"{count} {name}.") for name, count in unmatched if count),
    ]


def file_results(root: Path, paths: Iterable[str], how_to_get: str) -> list[CheckResult]:
    """Say which files of an index are not on disk, lie outside its folder, or hold another type of
    image than their name says (the content decides how they are read)."""
    from bench.data.tree import Tree

    tree = Tree(root)
    gone: list[str] = []
    outside: list[str] = []
    renamed: list[str] = []
    for path in dict.fromkeys(paths):
        try:
            there = tree.find(path)
        except DataError as error:
            outside.append(error.args[0])
            continue
        if not tree.is_file(there):
            gone.append(path)
        elif not _has_type_of_name(root / there):
            renamed.append(path)
    results = [CheckResult("error", f"{len(outside)} files, e.g. {outside[0]}")] if outside else []
    if gone:
        named = ", ".join(str(root / path) for path in gone[:3])
        message = f"{len(gone)} files are missing, e.g. {named}. How to get them: {how_to_get}"
        results.append(CheckResult("error", message))
    if renamed:
        named = ", ".join(str(root / path) for path in renamed[:3])
        message = (
            f"{len(renamed)} files hold another type of image than their name says, e.g. {named}; "
            "they are read by their content."
        )
        results.append(CheckResult("warning", message))
    return results or [CheckResult("ok", "every file of the index is there.")]


def _has_type_of_name(path: Path) -> bool:
    """Say whether the first bytes of an image file are those of the type in its name."""
    with path.open("rb") as file:
        start = file.read(132)
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        return start[:2] == b"\xff\xd8"
    if suffix == ".png":
        return start[:8] == b"\x89PNG\r\n\x1a\n"
    return suffix not in (".dcm", ".dicom") or start[128:] == b"DICM"
