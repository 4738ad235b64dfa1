"""Boxes that were made elsewhere are scored as those of a run, digit for digit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.contracts import EVERY, Predictions, Submission
from bench.core.errors import DataError, SettingError
from bench.data.annotations import Boxes
from tasks.detection import DetectionKind
from tasks.detection.fit import measured
from tasks.detection.metrics import best_confidence
from tasks.detection.submitted import read, write

N = 14
KIND = DetectionKind()


def handed_in(toy: SimpleNamespace, path: Path, **changes: Any) -> Submission:
    parts = {name: toy.squares(N, 2, seed) for seed, name in enumerate(("train", "val", "test"))}
    for part in parts.values():
        part.index["path"] = part.index["image_id"] + ".png"
    index = pd.concat([part.index.assign(split=name) for name, part in parts.items()])
    return Submission(path, index, path.parent, **parts, **changes)


def of_a_run(submission: Submission, context: Any, split: str = "test") -> Predictions:
    """Return what is kept of boxes near the true ones, and of some that are nowhere near."""
    subset = getattr(submission, split)
    rng = np.random.default_rng(1)
    boxes = []
    for row in range(N):
        true = subset.get(Boxes)[row]
        moved = true + rng.normal(0, 2, true.shape) * (np.arange(5) < 4)
        other = [[3.3, 4.7, 20.1, 30.2, 1.0]] * 2
        of_image = np.concatenate([moved, other])
        boxes.append(np.column_stack([of_image, rng.random(len(of_image))]).astype(np.float32))
    facts = {"confidence": 0.4}
    return measured(subset, boxes, ("box", "pit"), facts, context.settings)


def values(predictions: Predictions, toy: SimpleNamespace) -> dict[str, list[float]]:
    weights = np.ones((1, N))
    statistics = KIND.statistics(predictions, toy.task)
    return {name: statistic(weights).tolist() for name, statistic in statistics.items()}


def test_our_own_boxes_give_our_own_numbers(
    toy: SimpleNamespace, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    submission = handed_in(toy, tmp_path / "boxes.json")
    context = make_context()
    expected = of_a_run(submission, context)
    stated = write(expected, {"setting:image_size": toy.size}, submission.path)
    again = read(replace(submission, thresholds=stated), context)
    assert again.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)
    pd.testing.assert_frame_equal(again.table, expected.table)
    assert str(values(again, toy)) == str(values(expected, toy))
    with pytest.raises(DataError, match="is of squares of 64 px"):
        smaller = replace(submission.test, image_store=submission.test.image_store[:, :32, :32])
        read(replace(submission, test=smaller), context)


def entry(image: str, **changes: Any) -> dict[str, Any]:
    plain = {"image_id": image, "category_id": 1, "bbox": [8.0, 4.0, 40.0, 20.0], "score": 0.5}
    return {**plain, **changes}


def save(submission: Submission, *entries: Any) -> None:
    submission.path.write_text(json.dumps(list(entries)))
    for subset in (submission.test, submission.val):
        for file in subset.index["path"]:
            if not (submission.root / file).exists():
                Image.fromarray(np.zeros((64, 128), np.uint8)).save(submission.root / file)


def test_pixels_of_the_image_file_become_those_of_the_square(
    toy: SimpleNamespace, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    submission = handed_in(toy, tmp_path / "boxes.json")
    image = submission.test.index["image_id"][3]
    over_the_edge = entry(image, bbox=[120, 0, 100, 100], category_id="pit", score=0.25)
    save(submission, entry(image), over_the_edge)
    arrays = read(submission, make_context()).arrays
    # 128 x 64 px become 64 x 32, below 16 rows of padding
    assert arrays["corners"][3].tolist() == [[4, 18, 24, 28], [60, 16, 64, 48]]
    assert arrays["classes"][3].tolist() == [0, 1]
    assert arrays["scores"][3].tolist() == [0.5, 0.25]
    assert (arrays["classes"][[0, 1, 2]] == -1).all(), "an image that is not named has no box"


def test_without_a_threshold_nothing_is_said_of_whole_images(
    toy: SimpleNamespace, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    submission = handed_in(toy, tmp_path / "boxes.json")
    context = make_context()
    write(of_a_run(submission, context), {"setting:image_size": toy.size}, submission.path)
    undecided = values(read(submission, context), toy)
    decided = values(read(replace(submission, thresholds={EVERY: 0.3}), context), toy)
    lost = {name.partition(":")[0] for name in decided.keys() - undecided.keys()}
    assert lost == {"image_sensitivity", "image_specificity", "rsna_score"}
    assert str(undecided) == str({name: decided[name] for name in undecided})
    validation = tmp_path / "val.json"
    of_val = of_a_run(submission, context, "val")
    write(of_val, {"setting:image_size": toy.size}, validation)
    chosen = read(replace(submission, validation=validation), context)
    assert chosen.extra["confidence"] == best_confidence(of_val)
    with pytest.raises(SettingError, match="names a class"):
        read(replace(submission, thresholds={"pit": 0.3}), context)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (entry("i1_0"), "'i1_0', which is in the validation split"),
        (entry("nobody"), "'nobody', which is not in the dataset"),
        (entry("i2_0", bbox=[200, 0, 10, 10]), "image 'i2_0': box [200.0, 0.0, 210.0, 10.0] lies"),
        (entry("i2_0", bbox=[5, 5, 0, 10]), "has no area"),
        (entry("i2_0", bbox=[5, 5, 10]), "detection 1: bbox is [5, 5, 10]"),
        (entry("i2_0", bbox=[5, 5, "a", 10]), "detection 1: bbox is [5, 5, 'a', 10]"),
        (entry("i2_0", score=None), "detection 1: score is None"),
        (entry("i2_0", category_id=0), "detection 1: category_id is 0. Classes: 1 box, 2 pit"),
        (entry("i2_0", category_id=[1]), "detection 1: category_id is [1]"),
        ({"image_id": "i2_0"}, "detection 1 lacks category_id"),
        ("i2_0", "detection 1 is no object"),
    ],
)
def test_what_is_wrong_with_a_box_is_one_sentence(
    toy: SimpleNamespace,
    make_context: Callable[..., Any],
    tmp_path: Path,
    wrong: Any,
    said: str,
) -> None:
    submission = handed_in(toy, tmp_path / "boxes.json")
    save(submission, wrong)
    with pytest.raises(DataError) as caught:
        read(submission, make_context())
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'[{"image_id": "a", "score": NaN}]', "NaN is not finite"),
        (b'{"boxes": []}', "holds no list"),
        (b"[", "cannot be read as JSON"),
        ('["\u00fc"]'.encode("latin1"), "is not UTF-8 text"),
    ],
)
def test_what_is_no_list_of_boxes_is_named(
    toy: SimpleNamespace,
    make_context: Callable[..., Any],
    tmp_path: Path,
    content: bytes,
    said: str,
) -> None:
    submission = handed_in(toy, tmp_path / "boxes.json")
    submission.path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(submission, make_context())
    assert said in str(caught.value)
