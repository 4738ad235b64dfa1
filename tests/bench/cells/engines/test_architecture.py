"""The encoder that was loaded is the one that key and table name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.cells.baselines import Baseline
from bench.cells.engines.local import EncoderShelf
from bench.cells.prepare import EncoderRef, RunRequest
from bench.contracts import BACKBONES, BackboneRequest, BackboneSpec
from bench.core.errors import SettingError


@pytest.fixture
def resnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in that builds a ResNet whatever architecture is asked for."""
    BACKBONES.names()

    def build(request: BackboneRequest) -> Baseline:
        return Baseline("mine", "mine", architecture="resnet18", module=torch.nn.Linear(1, 1))

    monkeypatch.setitem(BACKBONES._items, "mine", BackboneSpec("mine", "Mine", build))


def job(architecture: str) -> Any:
    """Return what is read of a job."""
    cell = SimpleNamespace(
        encoder_name="mine", architecture=architecture, backbone_settings={}, profile="demo", seed=0
    )
    return SimpleNamespace(cell=cell, encoder=EncoderRef(architecture))


def test_another_architecture_than_the_one_that_is_named_is_refused(resnet: None) -> None:
    shelf = EncoderShelf(RunRequest(("x",), device="cpu"))
    for named in ("", "resnet18", "resnet"):
        assert shelf.get(job(named)).architecture == "resnet18"
    with pytest.raises(SettingError, match="'mine' is a resnet18, architecture 'vit' was asked"):
        shelf.get(job("vit"))
