"""What stands in the key of a cell for an encoder from elsewhere: the content of every file it is
read from, and the architecture that is loaded."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from bench.contracts import BACKBONES, BackboneRequest
from bench.core.errors import CheckpointError, MissingDependencyError, SettingError


def digest(name: str, **settings: Any) -> str:
    weights_digest = BACKBONES.get(name).weights_digest
    assert weights_digest is not None
    return weights_digest(BackboneRequest("paper", settings=settings))


def architecture(name: str, wanted: str = "") -> str:
    return BACKBONES.get(name).architecture(BackboneRequest("paper", wanted))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two weights files of one name in two folders, their content different."""
    paths = []
    for number in (1.0, 2.0):
        path = tmp_path / str(number) / "weights.pt"
        path.parent.mkdir()
        torch.save({"conv.weight": torch.full((2, 2), number)}, path)
        paths.append(path)
    return paths


@pytest.mark.parametrize(
    "name",
    [
        "file:{}?arch=resnet18",
        "timm:resnet18?weights={}",
        "open_clip:ViT-B-32?pretrained={}",
        "torchxrayvision:densenet121-res224-all?weights={}",
    ],
)
def test_two_files_are_two_hashes_and_one_file_is_one(name: str, files: list[Path]) -> None:
    first, second = (digest(name.format(path)) for path in files)
    assert len(first) == 16 and first != second
    assert first == digest(name.format(files[0]))


def test_a_file_that_changes_in_place_changes_its_hash(files: list[Path]) -> None:
    name = f"open_clip:ViT-B-32?pretrained={files[0]}"
    before = digest(name)
    files[0].write_bytes(files[1].read_bytes())
    os.utime(files[0], ns=(1, 1))
    assert digest(name) != before


@pytest.mark.parametrize(
    "name", ["file:{}?arch=resnet18", "timm:resnet18?weights={}", "open_clip:RN50?pretrained={}"]
)
def test_a_file_that_is_missing_or_endless_is_refused_before_anything_runs(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="x.pth does not exist"):
        digest(name.format(tmp_path / "x.pth"))
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(CheckpointError, match="is a pipe"):
        digest(name.format(tmp_path / "pipe.pth"))


def write_model(folder: Path, number: int, **config: Any | float | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(bytes([number]) * 8)
    (folder / "config.json").write_text(json.dumps({"model_type": "vit", **config}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": 32}))
    return folder


@pytest.mark.parametrize("scheme", ["hf", "timm"])
def test_a_folders_weights_and_what_describes_them_are_hashed(scheme: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", 1)
    seen = {digest(f"{scheme}:{folder}")}
    write_model(folder, 2)
    seen.add(digest(f"{scheme}:{folder}"))
    write_model(folder, 2, layer_norm_eps=1e-3)
    seen.add(digest(f"{scheme}:{folder}"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": 64}))
    seen.add(digest(f"{scheme}:{folder}"))
    assert len(seen) == 4


def test_every_part_of_sharded_weights_is_hashed(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", 1)
    (folder / "model.safetensors").unlink()
    shards = ["model-1.safetensors", "model-2.safetensors"]
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    seen = set()
    for content in (b"1", b"2"):
        (folder / shards[0]).write_bytes(b"0")
        (folder / shards[1]).write_bytes(content)
        seen.add(digest(f"hf:{folder}"))
    assert len(seen) == 2


def cached(cache: Path, repository: str, commit: str, number: int, **config: Any) -> None:
    """Write a model into a hub cache as the hub's own client does, `main` at this commit."""
    home = cache / f"models--{repository.replace('/', '--')}"
    write_model(home / "snapshots" / commit, number, **config)
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs" / "main").write_text(commit)


@pytest.mark.parametrize(
    ("name", "repository"),
    [("hf:org/name", "org/name"), ("timm:test_resnet.r160_in1k", "timm/test_resnet.r160_in1k")],
)
def test_another_revision_in_the_hubs_cache_is_another_hash(
    name: str, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cached(tmp_path, repository, "a" * 40, 1)
    first = digest(name)
    cached(tmp_path, repository, "b" * 40, 2)
    assert first and digest(name) and digest(name) != first
    if name.startswith("hf:"):
        assert digest(name, revision="a" * 40) == first


@pytest.mark.parametrize("name", ["hf:org/absent", "timm:test_resnet2.absent", "timm:resnet26"])
def test_weights_of_the_hub_that_are_not_here_stop_a_run_before_its_first_cell(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    if name == "timm:test_resnet2.absent":
        assert digest(name) == ""  # no such model: its builder names the nearest
        return
    with pytest.raises(MissingDependencyError, match=r"cannot be downloaded\..*HF_HOME"):
        digest(name)


def test_random_weights_have_no_hash() -> None:
    assert digest("timm:resnet18?pretrained=false") == ""
    assert digest("open_clip:ViT-B-32?pretrained=none") == ""


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("timm:resnet18?pretrained=false", "resnet18"),
        ("timm:vit_base_patch14_dinov2.lvd142m", "vit_base_patch14_dinov2"),
        ("file:x.pth?arch=vit_base_patch16_224", "vit_base_patch16_224"),
        ("torchxrayvision:resnet50-res512-all", "resnet50"),
        ("open_clip:ViT-B-16?pretrained=openai", "ViT-B-16"),
        ("medclip_vit", "swin_tiny_patch4_window7_224"),
        ("gloria_published?weights=x", "resnet50"),
    ],
)
def test_the_architecture_that_is_loaded_is_named(name: str, own: str) -> None:
    assert architecture(name) == own == architecture(name, own)
    with pytest.raises(SettingError, match=f"is a {own}, architecture 'densenet' was asked for"):
        architecture(name, "densenet")


def test_a_wrong_family_is_refused_and_the_right_one_is_the_whole_name() -> None:
    assert architecture("timm:resnet18", "resnet") == "resnet18"
    with pytest.raises(SettingError, match=r"timm:resnet18.* is a resnet18, architecture 'vit'"):
        architecture("timm:resnet18?pretrained=false", "vit")


def test_a_folder_names_its_architecture(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", 1, architecture="test_vit")
    assert architecture(f"hf:{folder}") == "vit"
    assert architecture(f"timm:{folder}") == "test_vit"
    config = {"model_cfg": {"vision_cfg": {"timm_model_name": "vit_base_patch16_224"}}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    assert architecture(f"open_clip:{folder}") == "vit_base_patch16_224"


def test_what_is_built_bears_the_name_that_stands_in_the_key() -> None:
    name = "timm:test_resnet.r160_in1k?pretrained=false"
    built = BACKBONES.get(name).build(BackboneRequest("paper"))
    assert built.architecture == architecture(name) == "test_resnet"
