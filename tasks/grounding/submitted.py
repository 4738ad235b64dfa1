"""Maps that were made elsewhere: from an archive to what a run keeps of its maps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from bench.contracts import EVERY, REGION_SIDE, CellContext, Predictions, Submission, Subset
from bench.core.errors import DataError
from bench.data.submissions import check_ids, read_arrays
from tasks.grounding.fit import ANY, Grounder, predict, with_thresholds
from tasks.grounding.pairs import CELLS, Pairs, each_asked
from tasks.grounding.settings import GroundingSettings

ARRAYS = ("maps", "images", "texts")
UNCUT = (
    "no threshold was stated and no validation file given: dice and iou, which need one, are not "
    "measured"
)


def read(submission: Submission, context: CellContext) -> Predictions:
    """Return what is kept of the maps of the test images.

    `images[p]` was asked `texts[p]` (a label by its name, else the phrase or sentence) and answered
    `maps[p]`, on the cells of the padded square. Where maps are cut is the stated threshold, or
    chosen on the validation file as a run chooses it.
    """
    stated = submission.thresholds
    thresholds: Mapping[str, float] = {}
    if submission.validation:
        of_validation = partial(_maps, submission.validation, submission, "val")
        thresholds = with_thresholds(of_validation, submission.val, context).thresholds
    elif stated:
        asked = each_asked(submission.test, context.settings)
        submission.thresholds_of(tuple(dict.fromkeys(each.label for each in asked)))
        thresholds = {label if label != EVERY else ANY: value for label, value in stated.items()}
    of_test = partial(_maps, submission.path, submission, "test")
    predictions = predict(Grounder(of_test, thresholds), submission.test, context)
    if thresholds:
        return predictions
    context.progress.say(f"{context.task.name}: {UNCUT}.")
    table = predictions.table
    uncut = [name for name in table if str(name).startswith(("dice:", "iou:"))]
    return Predictions(
        table.drop(columns=uncut), predictions.arrays, {**predictions.extra, "undecided": UNCUT}
    )


def _maps(
    path: Path,
    submission: Submission,
    split: str,
    subset: Subset,
    pairs: Pairs,
    context: CellContext,
) -> np.ndarray:
    """Return the maps of a file in the order of what is asked, float32 [P, CELLS]; raise DataError
    where one is missing, or for another image, or of another size."""
    arrays = read_arrays(path, ARRAYS)
    maps = arrays["maps"]
    named = [[str(value) for value in arrays[name].reshape(-1)] for name in ARRAYS[1:]]
    if len(named[0]) != len(named[1]):
        raise DataError(
            f"{path} has {len(named[0])} images and {len(named[1])} texts.",
            "Each map has one of both.",
        )
    given = list(zip(*named, strict=True))
    shape = (len(given), REGION_SIDE, REGION_SIDE)
    if maps.shape != shape or maps.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: maps is an array of {maps.dtype} of shape {list(maps.shape)}.",
            f"Numbers of shape {list(shape)} were expected: one map for each image and text, on "
            f"{REGION_SIDE} x {REGION_SIDE} cells of the padded square.",
        )
    images = subset.index["image_id"].astype(str).tolist()
    wanted = [
        (images[row], _asked(pairs, pair, context.settings))
        for pair, row in enumerate(pairs.rows.tolist())
    ]
    images_given = list(dict.fromkeys(image for image, _ in given))
    check_ids(path, images_given, [image for image, _ in wanted], submission, split=split)
    row_of = {pair: row for row, pair in enumerate(given)}
    if len(row_of) < len(given):
        twice = next(pair for pair in given if given.count(pair) > 1)
        raise DataError(f"{path} holds two maps of one text of image '{twice[0]}'.", "Give one.")
    missing = [pair for pair in wanted if pair not in row_of]
    if missing:
        label = missing[0][1] if context.settings.target == "label" else "a text of its report"
        raise DataError(
            f"{path} lacks {len(missing)} of {len(wanted)} maps, e.g. of image '{missing[0][0]}' "
            f"and {label}.",
            "Every image has a map for each text that it is asked.",
        )
    rows = [row_of[pair] for pair in wanted]
    chosen = maps[rows].reshape(-1, CELLS).astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(chosen).all(axis=1))
    if len(wrong):
        raise DataError(
            f"{path}: a map of image '{wanted[wrong[0]][0]}' holds a value that is not finite.",
            "Finite numbers were expected.",
        )
    return chosen


def _asked(pairs: Pairs, pair: int, settings: GroundingSettings) -> str:
    """Return what names the text of a pair: its label, else the words."""
    return pairs.labels[pair] if settings.target == "label" else pairs.texts[pair][0]
