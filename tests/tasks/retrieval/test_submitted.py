"""Scores of images and reports that were made elsewhere are ranked as those of a run, digit for
digit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.contracts import CellContext, Submission
from bench.core.errors import DataError
from bench.encoding.similarity import similarity_matrix
from tasks.retrieval import RetrievalKind
from tasks.retrieval.fit import asked_of
from tasks.retrieval.submitted import read
from tests.support.archives import Arrays, first_is
from tests.tasks.fakes import Encoder, context, subset, task

KIND = RetrievalKind()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


def cell(folder: Path, **changes: str) -> CellContext:
    spec = task(labels=("a", "b"))
    return context(spec, KIND.settings(spec, "default", "demo", changes), folder, data_key="d")


def handed_in(path: Path) -> Submission:
    test, train = subset(30, 3), subset(10, 4)
    for part in (test, train):
        part.index["study_id"] = part.index["image_id"].str.replace("i", "s")
    index = pd.concat([test.index, train.index.assign(split="train")])
    return Submission(path, index, path.parent, train, train, test)


def matrix(submission: Submission, context: CellContext) -> Arrays:
    """Return the scores of the fake encoder, a column for every image's report."""
    asked = asked_of(submission.test, context.settings)
    texts = asked.pairs.texts
    scores = similarity_matrix(Encoder(), asked.images, texts, context.settings.similarity, context)
    return {
        "scores": scores[:, asked.pairs.text_of],
        "images": submission.test.index["image_id"].to_numpy(str),
        "reports": submission.test.index["study_id"].to_numpy(str),
    }


@pytest.mark.parametrize("identical", ["true", "false"])
def test_our_own_scores_give_our_own_numbers(tmp_path: Path, identical: str) -> None:
    submission = handed_in(tmp_path / "scores.npz")
    context = cell(tmp_path, identical_as_one=identical)
    expected = KIND.predict(Encoder(), submission.test, context)
    np.savez(submission.path, **matrix(submission, context))
    again = read(submission, context)
    pd.testing.assert_frame_equal(again.table, expected.table, check_exact=True)
    assert again.extra == expected.extra


def test_a_table_and_any_order_give_the_same(tmp_path: Path) -> None:
    submission = handed_in(tmp_path / "scores.csv")
    context = cell(tmp_path)
    expected = KIND.predict(Encoder(), submission.test, context)
    arrays = matrix(submission, context)
    table = pd.DataFrame(
        arrays["scores"].astype(float),
        index=pd.Index(arrays["images"], name="image_id"),
        columns=submission.test.index["image_id"],
    )
    table.iloc[::-1, ::-1].to_csv(submission.path)
    again = read(submission, context)
    pd.testing.assert_frame_equal(again.table, expected.table)


def test_a_table_without_a_report_says_what_it_lacks(tmp_path: Path) -> None:
    submission = handed_in(tmp_path / "scores.csv")
    submission.test.index["image_id"].to_csv(submission.path, index=False)
    with pytest.raises(DataError, match=r"scores\.csv lacks \d+ of the \d+ studies of the test"):
        read(submission, cell(tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (first_is("scores", np.nan), "the score of image 'i3_0' and report 's3_0' is nan"),
        (first_is("images", "i3_1"), "holds image 'i3_1' 2 times"),
        (first_is("images", "i4_1"), "'i4_1', which is in the training split"),
        (first_is("images", "no"), "'no', which is not in the dataset"),
        (lambda a: {**a, "scores": a["scores"][1:]}, "shape [29, 30], for 30 images"),
        (lambda a: {"scores": a["scores"]}, "lacks the array 'images'"),
        (
            lambda a: {"scores": a["scores"][1:], "images": a["images"][1:], **_reports(a)},
            "lacks 1 of the 30 images of the test split, e.g. 'i3_0'",
        ),
        (
            lambda a: {**a, "scores": a["scores"][:, 1:], "reports": a["reports"][1:]},
            "lacks 1 of the",
        ),
    ],
)
def test_what_is_wrong_with_a_matrix_is_one_sentence(
    tmp_path: Path, change: Callable[[Arrays], Arrays], said: str
) -> None:
    submission = handed_in(tmp_path / "scores.npz")
    context = cell(tmp_path)
    np.savez(submission.path, **change(matrix(submission, context)))
    with pytest.raises(DataError) as caught:
        read(submission, context)
    assert said in str(caught.value)


def _reports(arrays: Arrays) -> Arrays:
    return {"reports": arrays["reports"]}


def test_what_is_no_archive_is_named_and_nothing_in_it_is_run(tmp_path: Path) -> None:
    submission = handed_in(tmp_path / "scores.npz")
    objects = np.array([print], dtype=object)
    np.savez(submission.path, scores=objects, images=objects, reports=objects)
    with pytest.raises(DataError, match="does not read as an archive of NumPy"):
        read(submission, cell(tmp_path))
    submission.path.write_bytes(b"scores")
    with pytest.raises(DataError, match="does not read as an archive of NumPy"):
        read(submission, cell(tmp_path))
