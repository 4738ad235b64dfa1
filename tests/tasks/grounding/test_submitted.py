"""Maps that were made elsewhere are scored as those of a run, digit for digit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.contracts import EVERY, REGION_SIDE, CellContext, Submission, Subset
from bench.core.errors import DataError, SettingError
from tasks.grounding import GroundingKind
from tasks.grounding.fit import Grounder, predict, with_thresholds
from tasks.grounding.pairs import CELLS, Pairs, pairs_of
from tasks.grounding.submitted import UNCUT, read
from tests.support.archives import Arrays, first_is
from tests.tasks.grounding.spots import cell, data

KIND = GroundingKind()


def handed_in(path: Path, **changes: Any) -> Submission:
    parts: dict[str, Any] = {
        name: data(8, seed) for seed, name in enumerate(("train", "val", "test"))
    }
    index = pd.concat([part.index.assign(split=name) for name, part in parts.items()])
    return Submission(path, index, path.parent, **parts, **changes)


def maps_of(subset: Subset, pairs: Pairs, context: CellContext) -> np.ndarray:
    """Return maps that are high, among noise, where the region is."""
    noise = np.random.default_rng(len(pairs)).random((len(pairs), CELLS))
    maps: np.ndarray = (noise + 0.7 * pairs.inside).astype(np.float32)
    return maps


def archive(subset: Subset, context: CellContext) -> Arrays:
    """Return the same maps as a file holds them."""
    pairs = pairs_of(subset, context.settings)
    maps = maps_of(subset, pairs, context)
    words = [texts[0] for texts in pairs.texts]
    return {
        "maps": maps.reshape(-1, REGION_SIDE, REGION_SIDE),
        "images": subset.index["image_id"].to_numpy(str)[pairs.rows],
        "texts": np.array(pairs.labels if context.settings.target == "label" else words),
    }


@pytest.mark.parametrize("target", ["label", "phrase"])
def test_our_own_maps_give_our_own_numbers(tmp_path: Path, target: str) -> None:
    submission = handed_in(tmp_path / "test.npz", validation=tmp_path / "val.npz")
    context = cell(tmp_path, target=target)
    expected = predict(with_thresholds(maps_of, submission.val, context), submission.test, context)
    for path, subset in (
        (submission.path, submission.test),
        (submission.validation, submission.val),
    ):
        arrays = archive(subset, context)
        order = np.argsort(arrays["maps"][:, 0, 0])
        np.savez(str(path), **{name: array[order] for name, array in arrays.items()})
    again = read(submission, context)
    pd.testing.assert_frame_equal(again.table, expected.table, check_exact=True)
    assert again.extra == expected.extra
    np.testing.assert_array_equal(again.arrays["maps"], expected.arrays["maps"])


def test_without_a_threshold_maps_are_not_cut(tmp_path: Path) -> None:
    submission = handed_in(tmp_path / "test.npz")
    context = cell(tmp_path)
    np.savez(submission.path, **archive(submission.test, context))
    uncut = read(submission, context)
    assert uncut.extra["undecided"] == UNCUT
    names = KIND.statistics(uncut, context.task).keys()
    stated = replace(submission, thresholds={EVERY: 0.6})
    cut = KIND.statistics(read(stated, context), context.task)
    assert {name.partition(":")[0] for name in cut.keys() - names} == {"dice", "iou"}
    assert "pointing" in names
    expected = predict(Grounder(maps_of, {"": 0.6}), submission.test, context)
    pd.testing.assert_frame_equal(read(stated, context).table, expected.table)
    with pytest.raises(SettingError, match="names 'c'"):
        read(replace(submission, thresholds={"c": 0.6}), context)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (first_is("maps", np.inf), "a map of image 'i2_0' holds a value that is not finite"),
        (first_is("images", "i0_0"), "'i0_0', which is in the training split"),
        (first_is("images", "no"), "'no', which is not in the dataset"),
        (first_is("texts", "c"), "lacks 1 of 7 maps, e.g. of image 'i2_0' and a"),
        (lambda a: {name: array[1:] for name, array in a.items()}, "lacks 1 of the 7 images"),
        (
            lambda a: {name: np.concatenate([array, array[:1]]) for name, array in a.items()},
            "two maps of one text of image 'i2_0'",
        ),
        (lambda a: {**a, "maps": a["maps"][:, :8, :8]}, "shape [7, 8, 8]"),
        (lambda a: {**a, "images": a["images"][1:]}, "6 images and 7 texts"),
    ],
)
def test_what_is_wrong_with_an_archive_is_one_sentence(
    tmp_path: Path, change: Callable[[Arrays], Arrays], said: str
) -> None:
    submission = handed_in(tmp_path / "test.npz")
    context = cell(tmp_path)
    np.savez(submission.path, **change(archive(submission.test, context)))
    with pytest.raises(DataError) as caught:
        read(submission, context)
    assert said in str(caught.value)
