"""Evaluation sets of images with one finding and no other: the same number per class (CheXpert
5x200 and its relatives)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.contracts import CheckResult
from bench.core.errors import DataError
from bench.data.faults import fault
from tasks.labelling import observations

if TYPE_CHECKING:
    import pandas as pd

FIVE = observations.FIVE
EIGHT = (
    "Atelectasis",
    "Cardiomegaly",
    "Edema",
    "Fracture",
    "No Finding",
    "Pleural Effusion",
    "Pneumonia",
    "Pneumothorax",
)
PER_CLASS = 200
SEED = 0


def only(index: pd.DataFrame, name: str, names: Sequence[str]) -> pd.Series:
    """Say which rows have finding `name` and none of the other `names`, uncertain ones included.

    `No Finding` is looked at only where it is the class itself, as GLoRIA and MGCA do.
    """
    others = [f"label:{other}" for other in names if other not in (name, "No Finding")]
    return (index[f"label:{name}"] == 1) & (index[others].fillna(0) == 0).all(axis=1)


def draw(index: pd.DataFrame, classes: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """Return 200 rows of every class, drawn with seed 0 from the rows in their order (MGCA's
    membership), class after class.

    Where a class has fewer, every class gets as many as the smallest has. Raise DataError where one
    has none.
    """
    import pandas as pd

    rows = {name: index[only(index, name, names)] for name in classes}
    empty = [name for name, members in rows.items() if members.empty]
    if empty:
        raise DataError(f"no image has {empty[0]} and no other finding.", "Check the label table.")
    count = min(PER_CLASS, *(len(members) for members in rows.values()))
    return pd.concat([members.sample(n=count, random_state=SEED) for members in rows.values()])


def listed(index: pd.DataFrame, wanted: Sequence[str], path: Path) -> pd.DataFrame:
    """Return the rows of the images `wanted` (ids) in the order of the list `path`; one that is not
    in the dataset is a fault. Raise DataError for an image that occurs twice."""
    ids = set(index["image_id"])
    gone = [image for image in wanted if image not in ids]
    for image in gone:
        message = (
            f"{len(gone)} of {len(wanted)} images of {path} are not in the dataset, e.g. '{image}'."
        )
        fault(DataError(message, "Mend the list, or use --on-error skip."), image, path)
    if len(set(wanted)) < len(wanted):
        raise DataError(f"list {path} names an image twice.", "Remove the duplicates.")
    return index.set_index("image_id", drop=False).loc[[name for name in wanted if name in ids]]


def as_test_set(rows: pd.DataFrame, classes: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """Return rows as a test set labelled 0/1 by exclusive classes; a row that has not exactly one
    of them is a fault."""
    values = {
        f"label:{name}": (rows[f"label:{name}"] == 1).astype(float).to_numpy() for name in classes
    }
    bare = (
        rows.drop(columns=[f"label:{name}" for name in names])
        .assign(split="test", **values)
        .reset_index(drop=True)
    )
    for image in bare.loc[bare[list(values)].sum(axis=1) != 1, "image_id"]:
        message = f"image '{image}' does not have exactly one of {', '.join(classes)}."
        fault(DataError(message, "Mend the list, or use --on-error skip."), image)
    return bare


def class_results(index: pd.DataFrame, classes: Sequence[str], *, demo: bool) -> list[CheckResult]:
    """Compare the number of images per class with 200 (a demo has fewer), and say how many have a
    report."""
    counts = {name: int(index[f"label:{name}"].sum()) for name in classes}
    spread = ", ".join(f"{name} {count}" for name, count in counts.items())
    level: Literal["ok", "error"] = "ok" if demo or set(counts.values()) == {PER_CLASS} else "error"
    results = [CheckResult(level, f"{len(classes)} x {PER_CLASS} images expected, found {spread}.")]
    told = int((index["report"] != "").sum())
    results.append(
        CheckResult(
            "ok" if told == len(index) else "warning",
            f"{told} of {len(index)} images have a report.",
        )
    )
    return results
