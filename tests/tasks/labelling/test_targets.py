"""Uncertain and blank labels, views, shots, groups; wrong labels are named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.core.errors import DataError, SettingError, UnknownNameError
from tasks.classification.settings import ClassificationSettings, resolve
from tasks.labelling.subgroups import groups
from tasks.labelling.targets import check_trainable, few_shot, targets
from tasks.labelling.views import keep_views
from tests.tasks.fakes import subset, task

INDEX = pd.DataFrame(
    {"image_id": ["x", "y", "z", "w"], "label:a": [1, -1, 0, np.nan], "label:b": [-1, 0, -1, 1]}
)


def settings(**changes: Any | str) -> ClassificationSettings:
    return resolve(task(uncertain={"a": "ones", "b": "ignore"}), "default", "demo", changes)


def test_policies_per_class() -> None:
    found = targets(INDEX, settings())
    np.testing.assert_array_equal(found, [[1, np.nan], [1, 0], [0, np.nan], [0, 1]])
    assert settings().uncertain == ("a=ones", "b=ignore")


def test_one_policy_for_all_and_blanks_ignored() -> None:
    found = targets(INDEX, settings(uncertain="zeros", blank="ignore"))
    np.testing.assert_array_equal(found, [[1, 0], [0, 0], [0, 0], [np.nan, 1]])
    assert settings(uncertain="b=ones").uncertain == ("a=zeros", "b=ones")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uncertain": "maybe"}, "uncertain policy 'maybe'"),
        ({"uncertain": "q=ones"}, "q=ones"),
        ({"shots": "0"}, "'shots' is 0"),
    ],
)
def test_wrong_settings(change: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        settings(**change)


def test_unknown_protocol_and_mode() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean mgca"):
        resolve(task(), "mcga", "demo", {})
    with pytest.raises(SettingError, match="mode 'binary' and 2 labels"):
        resolve(task(mode="binary"), "default", "demo", {})


def test_wrong_labels_name_the_image() -> None:
    with pytest.raises(DataError, match="label 'b' of image 'y' is 3"):
        targets(INDEX.assign(**{"label:b": [0, 3, 1, 1]}), settings())
    with pytest.raises(DataError, match="no label 'b'. Known labels: a"):
        targets(INDEX.drop(columns="label:b"), settings())
    exclusive = replace(settings(uncertain="zeros"), mode="multiclass")
    with pytest.raises(
        DataError, match="2 of 4 images do not have exactly one class, e.g. 'y' has 0"
    ):
        targets(INDEX, exclusive)


def test_one_label_value() -> None:
    values = np.array([[1.0, 0], [1, 1]])
    assert check_trainable(values, settings(), "training") == ["a"]
    with pytest.raises(DataError, match="training images \\(2\\) have one label value only for a"):
        check_trainable(values, replace(settings(), mode="multiclass"), "training")


def test_shots_nest_and_cover_every_class() -> None:
    values = np.random.default_rng(0).integers(0, 2, (200, 3)).astype(float)
    few, many = few_shot(values, 2, "multilabel", 1), few_shot(values, 8, "multilabel", 1)
    assert set(few) < set(many) and len(few) <= 8
    assert (values[few] == 1).sum(0).min() >= 2 and (~values[few].astype(bool)).all(1).sum() == 2
    assert not np.array_equal(few, few_shot(values, 2, "multilabel", 2))


def test_views() -> None:
    data = subset(40)
    kept = keep_views(data, ("PA",))
    assert set(kept.index["view"]) == {"PA"} and 0 < len(kept) < 40
    np.testing.assert_array_equal(
        kept.images(np.array([1])), data.images(np.flatnonzero(data.index["view"] == "PA")[1:2])
    )
    with pytest.raises(DataError, match="no image has one of the views AP; found: LL, PA"):
        keep_views(data, ("AP",))


def test_groups_of_age_and_sex() -> None:
    index = pd.DataFrame(
        {"sex": ["F", "M", None], "age": [39.0, 80.0, np.nan], "view": ["PA", "PA", "PA"]}
    )
    assert groups(index) == {"sex": ["F", "M", ""], "age": ["0-39", "80+", ""]}


def test_finetune_and_presets_differ_as_published() -> None:
    tuned = resolve(task(), "default", "paper", {"head": "finetune"})
    assert (tuned.lr, tuned.monitor, tuned.augment, tuned.cached) == (1e-4, "auroc", "crop", False)
    mgca, gloria = (resolve(task(), name, "paper", {}) for name in ("mgca", "gloria"))
    assert (mgca.lr, mgca.batch_size, mgca.monitor, mgca.optimizer) == (5e-4, 48, "loss", "adamw")
    assert (gloria.betas, gloria.batchnorm, gloria.monitor) == ((0.5, 0.999), "train", "none")
    assert ClassificationSettings().cached and not mgca.cached
