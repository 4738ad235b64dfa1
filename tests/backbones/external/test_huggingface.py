"""transformers models saved to local folders: features of each family, text side, input contract,
what is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from backbones.external.encoder import DualBackbone, ExternalBackbone
from bench.contracts import BACKBONES, BackboneRequest
from bench.core.errors import CheckpointError, MissingDependencyError, PlaceBenchError, SettingError
from tests.support.coverage import filled

if TYPE_CHECKING:
    from transformers import PreTrainedModel

transformers = pytest.importorskip("transformers")

TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
MEAN = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
CROPPED = {
    "size": {"shortest_edge": 48},
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
    "resample": 3,
}


def tiny(kind: str) -> PreTrainedModel:
    from transformers import (
        CLIPConfig,
        CLIPModel,
        ConvNextConfig,
        ConvNextModel,
        Dinov2Config,
        Dinov2Model,
        SwinConfig,
        SwinModel,
        ViTConfig,
        ViTModel,
    )

    torch.manual_seed(4)
    if kind == "clip":
        text = {
            k: TINY[k]
            for k in (
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
            )
        }
        text |= {
            "vocab_size": 12,
            "max_position_embeddings": 16,
            "eos_token_id": 3,
            "bos_token_id": 2,
            "pad_token_id": 0,
        }
        return CLIPModel(CLIPConfig(vision_config=TINY, text_config=text, projection_dim=8))
    if kind == "dinov2":
        return Dinov2Model(Dinov2Config(**TINY))
    if kind == "vit":
        return ViTModel(ViTConfig(**TINY), add_pooling_layer=False)
    if kind == "swin":
        return SwinModel(
            SwinConfig(
                image_size=32,
                embed_dim=8,
                depths=[1, 1, 1, 1],
                num_heads=[1, 1, 2, 2],
                window_size=2,
                patch_size=2,
            )
        )
    return ConvNextModel(ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1]))


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Any]:
    def save(kind: str, processor: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        model = tiny(kind).eval()
        model.save_pretrained(tmp_path)
        (tmp_path / "preprocessor_config.json").write_text(
            json.dumps({**CROPPED, **MEAN, **(processor or {})})
        )
        if kind == "clip":
            from transformers import BertTokenizer

            words = [
                "[PAD]",
                "[UNK]",
                "[CLS]",
                "[SEP]",
                "no",
                "pleural",
                "effusion",
                "small",
                "heart",
                "is",
                "large",
                "[MASK]",
            ]
            (tmp_path / "vocab.txt").write_text("\n".join(words))
            BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
        return tmp_path, model

    return save


def build(path: Path | str, **settings: Any) -> ExternalBackbone:
    built = BACKBONES.get(f"hf:{path}").build(BackboneRequest("paper", settings=settings))
    assert isinstance(built, ExternalBackbone)
    return built


def build_pair(path: Path | str) -> DualBackbone:
    """Build an encoder that has a text side."""
    built = build(path)
    assert isinstance(built, DualBackbone)
    return built


def images(size: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.manual_seed(0))


@pytest.mark.parametrize("kind", ["vit", "dinov2", "clip", "convnext", "swin"])
@pytest.mark.parametrize("size", [32, 64])
def test_each_family_has_pooled_patch_and_pyramid_features(
    kind: str, size: int, folder: Callable[..., Any]
) -> None:
    backbone = build(folder(kind)[0])
    with torch.inference_mode():
        found = backbone.features(images(size))
    assert filled(backbone) == 1.0
    assert backbone.family == ("resnet" if kind in ("convnext", "swin") else "vit")
    assert found.pooled.shape == (2, backbone.pooled_dim)
    assert found.patches.shape == (2, found.grid[0] * found.grid[1], backbone.patch_dim)
    assert [m.shape[1] for m in found.pyramid] == list(backbone.pyramid_channels)
    assert [size // m.shape[2] for m in found.pyramid] == list(backbone.pyramid_strides)
    assert torch.isfinite(found.pooled).all()


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_vit_features_are_those_of_the_model(kind: str, folder: Callable[..., Any]) -> None:
    path, model = folder(kind)
    with torch.inference_mode():
        found, own = build(path).features(images()), model(pixel_values=images())
    assert torch.allclose(found.pooled, own.last_hidden_state[:, 0], atol=1e-5)
    assert torch.allclose(found.patches, own.last_hidden_state[:, 1:], atol=1e-5)
    assert torch.allclose(
        found.pyramid[-1].flatten(2).transpose(1, 2), own.last_hidden_state[:, 1:], atol=1e-5
    )


def test_the_input_contract_is_read_from_the_processor(folder: Callable[..., Any]) -> None:
    backbone = build(folder("vit")[0])
    assert (backbone.input.size, backbone.input.resize, backbone.input.interpolation) == (
        32,
        48,
        "bicubic",
    )
    assert (backbone.input.mean, backbone.input.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_without_a_processor_the_contract_has_to_be_given(folder: Callable[..., Any]) -> None:
    path, _ = folder("vit")
    (path / "preprocessor_config.json").unlink()
    with pytest.raises(MissingDependencyError, match=r"no preprocessor_config\.json.*mean=0\.5"):
        build(path)
    assert build(path, size="32", mean="0.5", std="0.25").input.std == (0.25,) * 3


def test_what_a_processor_leaves_open_is_no_guess(folder: Callable[..., Any]) -> None:
    path, _ = folder("vit")
    (path / "preprocessor_config.json").write_text(json.dumps({"size": 32}))
    with pytest.raises(MissingDependencyError, match="does not state mean, std"):
        build(path)
    assert build(path, mean="0.5", std="0.25").input.std == (0.25,) * 3
    (path / "preprocessor_config.json").write_text(json.dumps({"size": 32, "do_normalize": False}))
    assert build(path).input.mean == (0.0,) * 3 and build(path).input.std == (1.0,) * 3


def test_clip_has_a_text_side(folder: Callable[..., Any]) -> None:
    path, model = folder("clip")
    backbone = build_pair(path)
    texts = ["no pleural effusion", "heart is large"]
    tokenizer: Any = backbone.dual.tokenizer
    with torch.no_grad():
        scores = backbone.similarity(images(), texts)
        embeddings = backbone.embed_texts(texts)
        logits = model(
            pixel_values=images(),
            **tokenizer(texts, padding=True, return_tensors="pt"),
        ).logits_per_image
    assert backbone.has_text
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(2), atol=1e-5)
    assert torch.allclose(scores * model.logit_scale.exp().detach(), logits, atol=1e-4)
    assert set(backbone.module.state_dict()) == {f"model.{key}" for key in model.state_dict()}


def test_patches_of_clip_lie_in_the_space_of_texts_as_its_class_token_does(
    folder: Callable[..., Any],
) -> None:
    path, model = folder("clip")
    backbone = build_pair(path)
    with torch.no_grad():
        states = model.vision_model(pixel_values=images()).last_hidden_state
        embedded = model.visual_projection(model.vision_model.post_layernorm(states))
        embedded = torch.nn.functional.normalize(embedded, dim=2)
        patches = backbone.embed_patches(images())
        assert torch.allclose(backbone.embed_images(images()), embedded[:, 0], atol=1e-5)
    assert patches is not None and patches.shape[1] ** 2 == embedded.shape[1] - 1
    assert torch.allclose(patches.flatten(1, 2), embedded[:, 1:], atol=1e-5)
    del backbone.dual.model.visual_projection  # type: ignore[union-attr]
    assert backbone.embed_patches(images()) is None


def test_long_texts_are_cut_at_the_length_of_the_model(folder: Callable[..., Any]) -> None:
    backbone = build_pair(folder("clip")[0])
    with torch.inference_mode():
        assert backbone.embed_texts(["heart " * 100]).shape == (1, 8)


def test_a_folder_without_its_weights_or_config_is_refused(
    folder: Callable[..., Any], tmp_path: Path
) -> None:
    path, _ = folder("vit")
    (path / "model.safetensors").unlink()
    with pytest.raises(MissingDependencyError, match=str(path)):
        build(path)
    with pytest.raises(MissingDependencyError, match="does not exist"):
        build(tmp_path / "nowhere")


def test_weights_of_another_model_are_refused(folder: Callable[..., Any]) -> None:
    path, _ = folder("vit")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 40}))
    with pytest.raises(CheckpointError, match=r"fills \d+% of ViTModel"):
        build(path)


def test_a_name_that_cannot_be_downloaded_says_how_to_bring_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import AutoConfig

    def no_network(*_: str, **__: str | bool) -> None:
        raise OSError("We couldn't connect to the hub.")

    monkeypatch.setattr(AutoConfig, "from_pretrained", no_network)
    with pytest.raises(
        MissingDependencyError, match=r"hf:org/name could not be loaded.*HF_HOME.*hf:FOLDER"
    ):
        build("org/name")


def test_weights_that_are_a_pickle_with_code_are_one_sentence(folder: Callable[..., Any]) -> None:
    path, model = folder("vit")
    (path / "model.safetensors").unlink()
    torch.save({**model.state_dict(), "hook": Call(os.system, "true")}, path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is hostile") as stopped:
        build(path)
    assert "\n" not in str(stopped.value)


class Call:
    def __init__(self, function: Callable[..., Any], *arguments: str) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return self.call


def test_weights_that_are_a_plain_pickle_are_read(folder: Callable[..., Any]) -> None:
    path, model = folder("vit")
    (path / "model.safetensors").unlink()
    torch.save(model.state_dict(), path / "pytorch_model.bin")
    backbone = build(path)
    inner: Any = backbone.module.model
    own = inner.vision.state_dict()
    assert all(torch.equal(own[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize(
    "content", [b"", b"null", b"[1]", b"\xff\xfe\x00", b"{", b"7", b'{"model_type": 7}']
)
def test_a_damaged_description_is_one_sentence(
    name: str, content: bytes, folder: Callable[..., Any]
) -> None:
    path, _ = folder("vit")
    (path / name).write_bytes(content)
    with pytest.raises(PlaceBenchError) as stopped:
        build(path)
    assert str(path) in str(stopped.value)
    assert "\n" not in str(stopped.value)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _text(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>" * 9)


def _integers(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(path)
    key = next(
        key for key in state if key.endswith("query.weight") or key.endswith("q_proj.weight")
    )
    save_file({**state, key: state[key].to(torch.int8)}, path)


def _zeros(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(path)
    key = next(
        key for key in state if key.endswith("query.weight") or key.endswith("q_proj.weight")
    )
    save_file({**state, key: torch.zeros_like(state[key])}, path)


def _infinite(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(path)
    key = next(key for key in state if "layernorm" in key.lower() and key.endswith("bias"))
    save_file({**state, key: torch.full_like(state[key], float("inf"))}, path)


@pytest.mark.parametrize("kind", ["vit", "clip"])
@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (_cut, "is damaged"),
        (_text, "is damaged"),
        (_integers, "holds I8 numbers"),
        (_zeros, "weight is all zero"),
        (_infinite, "not finite in"),
    ],
)
def test_damaged_weights_are_named(
    kind: str, damage: Callable[..., Any], match: str, folder: Callable[..., Any]
) -> None:
    path, _ = folder(kind)
    damage(path / "model.safetensors")
    with pytest.raises(CheckpointError, match=match) as stopped:
        build(path)
    assert str(path) in str(stopped.value) and "\n" not in str(stopped.value)


def test_weights_in_half_precision_are_used_in_single(folder: Callable[..., Any]) -> None:
    path, model = folder("vit")
    model.half().save_pretrained(path)
    assert {value.dtype for value in build(path).module.parameters()} == {torch.float32}


@pytest.mark.parametrize("key", ["embeddings.cls_token", "layernorm.bias"])
def test_one_missing_weight_is_refused_by_name(key: str, folder: Callable[..., Any]) -> None:
    from safetensors.torch import load_file, save_file

    path, _ = folder("vit")
    state = load_file(path / "model.safetensors")
    del state[key]
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"fills \d+% of ViTModel: .*{key}"):
        build(path)


def test_a_shallower_network_than_the_weights_is_refused(folder: Callable[..., Any]) -> None:
    path, _ = folder("vit")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(CheckpointError, match="has layers that ViTModel has not"):
        build(path)


def test_a_model_that_reads_no_images_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import BertConfig, BertModel

    sizes: dict[str, Any] = {
        k: TINY[k] for k in ("hidden_size", "num_attention_heads", "intermediate_size")
    }
    BertModel(BertConfig(vocab_size=20, num_hidden_layers=1, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"is a BertModel, which reads no images"):
        build(tmp_path)
    assert "of the encoder" not in capsys.readouterr().err


def test_features_need_no_tokenizer(folder: Callable[..., Any]) -> None:
    path, _ = folder("clip")
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (path / name).unlink(missing_ok=True)
    backbone = build_pair(path)
    with torch.inference_mode():
        assert backbone.features(images()).pooled.shape == (2, backbone.pooled_dim)
        assert backbone.embed_images(images()).shape == (2, 8)
        with pytest.raises(MissingDependencyError, match=str(path)):
            backbone.embed_texts(["heart"])


def test_a_sentencepiece_tokenizer_says_what_to_install(
    folder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    path, _ = folder("clip")
    (path / "tokenizer.json").unlink()
    (path / "spiece.model").write_bytes(b"pieces")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sentencepiece" else find(name)
    )
    with pytest.raises(
        MissingDependencyError, match=r"spiece\.model.*pip install 'place-bench\[hf\]'"
    ):
        build_pair(path).embed_texts(["heart"])


def test_the_pooled_feature_can_be_chosen(folder: Callable[..., Any]) -> None:
    path, model = folder("dinov2")
    with torch.inference_mode():
        states = model(pixel_values=images()).last_hidden_state
        found = {pool: build(path, pool=pool).features(images()).pooled
                 for pool in ("cls", "mean", "cls_mean")}  # fmt: skip
    assert torch.allclose(found["cls"], states[:, 0], atol=1e-5)
    assert torch.allclose(found["mean"], states[:, 1:].mean(1), atol=1e-5)
    assert torch.equal(found["cls_mean"], torch.cat([found["cls"], found["mean"]], 1))
    assert build(path, pool="cls_mean").pooled_dim == 32


def test_a_network_with_maps_has_no_choice_of_pooling(folder: Callable[..., Any]) -> None:
    with pytest.raises(SettingError, match="has maps and no tokens"):
        build(folder("convnext")[0], pool="mean")


def test_how_a_radiograph_becomes_square_is_a_setting(folder: Callable[..., Any]) -> None:
    path, _ = folder("vit")
    assert build(path).input.fit == "letterbox"
    assert build(path, fit="squash").input.fit == "squash"
    with pytest.raises(SettingError, match="fit"):
        build(path, fit="stretch")
