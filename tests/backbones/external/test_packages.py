"""torchxrayvision and open_clip: what happens without the packages, and torchxrayvision's networks
from a local file."""

from __future__ import annotations

import builtins
import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

from backbones.external.encoder import ExternalBackbone
from bench.contracts import BACKBONES, BackboneRequest
from bench.core.errors import CheckpointError, MissingDependencyError
from tests.support.coverage import filled


def build(name: str) -> ExternalBackbone:
    built = BACKBONES.get(name).build(BackboneRequest("paper"))
    assert isinstance(built, ExternalBackbone)
    return built


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    real = importlib.import_module

    def refuse(name: str, package: str | None = None) -> ModuleType:
        if name in ("torchxrayvision", "open_clip"):
            raise ImportError(f"No module named '{name}'")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", refuse)
    return builtins


@pytest.mark.parametrize(
    "name", ["torchxrayvision:densenet121-res224-all", "open_clip:ViT-B-32?pretrained=openai"]
)
def test_an_absent_package_says_how_to_install_it(name: str, without_packages: ModuleType) -> None:
    with pytest.raises(MissingDependencyError, match=r"needs the package .*pip install --no-deps"):
        build(name)


@pytest.mark.parametrize(
    ("name", "size"), [("densenet121-res224-all", 224), ("resnet50-res512-all", 512)]
)
def test_torchxrayvision_files_load_and_give_features(name: str, size: int, tmp_path: Path) -> None:
    from backbones.external.xrayvision import XrayVisionMaps

    torch.manual_seed(0)
    network = XrayVisionMaps(name).network.eval()
    head = network.classifier if hasattr(network, "classifier") else network.fc
    path = tmp_path / "weights.pt"
    torch.save(network.state_dict(), path)
    backbone = build(f"torchxrayvision:{name}?weights={path}")
    assert filled(backbone) == 1.0
    assert (backbone.input.size, backbone.family, backbone.pyramid_strides) == (
        size,
        "resnet",
        (4, 8, 16, 32),
    )
    grey = torch.rand(2, 1, 64, 64, generator=torch.manual_seed(1)) * 2 - 1
    with torch.no_grad():
        found = backbone.features(grey.expand(-1, 3, -1, -1))
        logits = network(grey * 1024)

        own = head(found.pooled)
    assert torch.allclose(own, logits, atol=1e-3, rtol=1e-3)


def test_a_torchxrayvision_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"conv.weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=r"fills 0%.*features\.conv0\.weight|fills 0%.*conv0"):
        build(f"torchxrayvision:densenet121-res224-all?weights={path}")
