"""timm models and weights files: features, input contract, offline folders, no silent random
weights."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.external.encoder import ExternalBackbone
from bench.contracts import BACKBONES, BackboneRequest, Features
from bench.core.errors import (
    CheckpointError,
    MissingDependencyError,
    SettingError,
    UnknownNameError,
)
from tests.support.coverage import filled


def build(name: str, seed: int = 0, **settings: Any) -> ExternalBackbone:
    built = BACKBONES.get(name).build(BackboneRequest("paper", seed=seed, settings=settings))
    assert isinstance(built, ExternalBackbone)
    return built


def images(size: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.manual_seed(3))


def check_shapes(backbone: ExternalBackbone, size: int) -> Features:
    with torch.inference_mode():
        found = backbone.features(images(size))
    assert found.pooled.shape == (2, backbone.pooled_dim)
    assert found.patches.shape == (2, found.grid[0] * found.grid[1], backbone.patch_dim)
    assert [item.shape[1] for item in found.pyramid] == list(backbone.pyramid_channels)
    assert [size // item.shape[2] for item in found.pyramid] == list(backbone.pyramid_strides)
    return found


@pytest.fixture
def weights(tmp_path: Path) -> Callable[..., Any]:
    import timm

    def save(name: str, change: Callable[..., Any] = lambda state: state) -> tuple[Any, ...]:
        torch.manual_seed(5)
        model = timm.create_model(name, num_classes=0)
        path = tmp_path / f"{name}.pth"
        torch.save(change(model.state_dict()), path)
        return path, model.eval()

    return save


@pytest.mark.parametrize(
    ("name", "family", "strides"),
    [
        ("test_resnet", "resnet", (4, 8, 16, 32)),
        ("test_convnext", "resnet", (4, 8, 16, 32)),
        ("test_efficientnet", "resnet", (4, 8, 16, 32)),
        ("test_vit", "vit", (16, 16, 16, 16)),
    ],
)
def test_each_family_has_pooled_patch_and_pyramid_features(
    name: str, family: str, strides: tuple[int, ...], weights: Callable[..., Any]
) -> None:
    path, model = weights(name)
    backbone = build(f"timm:{name}?weights={path}")
    assert backbone.family == family
    assert backbone.pyramid_strides[-len(strides) :] == strides[-len(backbone.pyramid_strides) :]
    assert filled(backbone) == 1.0
    found = check_shapes(backbone, backbone.input.size)
    with torch.inference_mode():
        assert torch.allclose(found.pooled, model(images(backbone.input.size)), atol=1e-5)


def test_the_input_contract_is_the_models_own_and_can_be_changed(
    weights: Callable[..., Any],
) -> None:
    path, model = weights("test_vit")
    own = build(f"timm:test_vit?weights={path}").input
    config = model.pretrained_cfg
    assert (own.mean, own.std, own.size) == (
        tuple(config["mean"]),
        tuple(config["std"]),
        config["input_size"][-1],
    )
    changed = build(
        f"timm:test_vit?weights={path}&mean=0.5&std=0.2,0.3,0.4&size=96&resize=112"
    ).input
    assert (changed.mean, changed.std, changed.size, changed.resize) == (
        (0.5,) * 3,
        (0.2, 0.3, 0.4),
        96,
        112,
    )


def test_a_vit_takes_images_of_another_size(weights: Callable[..., Any]) -> None:
    path, _ = weights("test_vit")
    check_shapes(build(f"timm:test_vit?weights={path}"), 224)


def test_vit_patches_are_in_the_order_of_the_grid(weights: Callable[..., Any]) -> None:
    path, _ = weights("test_vit")
    backbone = build(f"timm:test_vit?weights={path}")
    found = check_shapes(backbone, 160)
    assert torch.allclose(found.patches, found.pyramid[-1].flatten(2).transpose(1, 2), atol=1e-6)


def test_random_weights_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    first, again, other = (
        build("timm:test_resnet?pretrained=false", seed=seed) for seed in (1, 1, 2)
    )
    same, different = first.module.state_dict(), other.module.state_dict()
    assert all(torch.equal(value, same[key]) for key, value in again.module.state_dict().items())
    assert any(not torch.equal(value, different[key]) for key, value in same.items())


def test_weights_that_cannot_be_had_say_how_to_bring_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def no_network(*_: str, **__: int | bool) -> None:
        raise OSError("couldn't connect to the hub")

    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(
        MissingDependencyError, match=r"timm:test_resnet could not be made.*HF_HOME.*weights=PATH"
    ):
        build("timm:test_resnet")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="test_resnet"):
        build("timm:test_resnett")
    with pytest.raises(SettingError, match="names no model"):
        BACKBONES.get("timm:")


def test_a_folder_of_a_timm_model_loads_offline(
    tmp_path: Path, weights: Callable[..., Any]
) -> None:
    from safetensors.torch import save_file

    _, model = weights("test_vit")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    cfg = {
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "input_size": [3, 160, 160],
        "crop_pct": 1.0,
        "fixed_input_size": True,
    }
    (tmp_path / "config.json").write_text(
        json.dumps({"architecture": "test_vit", "pretrained_cfg": cfg, "num_classes": 0})
    )
    spec = BACKBONES.get(f"timm:{tmp_path}")
    assert spec.weights_file is not None
    assert spec.weights_file(BackboneRequest("paper")) == tmp_path / "model.safetensors"
    backbone = spec.build(BackboneRequest("paper"))
    assert backbone.input.mean == (0.1, 0.2, 0.3)
    with torch.inference_mode():
        assert torch.allclose(backbone.features(images(160)).pooled, model(images(160)), atol=1e-5)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"no model\.safetensors"):
        build(f"timm:{tmp_path}")


def test_a_weights_file_with_key_and_prefix(weights: Callable[..., Any]) -> None:
    path, model = weights(
        "test_resnet",
        lambda state: {"net": {"ema": {f"enc.{k}": v for k, v in state.items()}}, "step": 3},
    )
    backbone = build(f"file:{path}?arch=test_resnet&prefix=enc.&key=net.ema")
    assert filled(backbone) == 1.0
    with torch.inference_mode():
        assert torch.allclose(backbone.features(images(160)).pooled, model(images(160)), atol=1e-5)


def test_a_wrong_prefix_names_the_right_one(weights: Callable[..., Any]) -> None:
    path, _ = weights("test_resnet", lambda state: {f"module.enc.{k}": v for k, v in state.items()})
    with pytest.raises(CheckpointError, match=r"fills 0%.*prefix=module\.enc\."):
        build(f"file:{path}?arch=test_resnet")


def test_another_architecture_is_refused(weights: Callable[..., Any]) -> None:
    path, _ = weights("test_resnet")
    with pytest.raises(CheckpointError, match=r"fills 0%.*cls_token"):
        build(f"file:{path}?arch=test_vit")


def test_a_file_without_arch_or_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"\?arch=vit_base_patch16_224"):
        build(f"file:{tmp_path / 'x.pth'}")
    with pytest.raises(CheckpointError, match=r"x\.pth does not exist"):
        build(f"file:{tmp_path / 'x.pth'}?arch=test_vit")


def test_a_model_of_one_size_says_so(weights: Callable[..., Any]) -> None:
    path, _ = weights("test_resnet")
    assert not build(f"timm:test_resnet?weights={path}").encoder.fixed_size
    swin = build("timm:swin_tiny_patch4_window7_224?pretrained=false")
    with pytest.raises(SettingError, match="224 x 224 px only"):
        swin.features(images(256))


def older_swin(state: OrderedDict) -> dict[str, torch.Tensor]:
    """The layout of timm up to 0.8 and of Microsoft: patches are merged at the end of a stage."""
    found = {}
    for key, value in state.items():
        stage = key.split(".")[1] if ".downsample." in key else ""
        old = key.replace(f"layers.{stage}.", f"layers.{int(stage) - 1}.", 1) if stage else key
        found[old] = value
    return found


def test_the_older_layout_of_swin_fills_every_weight(weights: Callable[..., Any]) -> None:
    name = "swin_tiny_patch4_window7_224"
    path, model = weights(name, older_swin)
    backbone = build(f"file:{path}?arch={name}")
    assert filled(backbone) == 1.0
    assert "keys renamed by timm (swin_transformer)" in backbone.account()["adaptations"]
    own = backbone.module.state_dict()
    assert all(torch.equal(own[f"model.model.{key}"], v) for key, v in model.state_dict().items())


def test_the_visual_tower_of_openai_clip_fills_timms_vit(tmp_path: Path) -> None:
    torch.manual_seed(1)
    width, blocks = 768, 12
    shapes = {
        "visual.class_embedding": [width],
        "visual.positional_embedding": [197, width],
        "visual.proj": [width, 512],
        "visual.conv1.weight": [width, 3, 16, 16],
        "logit_scale": [],
    }
    for norm in ("ln_pre", "ln_post"):
        shapes |= {f"visual.{norm}.weight": [width], f"visual.{norm}.bias": [width]}
    for number in range(blocks):
        block = f"visual.transformer.resblocks.{number}"
        for layer, (out, into) in {
            "attn.in_proj_": (3 * width, width),
            "attn.out_proj.": (width, width),
            "mlp.c_fc.": (4 * width, width),
            "mlp.c_proj.": (width, 4 * width),
        }.items():
            shapes |= {f"{block}.{layer}weight": [out, into], f"{block}.{layer}bias": [out]}
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{block}.{norm}.weight": [width], f"{block}.{norm}.bias": [width]}
    path = tmp_path / "clip.pt"
    torch.save({key: torch.rand(()).expand(shape) for key, shape in shapes.items()}, path)
    backbone = build(f"file:{path}?arch=vit_base_patch16_clip_224")
    assert filled(backbone) == 1.0


def test_a_stem_of_one_channel_gives_what_it_gave_for_grey(weights: Callable[..., Any]) -> None:
    """Two files that differ in their first layer alone must not give the same features."""
    name = "test_resnet"
    stem = build(f"timm:{name}?weights={weights(name)[0]}").module.state_dict()
    key = next(k for k, v in stem.items() if v.ndim == 4 and v.shape[1] == 3)
    inner = key.removeprefix("model.model.")
    found = []
    for factor in (1.0, 2.0):
        path, _ = weights(name, lambda s, f=factor: {**s, inner: s[inner][:, :1] * f})
        backbone = build(f"file:{path}?arch={name}")
        assert filled(backbone) == 1.0
        assert "repeated to three" in backbone.account()["adaptations"][0]
        own = backbone.module.state_dict()[key]
        assert torch.allclose(own.sum(1, keepdim=True), torch.load(path)[inner], atol=1e-6)
        with torch.inference_mode():
            found.append(backbone.features(images(160)).pooled)
    assert not torch.allclose(found[0], found[1])


def test_the_norm_behind_the_mean_of_a_fine_tuned_mae_is_used_as_trained(
    weights: Callable[..., Any],
) -> None:
    import timm

    path, _ = weights(
        "test_vit", lambda s: {k.replace("norm.", "fc_norm.") if k.startswith("norm.") else k: v
                               for k, v in s.items()}
    )  # fmt: skip
    backbone = build(f"file:{path}?arch=test_vit")
    reference = timm.create_model("test_vit", num_classes=0, global_pool="avg").eval()
    reference.load_state_dict(torch.load(path))
    with torch.inference_mode():
        own, right = backbone.features(images(160)).pooled, reference(images(160))
    assert torch.allclose(own, right, atol=1e-5)
    assert any("fc_norm" in sentence for sentence in backbone.account()["adaptations"])


def test_positions_without_one_for_the_class_token_are_completed(
    weights: Callable[..., Any],
) -> None:
    path, _ = weights("test_vit", lambda s: {**s, "pos_embed": s["pos_embed"][:, 1:]})
    backbone = build(f"file:{path}?arch=test_vit")
    own = backbone.module.state_dict()["model.model.pos_embed"]
    assert torch.equal(own[:, 1:], torch.load(path)["pos_embed"])
    assert not own[:, 0].any()
    assert any("class token" in sentence for sentence in backbone.account()["adaptations"])


def test_positions_of_no_square_grid_are_refused(weights: Callable[..., Any]) -> None:
    path, _ = weights("test_vit", lambda s: {**s, "pos_embed": s["pos_embed"][:, :40]})
    with pytest.raises(CheckpointError, match=r"pos_embed \[1, 40, \d+\] instead of"):
        build(f"file:{path}?arch=test_vit")


def test_another_size_of_patches_is_another_architecture(weights: Callable[..., Any]) -> None:
    path, _ = weights(
        "test_vit",
        lambda s: {**s, "patch_embed.proj.weight": s["patch_embed.proj.weight"][..., :8, :8]},
    )
    with pytest.raises(CheckpointError, match=r"patch_embed\.proj\.weight \[.*8, 8\] instead"):
        build(f"file:{path}?arch=test_vit")


def test_one_missing_weight_is_refused_whatever_its_share(weights: Callable[..., Any]) -> None:
    path, _ = weights("test_vit", lambda s: {k: v for k, v in s.items() if k != "norm.bias"})
    with pytest.raises(CheckpointError, match=r"1 tensor\(s\): norm\.bias"):
        build(f"file:{path}?arch=test_vit")


def test_a_deeper_networks_file_is_refused(weights: Callable[..., Any]) -> None:
    path, _ = weights(
        "test_vit",
        lambda s: (
            s | {k.replace("blocks.0.", "blocks.9."): v for k, v in s.items() if "blocks.0." in k}
        ),
    )
    with pytest.raises(CheckpointError, match=r"has layers that test_vit has not: .*blocks\.9"):
        build(f"file:{path}?arch=test_vit")


def test_a_hint_names_a_prefix_only_where_most_weights_fit(weights: Callable[..., Any]) -> None:
    path, _ = weights(
        "test_vit", lambda s: {k.replace("attn.", "attention."): v for k, v in s.items()}
    )
    with pytest.raises(CheckpointError) as stopped:
        build(f"file:{path}?arch=test_vit")
    assert "prefix=" not in str(stopped.value)


def test_a_network_of_one_size_is_made_for_the_size_that_is_asked_for(
    weights: Callable[..., Any],
) -> None:
    """Swin at 448: the windows stay, every weight comes from the file."""
    name = "swin_tiny_patch4_window7_224"
    path, _ = weights(name)
    backbone = build(f"file:{path}?arch={name}&size=448")
    assert (backbone.input.size, filled(backbone)) == (448, 1.0)
    with torch.inference_mode():
        assert backbone.features(images(448)).grid == (28, 28)


def test_a_size_that_cannot_be_is_one_sentence() -> None:
    for name in ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"):
        with pytest.raises(SettingError) as stopped:
            build(f"timm:{name}?pretrained=false&size=45").features(images(45))
        assert "45" in str(stopped.value) and "\n" not in str(stopped.value)


def test_the_pooled_feature_of_a_transformer_can_be_chosen(weights: Callable[..., Any]) -> None:
    path, model = weights("test_vit")
    with torch.inference_mode():
        states = model.forward_features(images(160))
        found = {
            pool: build(f"timm:test_vit?weights={path}&pool={pool}").features(images(160)).pooled
            for pool in ("cls", "mean", "cls_mean")
        }
    assert torch.allclose(found["cls"], states[:, 0], atol=1e-5)
    assert torch.allclose(found["mean"], states[:, 1:].mean(1), atol=1e-5)
    assert torch.equal(found["cls_mean"], torch.cat([found["cls"], found["mean"]], 1))
    with pytest.raises(SettingError, match="has maps and no tokens"):
        build(f"timm:test_resnet?weights={weights('test_resnet')[0]}&pool=mean")
