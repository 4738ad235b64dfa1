"""docs/examples/method.py, a method in one file: as a plug-in it trains, is saved and comes back;
docs/howto_method.md shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.shared.pretraining.declare import method_settings
from backbones.shared.pretraining.trainer import pretrain
from bench.contracts import BACKBONES, BackboneRequest, PairData
from bench.core.errors import SettingError
from bench.core.progress import Silent
from bench.core.registry import load_plugin
from tests.support.pairs import images, make_subset, recipe

DOCS = Path(__file__).parents[4] / "docs"
EXAMPLE = DOCS / "examples" / "method.py"


def test_the_example_trains_and_is_used() -> None:
    load_plugin(EXAMPLE)
    pairs = PairData("squares", "demo", make_subset(8, 144, 1), make_subset(4, 144, 2), "0123abcd")
    folder = pretrain(recipe("siglip"), pairs, progress=Silent())
    loaded: Any = BACKBONES.get("siglip").build(BackboneRequest("demo", checkpoint=folder))
    assert loaded.method.settings.bias == -5.0
    with torch.no_grad():
        assert loaded.similarity(images(pairs), ["Normal.", "There is a nodule."]).shape == (4, 2)


def test_the_documentation_shows_the_file_itself() -> None:
    assert EXAMPLE.read_text(encoding="utf-8").strip() in (DOCS / "howto_method.md").read_text(
        encoding="utf-8"
    )


def test_the_example_is_short_and_takes_its_own_settings() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 60
    load_plugin(EXAMPLE)
    chosen: Any = method_settings("siglip", "paper", {"scale": "20"})
    assert chosen.scale == 20
    with pytest.raises(SettingError, match="'scale' is 0"):
        method_settings("siglip", "paper", {"scale": "0"})
