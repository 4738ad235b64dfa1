"""An encoder that is a module of torch itself is used beside a head and is no part of it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from bench.contracts import TASKS, Features, ImageEncoder, InputSpec
from bench.encoding.beside import Beside
from bench.mm.backbone import PyramidBackbone
from tasks.classification.settings import resolve
from tasks.classification.trained import Network


class ModuleEncoder(nn.Module):
    """As a plug-in may be written: the network is the encoder."""

    name, architecture, family = "net", "net", "resnet"
    input = InputSpec(size=16, resize=16)
    pooled_dim = patch_dim = 4
    pyramid_channels, pyramid_strides = (4,), (8,)

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 8, 8)

    @property
    def module(self) -> nn.Module:
        return self.layer

    def features(self, images: torch.Tensor) -> Features:
        maps = self.layer(images)
        patches = maps.flatten(2).mT
        return Features(patches.mean(1), patches, (2, 2), (maps,))


class Head(nn.Module):
    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.beside = Beside(encoder)


def test_what_stands_beside_a_module_is_not_registered_and_is_copied_with_it() -> None:
    encoder = ModuleEncoder()
    head = Head(encoder)
    assert not head.state_dict() and head.beside.encoder is encoder
    assert copy.deepcopy(head).beside.encoder is not encoder


def test_heads_do_not_hold_a_frozen_encoder() -> None:
    encoder = ModuleEncoder().train()
    settings = resolve(TASKS.get("siim_cls"), "default", "demo", {})
    network = Network(encoder, 2, settings, seed=0)
    assert list(network.state_dict()) == ["head.weight", "head.bias"]
    assert not PyramidBackbone(encoder).state_dict()
    assert set(PyramidBackbone(encoder, frozen=False).state_dict()) == {
        "encoder_module.weight",
        "encoder_module.bias",
    }
