"""Image encoders: what heads may rely on."""

from __future__ import annotations

import pytest
import torch

from backbones.shared.encoders.architectures import ARCHITECTURES, resolve_architecture
from backbones.shared.encoders.image import build_encoder
from bench.contracts import BACKBONES, BackboneRequest
from bench.core.errors import NotApplicableError, SettingError, UnknownNameError
from bench.encoding.similarity import need_text_side


@pytest.mark.parametrize("name", ["resnet_demo", "vit_demo"])
@pytest.mark.parametrize("height, width", [(128, 128), (96, 160), (224, 224)])
def test_features_have_the_declared_shapes(name: str, height: int, width: int) -> None:
    facts = ARCHITECTURES[name]
    with torch.no_grad():
        features = build_encoder(facts).eval().features(torch.randn(2, 3, height, width))
    assert features.pooled.shape == (2, facts.pooled_dim)
    assert features.grid == (height // 16, width // 16)
    assert features.patches.shape == (2, features.grid[0] * features.grid[1], facts.patch_dim)
    shapes = [
        (2, c, height // s, width // s)
        for c, s in zip(facts.pyramid_channels, facts.pyramid_strides, strict=True)
    ]
    assert [tuple(maps.shape) for maps in features.pyramid] == shapes


@pytest.mark.parametrize("name", ["resnet_demo", "vit_demo"])
def test_patches_are_row_major(name: str) -> None:
    encoder = build_encoder(ARCHITECTURES[name]).eval()
    with torch.no_grad():
        features = encoder.features(torch.randn(1, 3, 96, 160))
    maps = features.pyramid[2 if name == "resnet_demo" else 3]
    torch.testing.assert_close(features.patches[0].T.reshape(maps.shape[1:]), maps[0])


def test_paper_architectures_carry_the_published_names_and_shapes() -> None:
    resnet = build_encoder(ARCHITECTURES["resnet50"]).model.state_dict()
    assert resnet["layer3.5.conv3.weight"].shape == (1024, 256, 1, 1)
    assert (
        sum(value.numel() for value in resnet.values() if value.is_floating_point()) == 23_561_152
    )
    vit = ARCHITECTURES["vit_base_patch16_224"]
    assert (vit.pooled_dim, vit.options["depth"], vit.options["num_heads"]) == (768, 12, 12)


def test_same_seed_same_weights_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = (
        BACKBONES.get("random").build(BackboneRequest("demo", "resnet", seed)).module.state_dict()
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_wrong_sizes_and_names_end_in_a_sentence() -> None:
    with pytest.raises(SettingError, match="multiples of 32"):
        build_encoder(ARCHITECTURES["resnet_demo"]).features(torch.zeros(1, 3, 100, 128))
    with pytest.raises(UnknownNameError, match="resnet50"):
        resolve_architecture("paper", "resnet51")
    with pytest.raises(SettingError, match="random"):
        BACKBONES.get("random").build(BackboneRequest("demo", settings={"lr": "1"}))
    with pytest.raises(
        NotApplicableError, match="needs a text encoder, backbone 'random' has none"
    ):
        need_text_side(BACKBONES.get("random").build(BackboneRequest("demo")), "retrieval")


def test_profiles_choose_their_architectures() -> None:
    assert resolve_architecture("demo").name == "resnet_demo"
    assert resolve_architecture("paper").name == "vit_base_patch16_224"
    assert resolve_architecture("paper", "resnet").name == "resnet50"
    assert resolve_architecture("demo", "resnet50").name == "resnet50"
