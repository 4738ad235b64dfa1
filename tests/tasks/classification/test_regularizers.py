"""A regulariser in one file: declared, run, keyed and refused like those of the project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.errors import PlaceBenchError, SettingError, UnknownNameError
from bench.core.hashing import flatten
from tasks.classification import ClassificationKind
from tasks.classification.regularizers import REGULARIZERS, Regularizer
from tests.support.plugins import loaded
from tests.tasks.fakes import Encoder, context, subset, task

KIND = ClassificationKind()
FILE = Path(__file__).parents[3] / "docs" / "examples" / "regularizer.py"
SPEC = task(labels=("a", "b"))


@pytest.fixture
def noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Load the example of the how-to page, as `--plugin` does."""
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    with loaded(FILE):
        yield


def scores(folder: Path, **changes: str) -> np.ndarray:
    """Return the test scores of a fine-tuned encoder."""
    changes = {"head": "finetune", "epochs": "2", "warmup": "0", **changes}
    settings = KIND.settings(SPEC, "default", "demo", changes)
    cell = context(SPEC, settings, folder)
    classifier = KIND.fit(Encoder(), subset(60, 1), subset(40, 2), cell)
    table = KIND.predict(classifier, subset(30, 3), cell).table
    return table[["score:a", "score:b"]].to_numpy()


@pytest.mark.usefixtures("noise")
def test_a_regulariser_in_one_file_is_trained_with(tmp_path: Path) -> None:
    plain = scores(tmp_path / "plain")
    without = scores(tmp_path / "without", regularizer="noise", noise_weight="0")
    strong = scores(tmp_path / "strong", regularizer="noise", noise_weight="100", noise="1")
    np.testing.assert_array_equal(without, plain)
    assert np.abs(strong - plain).max() > 1e-3


@pytest.mark.usefixtures("noise")
def test_its_settings_are_checked_and_keyed() -> None:
    def settings(**changes: str) -> Any:
        named = {"head": "finetune", "regularizer": "noise", **changes}
        return KIND.settings(SPEC, "default", "demo", named)

    assert flatten(settings())["regularizer"] == "noise"
    assert flatten(settings(noise="0.2")) == {**flatten(settings()), "noise": 0.2}
    with pytest.raises(SettingError, match="'noise' is 0"):
        settings(noise="0")
    with pytest.raises(SettingError, match="'noise' is one of regularizer=noise, and regularizer"):
        KIND.settings(SPEC, "default", "demo", {"head": "finetune", "noise": "0.2"})


def test_none_is_what_results_of_before_have_and_stands_in_no_key() -> None:
    usual = flatten(KIND.settings(SPEC, "default", "demo", {"head": "finetune"}))
    named = {"head": "finetune", "regularizer": "none", "saliency_metrics": "false"}
    assert usual == flatten(KIND.settings(SPEC, "default", "demo", named))
    assert not {"regularizer", "saliency", "saliency_metrics"} & set(usual)


def test_an_unknown_regulariser_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown regulariser 'pp1'.*Did you mean ppi"):
        KIND.settings(SPEC, "default", "demo", {"head": "finetune", "regularizer": "pp1"})


def test_a_wrong_regulariser_is_refused_where_it_is_declared() -> None:
    wrong: Any = "losses"
    with pytest.raises(PlaceBenchError, match="regulariser 'mine': losses is 'losses'"):
        REGULARIZERS.add("mine", Regularizer("mine", wrong))
    no_settings: Any = dict
    with pytest.raises(PlaceBenchError, match=r"derives from ClassificationSettings"):
        REGULARIZERS.add("mine", Regularizer("mine", print, no_settings))
    no_regularizer: Any = print
    with pytest.raises(PlaceBenchError, match=r"Write Regularizer\(title, losses\)"):
        REGULARIZERS.add("mine", no_regularizer)
    assert "mine" not in REGULARIZERS
