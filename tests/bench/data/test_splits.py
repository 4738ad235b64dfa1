"""Splits keep patients together, fractions nest, leaks stop."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bench.core.errors import DataError, SplitLeakError
from bench.data.splits import (
    check_leaks,
    default_split,
    first_label,
    label_subset,
    split_hash,
    stratify_column,
)


def table(patients: list[int], labels: list[int] | None = None, split: str = "") -> pd.DataFrame:
    rows = pd.DataFrame({"patient_id": [f"p{patient}" for patient in patients]})
    rows["image_id"] = [f"i{number}" for number in range(len(rows))]
    rows["path"], rows["split"] = rows["image_id"] + ".png", split
    return rows if labels is None else rows.assign(**{"label:A": labels})


tables = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1)), min_size=3, max_size=120).map(
    lambda rows: table([patient for patient, _ in rows], [label for _, label in rows])
)


@settings(max_examples=40, deadline=None)
@given(tables, st.integers(0, 5))
def test_patients_stay_together_and_every_split_has_one(index: pd.DataFrame, seed: int) -> None:
    assume(index["patient_id"].nunique() >= 3)
    split = default_split(index, seed)
    check_leaks(split)
    assert set(split["split"]) == {"train", "val", "test"}
    shuffled = default_split(index.sample(frac=1, random_state=1), seed)
    assert split_hash(shuffled) == split_hash(split)
    assert (index["split"] == "").all()


def test_sizes_and_stratification() -> None:
    rng = np.random.default_rng(0)
    index = table(list(range(1000)), (rng.random(1000) < 0.1).astype(int).tolist())
    split = default_split(index)
    counts = split["split"].value_counts()
    assert all(
        abs(counts[name] - size) <= 1
        for name, size in {"train": 700, "val": 150, "test": 150}.items()
    )
    rates = split.groupby("split")["label:A"].mean()
    assert rates.max() - rates.min() < 0.01
    assert split_hash(default_split(index, 1)) != split_hash(split)


def test_official_split_is_kept() -> None:
    index = table([1, 2, 3, 4]).assign(split=["train", "val", "test", "test"])
    assert default_split(index)["split"].tolist() == ["train", "val", "test", "test"]


def test_val_is_drawn_from_an_official_train() -> None:
    index = table(list(range(100)) * 2).assign(
        split=["train" if patient < 85 else "test" for patient in range(100)] * 2
    )
    split = default_split(index)
    assert (split[index["split"] == "test"]["split"] == "test").all()
    counts = split.groupby("split")["patient_id"].nunique().to_dict()
    assert counts == {"train": 70, "val": 15, "test": 15}
    check_leaks(split)


@pytest.mark.parametrize(
    ("split", "match"),
    [
        (["train", "", "test", "val"], "1 of 4 images have no official split"),
        (["train", "dev", "test", "val"], "unknown split"),
        (["test", "test", "val", "val"], "no train"),
    ],
)
def test_odd_official_splits_are_refused(split: list[str], match: str) -> None:
    with pytest.raises(DataError, match=match):
        default_split(table([1, 2, 3, 4]).assign(split=split))


def test_two_patients_cannot_make_three_splits() -> None:
    with pytest.raises(DataError, match="2 patients cannot make train / val / test"):
        default_split(table([1, 1, 2, 2]))


def test_label_fractions_go_by_the_first_label() -> None:
    assert first_label(table([1])) is None
    assert first_label(table([1], [0]).assign(**{"label:B": 1})) == "label:A"


def test_stratify_column_is_the_only_label() -> None:
    assert stratify_column(table([1])) is None
    assert stratify_column(table([1], [0])) == "label:A"
    assert stratify_column(table([1], [0]).assign(**{"label:B": 1})) is None
    with pytest.raises(DataError, match="'label:C' to stratify on"):
        default_split(table([1, 2, 3]), stratify="label:C")


fractions = st.floats(0.001, 1.0)


@settings(max_examples=60, deadline=None)
@given(
    tables,
    fractions,
    fractions,
    st.integers(0, 5),
    st.sampled_from(["image", "patient"]),
    st.sampled_from([None, "label:A"]),
)
def test_fractions_nest_and_keep_every_class(
    train: pd.DataFrame,
    one: float,
    other: float,
    seed: int,
    by: Literal["image", "patient"],
    stratify: str | None,
) -> None:
    small, large = sorted((one, other))
    few, many = (label_subset(train, fraction, seed, stratify, by) for fraction in (small, large))
    assert 0 < len(few) <= len(many)
    assert set(few["image_id"]) <= set(many["image_id"])
    if stratify and by == "image":
        assert set(few["label:A"]) == set(train["label:A"])
    if by == "patient":
        assert not set(few["patient_id"]) & set(
            train[~train["image_id"].isin(few["image_id"])]["patient_id"]
        )
    assert label_subset(train, 1.0, seed, stratify, by).equals(train)
    assert label_subset(train, small, seed, stratify, by).equals(few)


def test_fraction_size_seed_and_missing_labels() -> None:
    train = table(list(range(1000)), [1] * 100 + [0] * 900)
    train.loc[500:, "label:A"] = np.nan
    tenth = label_subset(train, 0.1, 0, "label:A")
    assert len(tenth) == 100
    assert (tenth["label:A"] == 1).sum() == 10
    assert not label_subset(train, 0.1, 1, "label:A").equals(tenth)
    assert (
        label_subset(train.iloc[::-1], 0.1, 0, "label:A")["image_id"].tolist()[::-1]
        == tenth["image_id"].tolist()
    )


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5])
def test_impossible_fraction(fraction: float) -> None:
    with pytest.raises(DataError, match="label fraction"):
        label_subset(table([1]), fraction, 0)


def test_empty_train() -> None:
    with pytest.raises(DataError, match="training split is empty"):
        label_subset(table([1]).iloc[:0], 0.1, 0)


def test_leaks_stop_and_are_named() -> None:
    index = table([1, 1, 2, 3]).assign(split=["train", "test", "val", "test"])
    with pytest.raises(
        SplitLeakError, match=r"1 patients stand in more than one split \(p1 in test and train\)"
    ):
        check_leaks(index)
    warning = check_leaks(index, allow=True)
    assert "1 patients" in warning
    assert check_leaks(index.assign(patient_id=["a", "b", "c", "d"])) == ""


@pytest.mark.parametrize("column", ["image_id", "path"])
def test_one_image_under_two_patients_leaks(column: str) -> None:
    index = table([1, 2]).assign(split=["train", "test"])
    index[column] = "same"
    with pytest.raises(SplitLeakError, match="same in test and train"):
        check_leaks(index)


def test_images_without_split_do_not_leak() -> None:
    assert check_leaks(table([1, 1]).assign(split=["train", ""])) == ""
