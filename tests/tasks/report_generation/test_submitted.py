"""Reports that were written elsewhere are scored as those of a run, digit for digit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.cells.prediction_files import pack_predictions
from bench.contracts import Submission, Subset
from bench.core.errors import DataError, NotApplicableError
from tasks.report_generation.data import group_studies
from tasks.report_generation.fit import fit_random, predict
from tasks.report_generation.metrics import java
from tasks.report_generation.model import TrainedWriter
from tasks.report_generation.submitted import read, write
from tasks.report_generation.vocabulary import learn_vocabulary
from tests.tasks.report_generation.conftest import KIND, TASK, cell, studies

CANARY = "the quick brown canary sang of edema"


def submission(path: Path, train: Subset, val: Subset, test: Subset) -> Submission:
    index = pd.concat(
        [
            subset.index.assign(split=split)
            for split, subset in (("train", train), ("val", val), ("test", test))
        ]
    )
    return Submission(path, index, path.parent, train, val, test)


@pytest.fixture
def handed_in(tmp_path: Path) -> Submission:
    return submission(tmp_path / "ours.csv", studies(seed=1), studies(20, seed=2), studies(seed=0))


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without Java: METEOR alone, which takes long, is missing."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    java.java_command.cache_clear()
    yield
    java.java_command.cache_clear()


def test_our_own_reports_give_our_own_numbers(handed_in: Submission, tmp_path: Path) -> None:
    context = cell(tmp_path)
    expected = predict(fit_random(handed_in.train, handed_in.val, context), handed_in.test, context)
    write(expected, {"title": ""}, handed_in.path)
    again = read(handed_in, context)
    assert again.arrays.keys() == expected.arrays.keys()
    for name, values in expected.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], values)
    pd.testing.assert_frame_equal(again.table, expected.table)


@pytest.mark.usefixtures("quick")
def test_under_a_protocol_of_decoded_references_they_are_those_of_a_run(
    handed_in: Submission, tmp_path: Path
) -> None:
    context = cell(tmp_path, reference="decoded", min_count="30", max_words="5")
    training = group_studies(handed_in.train, context.settings)
    told = group_studies(handed_in.test, context.settings).texts
    vocabulary = learn_vocabulary(training.texts, context.settings)
    none: Any = None
    writer = TrainedWriter(none, vocabulary, none, none, context)
    text_of(handed_in).to_csv(handed_in.path, index=False)
    references = read(handed_in, context).table["reference"].tolist()
    assert references == writer.through_vocabulary(told)
    assert any("<unk>" in text for text in references)


def text_of(handed_in: Submission, text: str = "No pleural effusion.") -> pd.DataFrame:
    names = handed_in.test.index["study_id"].unique()
    return pd.DataFrame({"study_id": names, "text": text})


@pytest.mark.usefixtures("quick")
def test_reports_are_cleaned_as_references_are_and_rows_may_stand_in_any_order(
    handed_in: Submission, tmp_path: Path
) -> None:
    table = text_of(handed_in)
    told = handed_in.test.index.drop_duplicates("study_id")["findings"].tolist()
    table["text"] = [text.upper() + "\n" for text in told]
    table.iloc[::-1].to_csv(handed_in.path, index=False)
    again = read(handed_in, cell(tmp_path))
    assert again.table["hypothesis"].tolist() == again.table["reference"].tolist()


@pytest.mark.usefixtures("quick")
def test_an_empty_report_counts_as_empty(handed_in: Submission, tmp_path: Path) -> None:
    text_of(handed_in, "").to_csv(handed_in.path, index=False)
    context = cell(tmp_path)
    again = read(handed_in, context)
    statistic = KIND.statistics(again, TASK)["empty_reports"]
    assert statistic(np.ones((1, len(again.table))))[0] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.iloc[1:], "lacks 1 of the 40 studies of the test split, e.g. 's0_0'"),
        (lambda t: pd.concat([t, t[:1]]), "holds study 's0_0' 2 times"),
        (lambda t: t.replace("s0_0", "s1_0"), "'s1_0', which is in the training split"),
        (lambda t: t.replace("s0_0", "nobody"), "'nobody', which is not in the dataset"),
        (lambda t: t.rename(columns={"text": "report"}), "lacks the column 'text' or 'cleaned'"),
    ],
)
def test_wrong_studies_are_named_and_no_text_is_shown(
    handed_in: Submission, tmp_path: Path, change: object, said: str
) -> None:
    change(text_of(handed_in, CANARY)).to_csv(handed_in.path, index=False)  # type: ignore[operator]
    with pytest.raises(DataError) as caught:
        read(handed_in, cell(tmp_path))
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("study_id,text\ns0_0,d\u00e9bris canary\n".encode("latin1"), "is not UTF-8 text"),
        (b'study_id,text\ns0_0,"a canary\n', "line 2"),
        (b"study_id,text\ns0_0,a canary, b\n", "line 2: 3 values; 2 were expected"),
        (b"study_id,text\n", "has no rows"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_table_of_texts_is_named(
    handed_in: Submission, tmp_path: Path, content: bytes, said: str
) -> None:
    handed_in.path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(handed_in, cell(tmp_path))
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.usefixtures("quick")
def test_texts_of_licensed_reports_are_kept_only_where_that_was_asked_for(
    handed_in: Submission, tmp_path: Path
) -> None:
    text_of(handed_in, CANARY).to_csv(handed_in.path, index=False)
    licensed = replace(cell(tmp_path), data_kind="real")
    predictions = read(handed_in, licensed)
    assert "hypothesis" not in predictions.table
    assert b"canary" not in pack_predictions(predictions)
    with pytest.raises(NotApplicableError, match="were not kept"):
        write(predictions, {"title": "a run"}, tmp_path / "out.csv")
    shown = replace(licensed, settings=replace(licensed.settings, show_text=True))
    assert read(handed_in, shown).table["hypothesis"][0].startswith("the quick")
