"""One declaration makes a method: what it registers, what it refuses, and what was declared another
way before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import torch

from backbones.settings import settings_type_of
from backbones.shared.pretraining.declare import method, method_class, method_settings, method_spec
from backbones.shared.pretraining.settings import MethodSettings
from backbones.shared.pretraining.vision_language import Batch, VisionLanguageMethod
from bench.contracts import BACKBONES, Backbone, BackboneRequest, backbone
from bench.core.errors import PlaceBenchError, SettingError
from bench.core.settings import Range

METHODS = ("convirt", "gloria", "medtrim", "mgca", "mlip_reimpl", "place")


@dataclass(frozen=True)
class Own(MethodSettings):
    margin: Annotated[float, Range(0, 1)] = 0.2


class NotDecorated(MethodSettings):
    margin: float = 0.2


class Net(VisionLanguageMethod[Own]):
    """A loss of nothing.

    For tests.
    """

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {}


class Lossless(VisionLanguageMethod[Own]):
    pass


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    BACKBONES.names()
    monkeypatch.setattr(BACKBONES, "_items", dict(BACKBONES._items))
    yield


@pytest.mark.usefixtures("registry")
def test_the_decorated_network_is_a_method() -> None:
    declare = method("own", settings=Own, demo={"margin": 0.5}, citation="Somebody, 2026")
    assert declare(Net) is Net
    spec = BACKBONES.get("own")
    assert (spec.title, spec.citation, spec.pretrain_on) == (
        "A loss of nothing.",
        "Somebody, 2026",
        "mimic_cxr",
    )
    assert method_class("own") is Net and spec.architecture(BackboneRequest("paper"))
    assert method_settings("own", "paper") == Own()
    demo = method_settings("own", "demo", {"tau1": "0.3"})
    assert isinstance(demo, Own)
    assert (demo.margin, demo.epochs, demo.tau1) == (0.5, 6, 0.3)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("network", [Net, f"{__name__}:Net"])
def test_a_named_network_is_declared_by_the_call_itself(network: Any) -> None:
    method("own", network=network, settings=Own)
    assert method_spec(BACKBONES.get("own")).settings is Own
    spec = BACKBONES.get("own?name=mine")
    assert spec.pretraining is not None and spec.pretraining.settings is Own
    assert BACKBONES.get("own").method == f"{__name__}:Net"


@pytest.mark.usefixtures("registry")
def test_settings_of_an_encoder_that_its_checkpoint_holds_are_refused_before_it_is_opened() -> None:
    method("own", network=Net, settings=Own)
    check = BACKBONES.get("own?margin=0.3").check
    assert check is not None
    with pytest.raises(SettingError, match=r"backbone\.margin: 'own' takes its settings from its"):
        check(BackboneRequest("demo"))


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"settings": dict}, "'own': settings is <class 'dict'>"),
        ({"settings": Own()}, r"'own': settings is Own\("),
        ({"settings": NotDecorated}, "'own': its settings NotDecorated are not a dataclass"),
        ({"demo": {"margine": 0.3}}, "demo changes 'margine', which is not a setting of Own"),
        ({"demo": {"margin": 3}}, "in the demo profile: setting 'margin' is 3"),
        ({"demo": {"margin": "wide"}}, "in the demo profile: setting 'margin' wants float"),
        ({"network": Own}, "its network .*Own.* is not a subclass of VisionLanguageMethod"),
        ({"network": Lossless}, "its network .*:Lossless lacks losses"),
        ({"network": "backbones.place.model"}, "network is 'backbones.place.model'"),
        ({"network": len}, "network is <built-in function len>"),
    ],
)
def test_what_could_not_be_trained_is_refused_where_it_is_declared(
    keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlaceBenchError, match=message):
        method("own", **{"network": Net, "settings": Own, **keywords})
    assert "own" not in BACKBONES.names()


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("backbones.nowhere.model:Net", "there is no module backbones.nowhere.model"),
        ("backbones.place.model:Plaice", "backbones.place.model has no Plaice"),
        ("backbones.place.settings:Settings", "is not a subclass of VisionLanguageMethod"),
    ],
)
def test_a_network_that_is_named_wrongly_is_one_sentence(network: str, message: str) -> None:
    method("own", network=network)
    with pytest.raises(PlaceBenchError, match=f"method 'own': .*{message}"):
        method_class("own")


@pytest.mark.usefixtures("registry")
def test_a_declaration_of_before_names_its_network_and_has_its_settings_there() -> None:
    class Old(VisionLanguageMethod):
        settings_type = Own

        def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
            return {}

    globals()["Old"] = Old

    @backbone("old", method=f"{__name__}:Old", trainer="backbones.pretrain", pretrain_on="iu_xray")
    def build(request: BackboneRequest) -> Backbone:
        raise NotImplementedError

    assert method_class("old") is Old and settings_type_of(BACKBONES.get("old")) is Own
    assert method_settings("old", "demo").epochs == 6


def test_an_encoder_that_is_not_trained_here_has_no_method() -> None:
    with pytest.raises(PlaceBenchError, match="'random' is not pre-trained here"):
        method_spec(BACKBONES.get("random"))


def test_declarations_import_no_torch() -> None:
    words = (
        "import sys; from bench.contracts import BACKBONES; "
        "from backbones.shared.pretraining.declare import method_settings; "
        f"[method_settings(name, 'demo') for name in {METHODS}]; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", words], check=True, timeout=60)
