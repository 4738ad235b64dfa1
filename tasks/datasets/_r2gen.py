"""The annotation file of R2Gen's releases: IU X-Ray (two views a study) and MIMIC-CXR (one)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import DataError
from bench.data.faults import fault
from bench.data.text import read_json

if TYPE_CHECKING:
    import pandas as pd

ANNOTATION = "annotation.json"
SPLITS = ("train", "val", "test")


def read_index(root: Path, *, image_is_study: bool = False) -> pd.DataFrame:
    """Return the index of a release: one row per image, the entry's text as `findings`.

    With `image_is_study` every image is a study of its own, as R2Gen trains and scores MIMIC-CXR.
    Raises as `read_annotation`.
    """
    from tasks.datasets._reports import report_columns

    table = read_annotation(root / ANNOTATION)
    image = table["entry"] + "_" + table["number"].astype(str)
    texts = report_columns([""] * len(table), table["report"])
    study = image if image_is_study else table["study_id"]
    return table[["patient_id", "path", "split"]].assign(
        image_id=image, study_id=study, view="", **texts
    )


def read_annotation(path: Path, images: str = "images") -> pd.DataFrame:
    """Return one row per image: `study_id`, `patient_id`, `number` (of the image in its study),
    `path`, `split`, `report`.

    `path` is relative to the folder of the file, under `images`. A study is known by `study_id`
    where the file has one (MIMIC-CXR), else by `id`; the patient by `subject_id`, else by the part
    of the id before "_" (IU X-Ray). Raise DataError naming the file for JSON that does not parse,
    an entry without a field, or an id that occurs twice.
    """
    import pandas as pd

    rows: list[dict[str, str | int]] = []
    for split, number, entry in _entries(path):
        try:
            rows += _rows(entry, f"entry {number} of '{split}'", split, path, images)
        except DataError as error:
            fault(error, path=path)
    if not rows:
        raise DataError(f"annotation {path} has no entries.", "Download it again.")
    table = pd.DataFrame(rows)
    twice = table.duplicated("path", keep=False)
    for image in table.loc[twice, "path"].unique():
        message = f"annotation {path}: image '{image}' occurs twice."
        fault(DataError(message, "Download it again."), image, path)
    return table[~twice].reset_index(drop=True)


def _entries(path: Path) -> Iterator[tuple[str, int, Any]]:
    """Yield every entry with its split and its number there, from 0."""
    content = read_json(path)
    for split in SPLITS:
        entries = content.get(split) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise DataError(
                f"annotation {path} lacks the list '{split}'.", f"Expected: {', '.join(SPLITS)}."
            )
        for number, entry in enumerate(entries):
            yield split, number, entry


def _rows(
    entry: Any, where: str, split: str, path: Path, images: str
) -> list[dict[str, str | int]]:
    try:
        name = str(entry["id"])
        report = entry["report"]
        files = entry["image_path"]
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"annotation {path}: {where} lacks {error}.", "Expected id, report, image_path."
        ) from error
    if (
        not isinstance(report, str)
        or not isinstance(files, list)
        or not all(isinstance(file, str) for file in files)
    ):
        raise DataError(
            f"annotation {path}: entry '{name}' has no text or no list of images.",
            "Download it again.",
        )
    facts = {
        "study_id": _text(entry.get("study_id", name)),
        "patient_id": _text(entry.get("subject_id", name.partition("_")[0])),
    }
    if not (name.strip() and all(facts.values()) and files):
        raise DataError(
            f"annotation {path}: {where} has a blank id or no image.", "Download it again."
        )
    return [
        {
            **facts,
            "entry": name,
            "number": number,
            "path": f"{images}/{file}",
            "split": split,
            "report": report,
        }
        for number, file in enumerate(files)
    ]


def _text(value: Any) -> str:
    """Return an id as text, "" where it is blank or null."""
    return "" if value is None else str(value).strip()
