"""What a builder returns is looked at before anything uses it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.cells.loading import load_encoder
from bench.contracts import BackboneRequest, BackboneSpec, InputSpec
from bench.core.errors import PlaceBenchError, SettingError


class Net:
    name, architecture, family = "net", "resnet18", "resnet"
    input = InputSpec(16, 16)
    pooled_dim = patch_dim = 4
    pyramid_channels, pyramid_strides = (4,), (8,)
    features = torch.nn.Identity()

    def __init__(self) -> None:
        self.module = torch.nn.Linear(1, 1)


def load(built: Any, architecture: str = "") -> Any:
    spec = BackboneSpec("net", "Net", lambda request: built)
    return load_encoder(spec, BackboneRequest("demo", architecture), "cpu")


def without(name: str) -> Net:
    net = type("Partial", (), {key: value for key, value in vars(Net).items() if key != name})()
    if name == "module":
        del net.module
    return net


@pytest.mark.parametrize("architecture", ["", "resnet18", "resnet"])
def test_an_encoder_is_loaded_in_evaluation_mode(architecture: str) -> None:
    assert not load(Net(), architecture).module.training


def test_another_architecture_than_the_one_that_is_named_is_refused() -> None:
    with pytest.raises(SettingError, match="'net' is a resnet18, architecture 'vit' was asked"):
        load(Net(), "vit")


def test_a_family_that_no_head_knows_is_refused() -> None:
    net = Net()
    net.family = "swin"
    with pytest.raises(PlaceBenchError, match="'net': family is 'swin'. Choose resnet or vit"):
        load(net)


@pytest.mark.parametrize("name", ["name", "family", "module", "pooled_dim", "pyramid_strides"])
def test_an_attribute_that_is_lacking_is_named(name: str) -> None:
    title = "Partial" if name == "name" else "net"
    with pytest.raises(PlaceBenchError, match=f"encoder '{title}' lacks {name}\\."):
        load(without(name))


@pytest.mark.parametrize(("built", "said"), [(None, "None"), (Net, "the class Net")])
def test_a_builder_that_returns_no_encoder_is_refused(built: Any, said: str) -> None:
    with pytest.raises(SettingError, match=f"the builder of backbone 'net' returned {said}\\."):
        load(built)
