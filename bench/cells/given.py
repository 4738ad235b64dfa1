"""What a kind of task gives: predictions of the test images, and values of its metrics. It is
checked before anything of it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contracts import Predictions, Subset, TaskKind
from bench.core.declaring import is_built_in
from bench.core.errors import PlaceBenchError

if TYPE_CHECKING:
    import numpy as np


def check_predictions(kind: TaskKind, predictions: Predictions, test: Subset) -> None:
    """Raise PlaceBenchError where the table of predictions lacks a column, holds an image twice,
    one that is not in the test subset or another patient.

    A `predict` from outside the project also gives every image in the order of the subset, or says
    in `extra["left_out"]` how many it leaves out, and its arrays have as many entries.
    """
    title = f"task kind '{kind.name}'"
    table = predictions.table
    missing = [name for name in ("image_id", "patient_id") if name not in table]
    if missing:
        raise PlaceBenchError(
            f"the predictions of {title} lack the column {missing[0]}.",
            "Take both from the index of the test subset.",
        )
    images = table["image_id"].astype(str).tolist()
    patients = dict(
        zip(test.index["image_id"].astype(str), test.index["patient_id"].astype(str), strict=True)
    )
    if not images:
        raise PlaceBenchError(f"the predictions of {title} are empty.", "Give a row per image.")
    twice = table["image_id"].duplicated()
    # a published split may hold an image several times
    if twice.any() and not test.index["image_id"].duplicated().any():
        first = table.loc[twice, "image_id"].iloc[0]
        raise PlaceBenchError(
            f"the predictions of {title} hold image '{first}' twice.", "Give a row per image."
        )
    for image, patient in zip(images, table["patient_id"].astype(str), strict=True):
        if image not in patients:
            raise PlaceBenchError(
                f"the predictions of {title} hold image '{image}', which is not in the test split.",
                "Take image_id from the index of the test subset.",
            )
        if patients[image] != patient:
            raise PlaceBenchError(
                f"the predictions of {title} give image '{image}' the patient '{patient}', whose "
                f"patient is '{patients[image]}'.",
                "Keep the rows in the order of the test subset.",
            )
    if is_built_in(type(kind).predict):  # that of reports keeps arrays of word groups, not of rows
        return
    _check_order(title, images, test, int(predictions.extra.get("left_out", 0)))
    for name, values in predictions.arrays.items():
        if len(values) != len(table):
            raise PlaceBenchError(
                f"the predictions of {title} have {len(table)} rows and {len(values)} entries of "
                f"the array '{name}'.",
                "Arrays are aligned with the table.",
            )


def _check_order(title: str, images: list[str], test: Subset, left_out: int) -> None:
    present = set(images)
    test_images = test.index["image_id"].astype(str).tolist()
    missing = [image for image in test_images if image not in present]
    if len(missing) != left_out:
        example = (missing or test_images)[0]
        raise PlaceBenchError(
            f"the predictions of {title} lack {len(missing)} of {len(test_images)} test images, "
            f"e.g. '{example}', and its extra['left_out'] is {left_out}.",
            "Give a row per image of the test subset, or count those that are left out.",
        )
    ordered = [image for image in test_images if image in present]
    if images != ordered:
        row = next(row for row, image in enumerate(images) if image != ordered[row])
        raise PlaceBenchError(
            f"row {row} of the predictions of {title} is image '{images[row]}', and "
            f"'{ordered[row]}' in the test subset.",
            "Keep the order of the test subset.",
        )


def check_values(kind: TaskKind, metric: str, values: np.ndarray, resamples: int) -> None:
    """Raise PlaceBenchError where a metric does not give one number per resample."""
    import numpy as np

    shape = np.shape(values)
    if shape != (resamples,) or np.asarray(values).dtype.kind not in "fiub":
        raise PlaceBenchError(
            f"the metric '{metric}' of task kind '{kind.name}' gives an array of shape "
            f"{list(shape)} for weights of {resamples} resamples.",
            f"Return one number per resample, shape [{resamples}].",
        )
