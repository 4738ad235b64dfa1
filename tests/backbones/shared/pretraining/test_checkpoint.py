"""Checkpoints made here: a card, vocabulary or weights that are damaged are named in one
sentence."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.convirt.model import ConVIRT
from backbones.shared.encoders.architectures import ARCHITECTURES
from backbones.shared.encoders.text import build_text_encoder
from backbones.shared.encoders.vocabulary import Vocabulary
from backbones.shared.pretraining.checkpoint import load_method, save_method
from backbones.shared.pretraining.settings import MethodSettings
from backbones.shared.pretraining.vision_language import LoadedMethod
from bench.contracts import BackboneRequest
from bench.core.errors import CheckpointError
from bench.core.hashing import file_sha256
from bench.core.settings import override
from tests.support.coverage import filled

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "heart", "lung", "##s", "clear", "no", "is"]
SIZES = {
    "vocab_size": len(PIECES),
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    settings = override(MethodSettings(), {"embed_dim": "16", "projection_hidden": "16"})
    text = build_text_encoder(SIZES)
    method = ConVIRT(ARCHITECTURES["resnet_demo"], text, Vocabulary(PIECES), settings)
    save_method(method, folder)
    write(folder, card(folder, settings))
    return folder


def card(folder: Path, settings: MethodSettings) -> dict[str, Any]:
    return {
        "method": "convirt",
        "architecture": "resnet_demo",
        "settings": asdict(settings),
        "text_encoder": SIZES,
        "data": {"name": "squares", "kind": "demo", "hash": "0", "train_pairs": 8, "val_pairs": 4},
        "weights_sha256": file_sha256(folder / "model.safetensors"),
        "vocabulary_sha256": file_sha256(folder / "vocab.txt"),
    }


def write(folder: Path, content: dict[str, Any]) -> None:
    (folder / "card.json").write_text(json.dumps(content))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "checkpoint")


def load(folder: Path) -> LoadedMethod:
    return load_method("convirt", BackboneRequest("demo", checkpoint=folder))


def changed(folder: Path, *path: str, value: Any = None, remove: bool = False) -> None:
    content = json.loads((folder / "card.json").read_text())
    inside = content
    for key in path[:-1]:
        inside = inside[key]
    if remove:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    write(folder, content)


def refused(folder: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as stopped:
        load(folder)
    assert "\n" not in str(stopped.value)


def test_a_whole_checkpoint_loads(folder: Path) -> None:
    loaded = load(folder)
    assert filled(loaded) == 1.0
    assert loaded.account()["weights"] == str(folder / "model.safetensors")


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"[1, 2]", b"3", b'"text"', b"\xff\xfe\x00\x01", b"{", b"[" * 100_000],
)
def test_a_card_that_is_no_object_is_refused_by_name(content: bytes, folder: Path) -> None:
    (folder / "card.json").write_bytes(content)
    refused(folder, r"card\.json is damaged")


@pytest.mark.parametrize(
    "key", ["method", "architecture", "settings", "text_encoder", "data", "weights_sha256"]
)
@pytest.mark.parametrize("value", [None, 7, [], "gone"])
def test_an_entry_that_is_missing_or_of_another_type_is_refused_by_name(
    key: str, value: Any, folder: Path
) -> None:
    if value == "gone":
        changed(folder, key, remove=True)
    else:
        changed(folder, key, value=value)
    refused(folder, rf"card\.json is damaged: '{key}' is .* expected")


@pytest.mark.parametrize("value", ["wide", None, 1.5, [16], {"a": 1}, True])
def test_a_setting_of_another_type_names_the_card(value: Any, folder: Path) -> None:
    changed(folder, "settings", "embed_dim", value=value)
    refused(folder, r"card\.json is damaged: .*embed_dim")


def test_a_setting_that_does_not_exist_names_the_card(folder: Path) -> None:
    changed(folder, "settings", "embed_dimm", value=16)
    refused(folder, r"card\.json is damaged: .*embed_dimm")


@pytest.mark.parametrize("size", sorted(SIZES))
@pytest.mark.parametrize("value", [10**12, 0, -1, None, "many", 1.5])
def test_sizes_of_terabytes_and_of_nothing_are_refused_before_memory_is_taken(
    size: str, value: Any, folder: Path
) -> None:
    changed(folder, "text_encoder", size, value=value)
    refused(folder, rf"card\.json is damaged: 'text_encoder\.{size}'")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("text_encoder", "hidden_size"), 1 << 30),
        (("text_encoder", "intermediate_size"), 1 << 30),
        (("text_encoder", "max_position_embeddings"), 1 << 30),
    ],
)
def test_sizes_that_the_weights_have_not_are_refused_before_memory_is_taken(
    path: tuple[str, str], value: int, folder: Path
) -> None:
    changed(folder, *path, value=value)
    refused(folder, r"card\.json")


def test_an_unknown_architecture_names_the_card(folder: Path) -> None:
    changed(folder, "architecture", value="resnet_demoo")
    refused(folder, "resnet_demoo")


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt"])
def test_one_flipped_bit_of_a_file_is_noticed(name: str, folder: Path) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    refused(folder, rf"{name} is damaged or another file: its sha256")


def test_a_card_written_before_vocabularies_were_hashed_is_read(folder: Path) -> None:
    changed(folder, "vocabulary_sha256", remove=True)
    assert load(folder).has_text


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\xff\xfe\x00" * 10, r"vocab\.txt is not text"),
        ("\n".join(PIECES[:-2]).encode(), r"vocab\.txt has 8 pieces, .*card\.json says 10"),
        ("\n".join([*PIECES[:-1], "heart"]).encode(), r"vocab\.txt is damaged"),
        (b"heart\nlung\n", r"vocab\.txt lacks \[PAD\]"),
        (b"", r"vocab\.txt lacks"),
    ],
)
def test_a_vocabulary_that_is_binary_or_cut_is_refused_by_name(
    content: bytes, match: str, folder: Path
) -> None:
    changed(folder, "vocabulary_sha256", remove=True)
    (folder / "vocab.txt").write_bytes(content)
    refused(folder, match)


def test_a_missing_part_is_refused_by_name(folder: Path) -> None:
    (folder / "vocab.txt").unlink()
    refused(folder, r"vocab\.txt")
    (folder / "model.safetensors").unlink()
    refused(folder, r"model\.safetensors does not exist")


@pytest.mark.parametrize("name", ["card.json", "model.safetensors", "vocab.txt"])
def test_a_part_that_never_ends_is_refused(name: str, folder: Path) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, f"{name} is a pipe")


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_all_files_of_a_checkpoint_have_the_mode_of_files_here(
    mask: int, whole: Path, tmp_path: Path
) -> None:
    before = os.umask(mask)
    try:
        save_method(load(whole).method, tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"model.safetensors": 0o666 & ~mask, "vocab.txt": 0o666 & ~mask}


def test_the_weights_are_those_that_were_saved(whole: Path) -> None:
    first, again = (load(whole).module.state_dict() for _ in range(2))
    assert all(torch.equal(value, again[key]) for key, value in first.items())
