"""All eleven published layouts load in full; what is damaged, renamed or of another architecture is
refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.published.loading import PublishedBackbone
from bench.contracts import BACKBONES, BackboneRequest, ImageEncoder, has_text_side
from bench.core.errors import CheckpointError, MissingDependencyError, SettingError
from tests.backbones.published import layouts
from tests.support.coverage import filled

NAMES = [
    "convirt_benchx", "gloria_published", "medclip_r50", "medclip_vit", "medklip", "mflag",
    "mgca_published_r50",
    "mgca_published_vit", "mrm", "ptunifier", "refers",
]  # fmt: skip
# One parameter of each network under our name, and the published keys whose numbers it must hold.
PROBES = {
    "convirt_benchx": [("layer4.2.conv3.weight", ["visual.model.layer4.2.conv3.weight"])],
    "gloria_published": [("bn1.running_var", ["gloria.img_encoder.model.bn1.running_var"])],
    "medclip_r50": [("layer1.0.downsample.0.weight",
    ["vision_model.model.layer1.0.downsample.0.weight"])],
    "medclip_vit": [
        ("layers.0.blocks.1.attn.qkv.weight",
        [f"vision_model.model.encoder.layers.0.blocks.1.attention.self.{p}.weight"
                                               for p in ("query", "key", "value")]),
        ("layers.3.downsample.reduction.weight",
        ["vision_model.model.encoder.layers.2.downsample.reduction.weight"]),
        ("layers.2.blocks.5.mlp.fc2.bias",
        ["vision_model.model.encoder.layers.2.blocks.5.output.dense.bias"]),
        ("layers.2.blocks.5.attn.proj.bias",
        ["vision_model.model.encoder.layers.2.blocks.5.attention.output.dense.bias"]),
    ],
    "medklip": [("layer3.5.bn3.weight", ["module.res_features.6.5.bn3.weight"]),
                ("bn1.bias", ["module.res_features.1.bias"])],
    "mflag": [("layer2.3.conv1.weight", ["encoder.layer2.3.conv1.weight"])],
    "mgca_published_r50": [("layer4.0.bn2.bias", ["img_encoder_q.model.layer4.0.bn2.bias"])],
    "mgca_published_vit": [("blocks.11.attn.qkv.bias",
    ["img_encoder_q.model.blocks.11.attn.qkv.bias"])],
    "mrm": [("blocks.0.mlp.fc1.weight", ["blocks.0.mlp.fc1.weight"]), ("pos_embed", ["pos_embed"])],
    "ptunifier": [
        ("norm_pre.bias", ["vision_encoder.visual.ln_pre.bias"]),
        ("norm.bias", ["vision_encoder.visual.ln_post.bias"]),
        ("blocks.10.attn.qkv.bias",
        ["vision_encoder.visual.transformer.resblocks.10.attn.in_proj_bias"]),
        ("blocks.10.norm2.weight", ["vision_encoder.visual.transformer.resblocks.10.ln_2.weight"]),
        ("cls_token", ["vision_encoder.visual.class_embedding"]),
    ],
    "refers": [
        ("blocks.7.attn.qkv.bias",
        [f"visual.vit.transformer.encoder.layer.7.attn.{p}.bias" for p in ("query", "key",
        "value")]),
        ("blocks.7.norm2.bias", ["visual.vit.transformer.encoder.layer.7.ffn_norm.bias"]),
        ("norm.weight", ["visual.vit.transformer.encoder.encoder_norm.weight"]),
        ("patch_embed.proj.bias", ["visual.vit.transformer.embeddings.patch_embeddings.bias"]),
    ],
}  # fmt: skip


def load(name: str, path: Path | str, **settings: Any) -> PublishedBackbone:
    settings = {"weights": str(path), **settings}
    built = BACKBONES.get(name).build(BackboneRequest("paper", settings=settings))
    assert isinstance(built, PublishedBackbone)
    return built


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Any]:
    def save(name: str, content: Mapping[str, Any] | None = None) -> Path:
        path = tmp_path / f"{name}.ckpt"
        torch.save(layouts.file_of(name) if content is None else content, path)
        return path

    return save


def test_every_published_backbone_has_a_layout_here() -> None:
    from backbones.published.table import PUBLISHED

    assert sorted(item.name for item in PUBLISHED) == NAMES == sorted(PROBES)


@pytest.mark.parametrize("name", NAMES)
def test_a_published_layout_fills_the_encoder(
    name: str, saved: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = load(name, saved(name))
    assert filled(backbone) == 1.0, backbone.coverage
    assert "100.0% of the encoder" in capsys.readouterr().err
    state = backbone.encoder.model.state_dict()
    for ours, theirs in PROBES[name]:
        parts = state[ours].chunk(len(theirs))
        for part, key in zip(parts, theirs, strict=True):
            assert torch.equal(part, torch.full_like(part, layouts.number(key))), (ours, key)
    assert isinstance(backbone, ImageEncoder) and not has_text_side(backbone)
    assert backbone.why_no_text


@pytest.mark.parametrize("name", NAMES)
def test_features_have_the_declared_shapes(name: str) -> None:
    from backbones.published.networks import build_network
    from backbones.published.table import named

    encoder = build_network(named(name)).eval()
    facts = encoder.architecture
    with torch.inference_mode():
        found = encoder.features(
            torch.randn(1, 3, facts.input.size, facts.input.size, generator=torch.manual_seed(0))
        )
    assert found.pooled.shape == (1, facts.pooled_dim)
    assert found.patches.shape == (1, found.grid[0] * found.grid[1], facts.patch_dim)
    assert [m.shape[1] for m in found.pyramid] == list(facts.pyramid_channels)
    assert [facts.input.size // m.shape[2] for m in found.pyramid] == list(facts.pyramid_strides)


@pytest.mark.parametrize("name", ["gloria", "mgca"])
def test_the_published_key_lists_are_what_the_layouts_say(name: str) -> None:
    keys = layouts.parity(name)
    if name == "gloria":
        expected = {k: v for k, v in keys.items() if isinstance(v, list)}
        assert layouts.gloria() == expected
    for kind, ours in (("vit_base", "vit"), ("resnet_50", "resnet")) if name == "mgca" else ():
        expected = {k: v for k, v in (keys[kind] | keys["text"]).items() if isinstance(v, list)}
        assert {
            k: v for k, v in layouts.mgca(ours).items() if k != "prototype_layer.weight"
        } == expected


def test_a_renamed_file_is_refused_with_the_missing_names(saved: Callable[..., Any]) -> None:
    state = layouts.file_of("mgca_published_vit")["state_dict"]
    renamed = {key.replace("blocks.", "layers."): value for key, value in state.items()}
    with pytest.raises(
        CheckpointError, match=r"fills \d+% of mgca_published_vit.*blocks\.0\.norm1\.weight"
    ):
        load("mgca_published_vit", saved("mgca_published_vit", {"state_dict": renamed}))


@pytest.mark.parametrize(
    ("name", "other"),
    [("mgca_published_vit", "mgca_published_r50"), ("mrm", "refers"), ("medclip_r50", "mflag")],
)
def test_another_methods_file_is_refused_with_the_missing_names(
    name: str, other: str, saved: Callable[..., Any]
) -> None:
    with pytest.raises(CheckpointError, match=r"fills 0% of .* tensor\(s\): .*weight"):
        load(name, saved(other))


def test_another_width_is_refused_with_both_shapes(saved: Callable[..., Any]) -> None:
    state = layouts.file_of("mrm")["model"]
    narrow = {k: v[..., :384] if v.ndim and v.shape[-1] == 768 else v for k, v in state.items()}
    with pytest.raises(CheckpointError, match=r"cls_token \[1, 1, 384\] instead of \[1, 1, 768\]"):
        load("mrm", saved("mrm", {"model": narrow}))


@pytest.mark.parametrize("key", ["encoder.conv1.weight", "encoder.layer3.2.bn1.running_mean"])
def test_one_missing_weight_is_enough_to_be_refused(key: str, saved: Callable[..., Any]) -> None:
    state = layouts.file_of("mflag")
    del state[key]
    name = key.removeprefix("encoder.").replace(".", r"\.")
    with pytest.raises(
        CheckpointError, match=rf"fills 99% of mflag: 1 tensor\(s\): {name}\. .*every weight"
    ):
        load("mflag", saved("mflag", state))


def test_counters_of_batches_may_be_missing(saved: Callable[..., Any]) -> None:
    state = {k: v for k, v in layouts.file_of("mflag").items() if "num_batches" not in k}
    assert filled(load("mflag", saved("mflag", state))) == 1.0


def test_a_file_with_more_layers_than_the_network_is_refused(saved: Callable[..., Any]) -> None:
    """KAD's file fits MedKLIP's network up to layer3; its layer4 would be lost."""
    children = {
        "conv1": "0",
        "bn1": "1",
        "layer1": "4",
        "layer2": "5",
        "layer3": "6",
        "layer4": "7",
    }
    state = {}
    for key, shape in layouts.resnet50().items():
        first, _, rest = key.partition(".")
        state[f"res_features.{children[first]}.{rest}"] = shape
    with pytest.raises(CheckpointError, match=r"has layers that medklip has not: .*layer4\.0"):
        load("medklip", saved("medklip", {"model": layouts.filled(state)}))


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(keep: float, saved: Callable[..., Any]) -> None:
    path = saved("mrm")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(CheckpointError, match=r"mrm\.ckpt"):
        load("mrm", path)


def test_values_that_are_not_finite_are_refused(saved: Callable[..., Any]) -> None:
    state = layouts.file_of("mflag")
    state["encoder.conv1.weight"] = torch.full((64, 3, 7, 7), float("nan"))
    with pytest.raises(CheckpointError, match=r"not finite in conv1\.weight"):
        load("mflag", saved("mflag", state))


@pytest.mark.parametrize("positions", [145, 325])
def test_position_embeddings_of_another_size_are_interpolated(
    positions: int, saved: Callable[..., Any]
) -> None:
    shapes = layouts.prefixed("vision_encoder.visual.", layouts.clip_visual(positions=positions))
    state = layouts.filled(shapes)
    key = "vision_encoder.visual.positional_embedding"
    side = round((positions - 1) ** 0.5)
    ramp = (
        torch.linspace(-1, 1, side).repeat_interleave(side)[:, None].expand(-1, 768)
    )  # grows from top to bottom
    state[key] = torch.cat([torch.full((1, 768), 9.0), ramp])
    backbone = load("ptunifier", saved("ptunifier", {"state_dict": state}))
    found = backbone.encoder.model.pos_embed.detach()
    assert found.shape == (1, 197, 768)
    assert torch.equal(found[0, 0], torch.full((768,), 9.0))
    grid = found[0, 1:, 0].reshape(14, 14)
    assert torch.allclose(grid, grid[:, :1].expand(14, 14), atol=1e-5)
    assert (grid[1:, 0] > grid[:-1, 0]).all()
    assert torch.allclose(grid[:, 0], torch.linspace(-1, 1, 14), atol=0.06)


def test_twelve_blocks_of_clip_load_and_the_last_is_left_out(saved: Callable[..., Any]) -> None:
    state = layouts.filled(
        layouts.prefixed("vision_encoder.visual.", layouts.clip_visual(blocks=12))
    )
    backbone = load("ptunifier", saved("ptunifier", {"state_dict": state}))
    assert backbone.coverage is not None and backbone.coverage.unused == 12
    assert len(backbone.encoder.model.blocks) == 11


def test_refers_official_layout_has_no_prefix(saved: Callable[..., Any]) -> None:
    path = saved("refers", layouts.filled(layouts.refers_vit()))
    assert filled(load("refers", path)) == 1.0


def test_an_absent_file_says_where_to_get_it_and_where_to_put_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PLACE_BENCH_CHECKPOINTS", raising=False)
    spec = BACKBONES.get("gloria_published")
    with pytest.raises(
        MissingDependencyError,
        match=r"chexpert_resnet50\.ckpt.*github\.com/marshuang80.*PLACE_BENCH_CHECKPOINTS",
    ):
        spec.build(BackboneRequest("paper"))
    assert spec.weights_file is not None
    with pytest.raises(CheckpointError, match=r"nothing\.ckpt does not exist"):
        spec.weights_file(
            BackboneRequest("paper", settings={"weights": str(tmp_path / "nothing.ckpt")})
        )


def test_files_are_found_in_the_checkpoint_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PLACE_BENCH_CHECKPOINTS", str(tmp_path))
    torch.save(layouts.file_of("mflag"), tmp_path / "M-FLAG_total.pth")
    spec = BACKBONES.get("mflag")
    assert spec.weights_file is not None
    assert spec.weights_file(BackboneRequest("demo")) == tmp_path / "M-FLAG_total.pth"
    assert filled(spec.build(BackboneRequest("demo"))) == 1.0


def test_weights_may_come_with_the_name(saved: Callable[..., Any]) -> None:
    path = saved("mflag")
    spec = BACKBONES.get(f"mflag?weights={path}")
    assert spec.weights_file is not None
    assert spec.weights_file(BackboneRequest("paper")) == path
    assert filled(spec.build(BackboneRequest("paper"))) == 1.0


def test_wrong_settings_are_refused(saved: Callable[..., Any]) -> None:
    with pytest.raises(SettingError, match="unknown setting 'weight'"):
        load("mflag", "x", weight="y")
    with pytest.raises(SettingError, match=r"is a resnet50, architecture 'vit'"):
        BACKBONES.get("mflag").build(
            BackboneRequest("paper", "vit", settings={"weights": str(saved("mflag"))})
        )


def test_enlarging_changes_pooled_and_local_features_but_not_the_pyramid() -> None:
    from backbones.published.networks import build_network
    from backbones.published.table import named

    images = torch.randn(1, 3, 64, 64, generator=torch.manual_seed(1))
    as_published, plain = (
        build_network(named("mgca_published_r50"), upsample=size).eval() for size in (128, 0)
    )
    with torch.inference_mode():
        one, two = as_published.features(images), plain.features(images)
        big = torch.nn.functional.interpolate(
            images, (128, 128), mode="bilinear", align_corners=True
        )
        reference = plain.features(big)
    assert all(torch.equal(a, b) for a, b in zip(one.pyramid, two.pyramid, strict=True))
    assert torch.equal(one.pooled, reference.pooled)
    assert torch.equal(one.patches, reference.patches)
    assert one.grid == (8, 8) != two.grid


def test_the_vocabulary_of_a_text_side_is_hashed_with_the_weights(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"weights")
    digest = BACKBONES.get("gloria_published").weights_digest
    assert digest is not None
    settings = {"weights": str(tmp_path / "x.ckpt")}
    seen = {digest(BackboneRequest("paper", settings=settings))}
    for words in ("a", "b"):
        (tmp_path / "vocab.txt").write_text(words)
        text = {**settings, "text_model": str(tmp_path)}
        seen.add(digest(BackboneRequest("paper", settings=text)))
    assert len(seen) == 3
