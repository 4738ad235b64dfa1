"""Masks that were made elsewhere are scored as those of a run, digit for digit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.contracts import Predictions, Submission
from bench.core.errors import DataError
from bench.data.annotations import Masks
from bench.data.images import resize_pad_mask
from tasks.segmentation import SegmentationKind
from tasks.segmentation.fit import measured
from tasks.segmentation.metrics import image_scores
from tasks.segmentation.submitted import read, write

N = 12


def handed_in(toy: SimpleNamespace, path: Path, classes: int = 1) -> Submission:
    parts = {
        name: toy.blobs(N, classes, seed) for seed, name in enumerate(("train", "val", "test"))
    }
    for name, part in parts.items():
        part.index["image_id"] = [f"{name}/{row}" for row in range(N)]
        part.index["path"] = [f"{name}-{row}.png" for row in range(N)]
    index = pd.concat([part.index.assign(split=name) for name, part in parts.items()])
    return Submission(path, index, path.parent, **parts)


def of_a_run(submission: Submission, context: Any) -> Predictions:
    """Return what is kept of masks that a network gives, with its probabilities."""
    test = submission.test
    masks = test.get(Masks)
    rng = np.random.default_rng(0)
    shape = masks[np.arange(N)].shape
    probabilities = rng.random(shape).astype(np.float32) * (0.4 + 0.6 * masks[np.arange(N)])
    probabilities = probabilities.astype(np.float32)
    batch = (np.arange(N), probabilities > 0.5, image_scores(probabilities))
    return measured(test, iter([batch]), masks.classes, {"epochs": 3}, context)


@pytest.mark.parametrize("classes", [1, 2])
def test_our_own_masks_give_our_own_numbers(
    toy: SimpleNamespace, make_context: Callable[..., Any], tmp_path: Path, classes: int
) -> None:
    submission = handed_in(toy, tmp_path / "masks", classes)
    context = make_context()
    expected = of_a_run(submission, context)
    write(expected, {}, submission.path)
    again = read(submission, context)
    pd.testing.assert_frame_equal(again.table, expected.table, check_exact=True, check_dtype=False)
    np.testing.assert_array_equal(again.arrays["masks"], expected.arrays["masks"])
    weights = np.ones((1, N))
    statistics = SegmentationKind().statistics(again, toy.task)
    for name, statistic in SegmentationKind().statistics(expected, toy.task).items():
        np.testing.assert_array_equal(statistics[name](weights), statistic(weights))


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def black(submission: Submission, size: tuple[int, int]) -> None:
    for image in submission.test.index["image_id"]:
        save(submission.path / f"{image}.png", np.zeros(size, np.uint8))


def test_a_mask_in_the_pixels_of_its_image_comes_on_the_square_as_true_masks_do(
    toy: SimpleNamespace, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    submission = handed_in(toy, tmp_path / "masks")
    size = (64, 48)
    for file in submission.test.index["path"]:
        save(tmp_path / file, np.zeros(size, np.uint8))
    black(submission, size)
    mask = np.zeros(size, np.uint8)
    mask[10:40, 5:30] = 255
    save(submission.path / "test/0.png", mask)
    again = read(submission, make_context())
    kept = np.unpackbits(again.arrays["masks"][0, 0], axis=-1, count=toy.size)
    np.testing.assert_array_equal(kept, resize_pad_mask(mask, toy.size))
    area = kept.mean()
    assert again.table["score:blob"].tolist() == [1.0 if area > 0.01 else area, *[0.0] * (N - 1)]
    black(submission, (64, 47))
    with pytest.raises(DataError, match=r"0\.png has 47 x 64 px; the image has 48 x 64"):
        read(submission, make_context())


def _grey(submission: Submission) -> None:
    ramp = np.arange(32 * 32).reshape(32, 32) % 250
    save(submission.path / "test/0.png", ramp.astype(np.uint8))


def _colour(submission: Submission) -> None:
    save(submission.path / "test/0.png", np.zeros((32, 32, 3), np.uint8))


def _white(submission: Submission) -> None:
    save(
        submission.path / "test/0.png", np.full((32, 32), 7, np.uint8) + np.eye(32, dtype=np.uint8)
    )


def _cut(submission: Submission) -> None:
    path = submission.path / "test/0.png"
    path.write_bytes(path.read_bytes()[:40])


def _of_training(submission: Submission) -> None:
    save(submission.path / "train/0.png", np.zeros((32, 32), np.uint8))


def _of_nobody(submission: Submission) -> None:
    save(submission.path / "test/99.png", np.zeros((32, 32), np.uint8))


def _missing(submission: Submission) -> None:
    (submission.path / "test/0.png").unlink()


def _half_scored(submission: Submission) -> None:
    (submission.path / "scores.csv").write_text("image_id,blob\ntest/0,0.5\n")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_grey, "holds 250 values, 0 to 249"),
        (_colour, "has 3 channels"),
        (_white, "holds 2 values, 7 to 8"),
        (_cut, "does not read as a picture"),
        (_of_training, "'train/0', which is in the training split"),
        (_of_nobody, "'test/99', which is not in the dataset"),
        (_missing, "lacks 1 of the 12 images of the test split, e.g. 'test/0'"),
        (_half_scored, "scores.csv lacks 11 of the 12 images"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_sentence(
    toy: SimpleNamespace,
    make_context: Callable[..., Any],
    tmp_path: Path,
    damage: Callable[[Submission], None],
    said: str,
) -> None:
    submission = handed_in(toy, tmp_path / "masks")
    black(submission, (32, 32))
    damage(submission)
    with pytest.raises(DataError) as caught:
        read(submission, make_context())
    assert said in str(caught.value)


def test_several_classes_have_a_folder_each(
    toy: SimpleNamespace, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    submission = handed_in(toy, tmp_path / "masks", 2)
    black(submission, (32, 32))
    with pytest.raises(DataError, match="lacks the folder 'disc'"):
        read(submission, make_context())
