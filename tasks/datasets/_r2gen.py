"""The annotation file of R2Gen's releases: IU X-Ray (two views a study) and MIMIC-CXR (one)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DataError

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
    an entry without a field, or an id that stands twice.
    """
    import pandas as pd

    rows = [row for split, entry in _entries(path) for row in _rows(entry, split, path, images)]
    if not rows:
        raise DataError(f"annotation {path} has no entries.", "Download it again.")
    table = pd.DataFrame(rows)
    twice = table[table.duplicated("path", keep=False)]
    if len(twice):
        raise DataError(
            f"annotation {path}: image '{twice['path'].iloc[0]}' stands twice.",
            "Download it again.",
        )
    return table


def _entries(path: Path) -> list[tuple[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [(split, entry) for split in SPLITS for entry in content[split]]
    except (OSError, ValueError) as error:
        raise DataError(
            f"annotation {path} cannot be read: {error}.", "Download it again."
        ) from error
    except (KeyError, TypeError) as error:
        raise DataError(
            f"annotation {path} lacks the list {error}.", f"Expected: {', '.join(SPLITS)}."
        ) from error


def _rows(entry: Any, split: str, path: Path, images: str) -> list[dict[str, str | int]]:
    try:
        name, report, files = str(entry["id"]), entry["report"], entry["image_path"]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"annotation {path}: an entry of '{split}' lacks {error}.",
            "Expected id, report, image_path.",
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
        "study_id": str(entry.get("study_id", name)),
        "patient_id": str(entry.get("subject_id", name.partition("_")[0])),
    }
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
