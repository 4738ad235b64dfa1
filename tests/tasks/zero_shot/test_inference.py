"""An inference strategy in one file: declared, run, keyed and refused like those of the project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.contracts import Subset
from bench.core.errors import PlaceBenchError, SettingError
from bench.core.hashing import flatten
from tasks.zero_shot import ZeroShotKind
from tasks.zero_shot.fit import class_scores
from tasks.zero_shot.inference import INFERENCES, Inference
from tasks.zero_shot.prompts import ClassPrompts
from tests.support.plugins import loaded
from tests.tasks.fakes import Encoder, context, subset, task

KIND = ZeroShotKind()
FILE = Path(__file__).parents[3] / "docs" / "examples" / "inference.py"
PROMPTS = (ClassPrompts(("left",)), ClassPrompts(("right",)))
SPEC = task(labels=("a", "b"))


@pytest.fixture
def mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Load the example of the how-to page, as `--plugin` does."""
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    with loaded(FILE):
        yield


def scored(folder: Path, images: Subset, **changes: str) -> np.ndarray:
    settings = KIND.settings(SPEC, "default", "demo", {"scale": "1", "mode": "binary", **changes})
    return class_scores(Encoder(), PROMPTS, images, context(SPEC, settings, folder, data_key="d"))


@pytest.mark.usefixtures("mirrored")
def test_a_strategy_in_one_file_looks_as_it_says(tmp_path: Path) -> None:
    """Half of the weight on the mirror image: left and right are the same."""
    images = subset(30, 1, size=32)
    whole = scored(tmp_path, images, similarity="global")
    alone = scored(tmp_path, images, inference="mirrored", share="0")
    np.testing.assert_allclose(alone, whole, atol=1e-3)
    assert np.abs(whole[:, 0] - whole[:, 1]).max() > 0.1
    both = scored(tmp_path, images, inference="mirrored")
    np.testing.assert_allclose(both[:, 0], both[:, 1], atol=2e-3)


@pytest.mark.usefixtures("mirrored")
def test_its_settings_are_checked_and_keyed() -> None:
    def settings(**changes: str) -> Any:
        return KIND.settings(SPEC, "default", "demo", {"inference": "mirrored", **changes})

    assert flatten(settings())["inference"] == "mirrored"
    assert flatten(settings(share="0.2")) == {**flatten(settings()), "share": 0.2}
    with pytest.raises(SettingError, match="'share' is 2"):
        settings(share="2")
    with pytest.raises(SettingError, match="'share' is one of inference=mirrored"):
        KIND.settings(SPEC, "default", "demo", {"share": "0.2"})


def test_whole_is_what_results_of_before_have_and_stands_in_no_key() -> None:
    usual = flatten(KIND.settings(SPEC, "default", "demo", {}))
    assert "inference" not in usual
    assert usual == flatten(KIND.settings(SPEC, "default", "demo", {"inference": "whole"}))


def test_a_wrong_strategy_is_refused_where_it_is_declared() -> None:
    wrong: Any = "scores"
    with pytest.raises(PlaceBenchError, match="strategy 'mine': scores is 'scores'"):
        INFERENCES.add("mine", Inference("mine", wrong))
    no_settings: Any = dict
    with pytest.raises(PlaceBenchError, match=r"settings is .*dict.*derives from ZeroShotSettings"):
        INFERENCES.add("mine", Inference("mine", print, no_settings))
    no_inference: Any = print
    with pytest.raises(PlaceBenchError, match=r"Write Inference\(title, scores\)"):
        INFERENCES.add("mine", no_inference)
    assert "mine" not in INFERENCES
