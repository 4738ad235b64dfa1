"""Folders of open_clip models whose text tower is a transformers model (BiomedCLIP): where its
configuration is looked for, and what is said where it is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from torch import nn

from backbones.external.openclip import OpenClipDual, text_tower
from bench.core.errors import CheckpointError, MissingDependencyError

TOWER = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
TEXT = {"hf_model_name": TOWER, "hf_proj_type": "mlp", "context_length": 256}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    home = tmp_path / "model"
    home.mkdir()
    describe(home, TEXT)
    return home


def describe(home: Path, text: Mapping[str, Any]) -> None:
    content = {"model_cfg": {"embed_dim": 512, "vision_cfg": {}, "text_cfg": text}}
    (home / "open_clip_config.json").write_text(json.dumps(content))


@pytest.mark.parametrize("inside", ["", TOWER.rpartition("/")[2]])
def test_the_text_towers_configuration_is_read_from_the_folder(inside: str, folder: Path) -> None:
    place = folder / inside
    place.mkdir(exist_ok=True)
    (place / "config.json").write_text(json.dumps({"model_type": "bert"}))
    told = text_tower(folder)["text_cfg"]
    assert told == {**TEXT, "hf_model_name": str(place), "hf_model_pretrained": False}


def test_without_it_the_file_to_bring_is_named(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(MissingDependencyError, match=rf"lacks .* {TOWER}\. Download config\.json"):
        text_tower(folder)


def test_a_configuration_in_the_hubs_cache_is_left_to_the_library(
    folder: Path, tmp_path: Path
) -> None:
    home = tmp_path / "cache" / f"models--{TOWER.replace('/', '--')}"
    (home / "snapshots" / "c").mkdir(parents=True)
    (home / "snapshots" / "c" / "config.json").write_text("{}")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("c")
    assert text_tower(folder) == {}


def test_a_text_tower_of_open_clips_own_needs_nothing(folder: Path) -> None:
    describe(folder, {"context_length": 77, "width": 32})
    assert text_tower(folder) == {}


def test_a_folder_of_another_kind_is_refused_by_name(folder: Path) -> None:
    (folder / "open_clip_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"open_clip_config\.json is damaged"):
        text_tower(folder)
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(MissingDependencyError, match=r"has no open_clip_config\.json"):
        text_tower(folder)


def test_patches_of_a_vit_are_projected_as_its_class_token_is() -> None:
    tower = nn.Module()
    tower.proj = nn.Parameter(torch.randn(6, 4))
    model = nn.Module()
    model.visual = tower
    dual = OpenClipDual(model, dict)
    patches = torch.randn(2, 9, 6)
    given = dual.patch_embedding(patches)
    assert given is not None and torch.allclose(given[1, 3], patches[1, 3] @ tower.proj)
    tower.attn_pool = nn.Linear(1, 1)
    assert dual.patch_embedding(patches) is None
    del tower.attn_pool
    del tower.proj
    assert dual.patch_embedding(patches) is None
