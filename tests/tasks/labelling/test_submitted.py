"""Probabilities that were made elsewhere are scored as those of a run, digit for digit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.contracts import EVERY, CellContext, Predictions, Submission
from bench.core.errors import DataError, SettingError
from bench.metrics.classification import score
from bench.metrics.decision import sigmoid
from tasks.classification import ClassificationKind
from tasks.classification.fit import Classifier, predict, scored
from tasks.labelling import readout
from tasks.labelling.submitted import FAR, UNDECIDED, read, write
from tasks.labelling.targets import labelled
from tasks.zero_shot import ZeroShotKind
from tests.tasks.fakes import Encoder, context, subset, task

SEVERAL: dict[str, Any] = {"mode": "multilabel", "labels": ("a", "b")}
EXCLUSIVE: dict[str, Any] = {"mode": "multiclass", "labels": ("a", "c")}


class Scores:
    """A head whose logits are drawn by the number of images."""

    def scores(self, images: Any) -> np.ndarray:
        rng = np.random.default_rng(len(images))
        scores: np.ndarray = 3 * rng.normal(size=(len(images), 2))
        return scores


def handed_in(path: Path, **changes: Any) -> Submission:
    parts: dict[str, Any] = {"train": subset(30, 1), "val": subset(50, 2), "test": subset(60, 0)}
    for part in parts.values():
        part.index["label:c"] = 1 - part.index["label:a"]
    index = pd.concat([part.index.assign(split=name) for name, part in parts.items()])
    return Submission(path, index, path.parent, **parts, **changes)


def cell(folder: Path, **options: Any) -> CellContext:
    spec = task(**(options or SEVERAL))
    return context(spec, ClassificationKind().settings(spec, "default", "demo", {}), folder)


def numbers(predictions: Predictions, cell: CellContext) -> dict[str, list[float]]:
    """Return the values of all metrics on two resamples."""
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 3, (2, len(predictions.table)))
    statistics = score(predictions, cell.task)
    return {name: statistic(weights).tolist() for name, statistic in statistics.items()}


def of_a_run(submission: Submission, cell: CellContext) -> Predictions:
    """Return what a run keeps whose head gives `Scores`."""
    scorer = Scores()
    images = labelled(submission.val, cell.settings, "validation")
    scores = scored(scorer, images.subset, cell.settings)
    chosen = readout.choose(scores, images.values, cell.settings)
    fitted = Classifier(scorer, chosen, chosen.facts(cell.settings.labels))
    return predict(fitted, submission.test, cell)


@pytest.mark.parametrize("options", [SEVERAL, EXCLUSIVE])
def test_our_own_predictions_give_our_own_numbers(tmp_path: Path, options: dict[str, Any]) -> None:
    submission = handed_in(tmp_path / "ours.csv")
    asked = cell(tmp_path, **options)
    expected = of_a_run(submission, asked)
    stated = write(expected, {"setting:threshold": "validation"}, submission.path)
    again = read(replace(submission, thresholds=stated), asked)
    pd.testing.assert_frame_equal(again.table, expected.table, check_exact=True)
    assert str(numbers(again, asked)) == str(numbers(expected, asked))


def test_our_own_zero_shot_predictions_give_our_own_numbers(tmp_path: Path) -> None:
    kind = ZeroShotKind()
    submission = handed_in(tmp_path / "ours.csv")
    spec = replace(task(mode="binary", labels=("Pneumonia",)), kind="zero_shot")
    parts: dict[str, Any] = {
        name: replace(part, index=part.index.rename(columns={"label:a": "label:Pneumonia"}))
        for name, part in (("val", submission.val), ("test", submission.test))
    }
    submission = replace(submission, **parts)
    settings = kind.settings(spec, "default", "demo", {})
    asked = context(spec, settings, tmp_path, data_key="d")
    fitted = kind.fit(Encoder(), submission.train, submission.val, asked)
    expected = kind.predict(fitted, submission.test, asked)
    stated = write(expected, {"setting:threshold": "validation"}, submission.path)
    again = read(replace(submission, thresholds=stated), asked)
    pd.testing.assert_frame_equal(again.table, expected.table, check_exact=True)


def probabilities(submission: Submission, split: str = "test") -> pd.DataFrame:
    """Return a table of probabilities of a and b, and one of a class that is not asked for."""
    images = getattr(submission, split)
    rng = np.random.default_rng(5)
    columns = {name: rng.random(len(images)) for name in ("a", "b", "another")}
    return pd.DataFrame({"image_id": images.index["image_id"], **columns})


def test_a_validation_file_gives_thresholds_and_temperature_as_a_run_chooses_them(
    tmp_path: Path,
) -> None:
    submission = handed_in(tmp_path / "test.csv", validation=tmp_path / "val.csv")
    asked = cell(tmp_path)
    expected = of_a_run(submission, asked)
    for split, path in (("test", submission.path), ("val", submission.validation)):
        assert path
        part = getattr(submission, split)
        raw = sigmoid(scored(Scores(), part, asked.settings))
        table = {"image_id": part.index["image_id"], "a": raw[:, 0], "b": raw[:, 1]}
        pd.DataFrame(table).to_csv(path, index=False)
    again = read(submission, asked)
    for name in ("pred:a", "pred:b"):
        assert again.table[name].tolist() == expected.table[name].tolist()
    np.testing.assert_allclose(again.table["prob:a"], expected.table["prob:a"], rtol=1e-6)
    assert again.extra["threshold:b"] == pytest.approx(expected.extra["threshold:b"])


def test_without_a_threshold_only_metrics_that_need_none_are_given(tmp_path: Path) -> None:
    submission = handed_in(tmp_path / "test.csv")
    probabilities(submission).to_csv(submission.path, index=False)
    asked = cell(tmp_path)
    undecided = read(submission, asked)
    assert undecided.extra["undecided"] == UNDECIDED
    decided = read(replace(submission, thresholds={EVERY: 0.5}), asked)
    expected = numbers(decided, asked)
    given = numbers(undecided, asked)
    assert given == {name: expected[name] for name in given}
    lost = {name.partition("@")[0].partition(":")[0] for name in expected.keys() - given.keys()}
    assert lost == {
        *("accuracy", "f1", "sensitivity", "specificity", "precision", "mcc"),
        *("f1_micro", "precision_micro", "recall_micro"),
    }
    assert {"auroc", "auprc", "brier", "ece", "auroc_micro"} <= given.keys()


def test_a_stated_threshold_decides_above_it(tmp_path: Path) -> None:
    submission = handed_in(tmp_path / "test.csv", thresholds={"a": 0.25, EVERY: 0.75})
    table = probabilities(submission)
    table["a"] = np.where(np.arange(len(table)) % 2, 0.25, 0.26)
    table.iloc[::-1].to_csv(submission.path, index=False)
    rows = read(submission, cell(tmp_path)).table
    assert rows["pred:a"].tolist() == (table["a"] > 0.25).astype(float).tolist()
    assert rows["pred:b"].tolist() == (table["b"] > 0.75).astype(float).tolist()
    assert rows["prob:b"].tolist() == table["b"].tolist()


def test_probabilities_of_zero_and_one_rank_last_and_first(tmp_path: Path) -> None:
    submission = handed_in(tmp_path / "test.csv")
    table = probabilities(submission)
    table.loc[:1, "a"] = [0.0, 1.0]
    table.to_csv(submission.path, index=False)
    scores = read(submission, cell(tmp_path)).table["score:a"]
    assert scores[:2].tolist() == [-FAR, FAR]
    assert (scores.abs() <= FAR).all()


Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[1:], "lacks 1 of the 60 images of the test split, e.g. 'i0_0'"),
        (lambda t: pd.concat([t, t[:2]]), "holds image 'i0_0' 2 times"),
        (lambda t: t.replace("i0_0", "i2_0"), "'i2_0', which is in the validation split"),
        (lambda t: t.replace("i0_0", "x"), "holds image 'x', which is not in the dataset"),
        (lambda t: t.assign(a=1.2), "image 'i0_0': a is 1.2, which is no probability"),
        (lambda t: t.assign(b=-0.1), "image 'i0_0': b is -0.1, which is no probability"),
        (lambda t: t.assign(b=np.nan), "row of 'i0_0': b is ''"),
        (lambda t: t.assign(b="nan"), "row of 'i0_0': b is 'nan'"),
        (lambda t: t.assign(b="high"), "row of 'i0_0': b is 'high'"),
        (lambda t: t.drop(columns="b"), "lacks the column 'b'"),
        (lambda t: t.drop(columns="image_id"), "lacks the column 'image_id'"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_sentence(
    tmp_path: Path, change: Change, said: str
) -> None:
    submission = handed_in(tmp_path / "test.csv")
    change(probabilities(submission)).to_csv(submission.path, index=False)
    with pytest.raises(DataError) as caught:
        read(submission, cell(tmp_path))
    assert said in str(caught.value)
    assert submission.path.name in str(caught.value)


def test_a_table_in_another_encoding_is_named(tmp_path: Path) -> None:
    submission = handed_in(tmp_path / "test.csv")
    submission.path.write_bytes("image_id,a,b\nü,0,0\n".encode("latin1"))
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read(submission, cell(tmp_path))


def test_probabilities_of_exclusive_classes_add_up_to_one(tmp_path: Path) -> None:
    submission = handed_in(tmp_path / "test.csv")
    table = probabilities(submission).assign(c=0.9, a=0.9)
    table.to_csv(submission.path, index=False)
    with pytest.raises(DataError, match=r"'i0_0'.*add up to 1\.800"):
        read(submission, cell(tmp_path, **EXCLUSIVE))


@pytest.mark.parametrize(
    ("options", "thresholds", "said"),
    [
        (SEVERAL, {"c": 0.5}, "names 'c', which is no class"),
        (SEVERAL, {"a": 0.5}, "names none for 'b'"),
        (SEVERAL, {EVERY: 1.5}, "1.5; a probability was expected"),
        (EXCLUSIVE, {EVERY: 0.5}, "takes the most probable class"),
    ],
)
def test_thresholds_that_decide_nothing_are_refused(
    tmp_path: Path, options: dict[str, Any], thresholds: dict[str, float], said: str
) -> None:
    submission = handed_in(tmp_path / "test.csv", thresholds=thresholds)
    with pytest.raises(SettingError, match=said):
        read(submission, cell(tmp_path, **options))
