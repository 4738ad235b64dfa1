"""The splits of MGCA and BenchX: published sizes, nested as published, and equal to scikit-learn on
the references' tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from bench.core.errors import DataError
from bench.data.splits import check_leaks
from tasks.datasets._reference_splits import (
    chosen_subset,
    random_split,
    stratified_split,
    stratified_subset,
)
from tasks.datasets.rsna import Rsna
from tests.support.published import reference_split, reference_subset

RSNA = Rsna()


@pytest.fixture(scope="module")
def index() -> pd.DataFrame:
    """An index of the size of RSNA stage 2, in an order that is not the sorted one."""
    rng = np.random.default_rng(0)
    names = [f"{number:05d}" for number in rng.permutation(26684)]
    label = rng.permutation(np.arange(26684) < 6012).astype(int)
    frame = pd.DataFrame({"image_id": names, "patient_id": names, "path": names, "split": ""})
    return frame.assign(**{"label:Pneumonia": label})


def sizes(split: pd.DataFrame) -> dict[str, int]:
    return split["split"].value_counts().to_dict()


def ids(split: pd.DataFrame, name: str) -> list[str]:
    return split.loc[split["split"] == name, "image_id"].tolist()


@pytest.mark.parametrize("protocol", ["mgca", "gloria", "benchx"])
def test_classification_sizes(index: pd.DataFrame, protocol: str) -> None:
    split = reference_split(RSNA, index, protocol, 0, "classification")
    assert sizes(split) == {"train": 18678, "val": 4003, "test": 4003}
    assert check_leaks(split) == ""


@pytest.mark.parametrize("kind", ["detection", "segmentation"])
def test_dense_sizes_and_the_published_nesting(index: pd.DataFrame, kind: str) -> None:
    dense = reference_split(RSNA, index, "mgca", 0, kind)
    assert sizes(dense) == {"train": 16010, "val": 5337, "test": 5337}
    classes = set(ids(reference_split(RSNA, index, "mgca", 0, "classification"), "train"))
    assert set(ids(dense, "train")) <= classes
    assert len(classes & {*ids(dense, "val"), *ids(dense, "test")}) == 2668


def test_the_default_protocol_has_no_reference_split(index: pd.DataFrame) -> None:
    assert RSNA.reference_split(index, "default", 0, "classification") is None


def test_mgca_is_sklearn_on_the_sorted_table(index: pd.DataFrame) -> None:
    table = index.sort_values("image_id").reset_index(drop=True)
    train, rest = train_test_split(table, test_size=0.3, random_state=0)
    test, valid = train_test_split(rest, test_size=0.5, random_state=0)
    split = random_split(index, 0.3)
    for name, rows in (("train", train), ("val", valid), ("test", test)):
        assert ids(split, name) == rows["image_id"].tolist()


def test_benchx_is_sklearn_on_lists(index: pd.DataFrame) -> None:
    table = index.sort_values("image_id")
    names, label = table["image_id"].tolist(), table["label:Pneumonia"].tolist()
    train, rest, train_label, rest_label = train_test_split(
        names, label, test_size=0.3, stratify=label, random_state=42
    )
    val, test, *_ = train_test_split(
        rest, rest_label, test_size=0.5, stratify=rest_label, random_state=42
    )
    split = stratified_split(index, index["label:Pneumonia"].to_numpy())
    assert (ids(split, "train"), ids(split, "val"), ids(split, "test")) == (train, val, test)
    rows = split[split["split"] == "train"]
    parts = {}
    for fraction, share, size in ((0.01, 0.99, 186), (0.1, 0.9, 1867)):
        wanted, _ = train_test_split(train, test_size=share, stratify=train_label, random_state=42)
        parts[fraction] = reference_subset(RSNA, rows, "benchx", fraction, 0, "classification")[
            "image_id"
        ].tolist()
        assert parts[fraction] == wanted
        assert len(wanted) == size
    assert set(parts[0.01]) <= set(parts[0.1])
    assert len(stratified_subset(rows, 1.0, rows["label:Pneumonia"].to_numpy())) == len(rows)


def test_mgca_fractions(index: pd.DataFrame) -> None:
    split = reference_split(RSNA, index, "mgca", 0, "classification")
    train = split[split["split"] == "train"]
    assert len(reference_subset(RSNA, train, "mgca", 0.01, 7, "classification")) == 187
    assert len(reference_subset(RSNA, train, "mgca", 0.01, 7, "detection")) == 186
    assert RSNA.reference_subset(train, "gloria", 0.01, 7, "classification") is None
    again = [set(chosen_subset(train, 0.1, seed)["image_id"]) for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


def test_what_cannot_be_split_or_drawn_is_said(index: pd.DataFrame) -> None:
    few = index.head(3)
    with pytest.raises(DataError, match="3 images cannot be split as the reference does"):
        stratified_split(few, [0, 0, 1])
    with pytest.raises(DataError, match="0.1 of 3 training images is none"):
        chosen_subset(few, 0.1, 0)
