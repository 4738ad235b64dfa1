"""`torchxrayvision:NAME`: the DenseNets and ResNets of torchxrayvision."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models

from backbones.external.encoder import ExternalBackbone, ExternalEncoder, features_of
from backbones.external.settings import XrayVisionSettings
from backbones.external.sources import architecture
from backbones.published.convert import module_state
from backbones.shared.weights.coverage import fill
from backbones.shared.weights.reading import Inert, read_weights, state_dict_of
from bench.contracts import Backbone, BackboneRequest, Features, InputSpec
from bench.core.errors import MissingDependencyError, UnknownNameError
from bench.core.registry import suggest
from bench.core.settings import override

_CLASSES = ("torchxrayvision.", "torch.nn.", "torch._utils.")
_RANGE = 1024.0
"""Their images lie in -1024 .. 1024, ours in -1 .. 1."""


class XrayVisionMaps(nn.Module):
    """A DenseNet-121 or ResNet for one grey channel, returning Features."""

    def __init__(self, name: str) -> None:
        super().__init__()
        if name.startswith("densenet"):
            self.network: Any = models.densenet121(num_classes=1)
            self.network.features.conv0 = _grey(self.network.features.conv0)
        else:
            self.network = getattr(models, name.partition("-")[0])(num_classes=1)
            self.network.conv1 = _grey(self.network.conv1)

    def forward(self, images: torch.Tensor) -> Features:
        """Encode images [B, 3, H, W] in -1 .. 1."""
        grey = images.mean(1, keepdim=True) * _RANGE
        maps = self._dense(grey) if hasattr(self.network, "features") else self._residual(grey)
        return features_of(maps, maps[-1].mean((2, 3)), images.shape[2])

    def _dense(self, images: torch.Tensor) -> list[torch.Tensor]:
        maps = images
        stages = []
        for name, layer in self.network.features.named_children():
            maps = layer(maps)
            if name.startswith(("denseblock", "norm5")):
                stages.append(maps)
        return [*stages[:-2], torch.relu(stages[-1])]

    def _residual(self, images: torch.Tensor) -> list[torch.Tensor]:
        net = self.network
        maps = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        stages = []
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            maps = layer(maps)
            stages.append(maps)
        return stages


def _grey(layer: nn.Conv2d) -> nn.Conv2d:
    return nn.Conv2d(1, layer.out_channels, kernel_size=7, stride=2, padding=3, bias=False)


def build(rest: str, request: BackboneRequest) -> Backbone:
    """Return a torchxrayvision model.

    Its files are pickled models; the tensors are read from them without building the classes they
    name. Raises MissingDependencyError where package or weights are absent.
    """
    settings = override(XrayVisionSettings(), request.settings)
    path = Path(settings.weights).expanduser() if settings.weights else weights_path(rest)
    content = read_weights(path, inert=_CLASSES)
    state = module_state(content) if isinstance(content, Inert) else state_dict_of(content, path)
    network = XrayVisionMaps(rest)
    encoder_state = {
        key: value
        for key, value in state.items()
        if not key.startswith(("classifier.", "fc.", "op_threshs"))
    }
    body = network.network
    for head in ("classifier", "fc"):
        if hasattr(body, head):
            setattr(body, head, nn.Identity())
    coverage = fill(body, encoder_state, path, f"torchxrayvision:{rest}")
    size = 512 if "res512" in rest else 224
    architecture_name = architecture("torchxrayvision", rest, request)
    encoder = ExternalEncoder(architecture_name, network, InputSpec(size, size))
    return ExternalBackbone(f"torchxrayvision:{rest}", encoder, coverage)


def weights_path(name: str) -> Path:
    """Return the weights file of a model in the package's own folder, downloaded where it is
    missing."""
    try:
        package = importlib.import_module("torchxrayvision")
    except ImportError as error:
        raise MissingDependencyError(
            f"torchxrayvision:{name} needs the package torchxrayvision: {error}.",
            "`pip install --no-deps torchxrayvision`, or name the file: "
            "torchxrayvision:NAME?weights=PATH.",
        ) from error
    urls = {
        key: facts["weights_url"]
        for key, facts in package.models.model_urls.items()
        if key.startswith(("densenet", "resnet"))
    }
    if name not in urls:
        raise UnknownNameError(f"torchxrayvision has no model '{name}'.", suggest(name, urls))
    path = Path(package.utils.get_cache_dir()) / Path(urls[name]).name
    if not path.is_file():
        _download(urls[name], path)
    return path


def _download(url: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path))
    except OSError as error:
        raise MissingDependencyError(
            f"{url} cannot be downloaded: {error}.", f"Bring the file to {path}."
        ) from error
