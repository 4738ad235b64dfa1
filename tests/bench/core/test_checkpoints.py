"""A checkpoint that was trained here is opened, checked and copied in one place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from backbones.checkpoint import read_card
from bench.core.checkpoints import Checkpoint
from bench.core.errors import CheckpointError
from tests.support.checkpoints import write_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "net")


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_its_folder_and_its_weights_file_open_the_same(name: str, folder: Path) -> None:
    checkpoint = Checkpoint.open(str(folder / name) if name else folder)
    assert Checkpoint.is_at(folder / name) and checkpoint.path == folder
    assert checkpoint.weights == folder / "model.safetensors"
    assert checkpoint.vocabulary == folder / "vocab.txt"
    assert checkpoint.card["method"] == "own" and len(checkpoint.sha256) == 64
    assert read_card(folder / name) == (checkpoint.weights, checkpoint.card)


def test_a_weights_file_of_another_name_is_opened_by_the_card_beside_it(folder: Path) -> None:
    renamed = (folder / "model.safetensors").rename(folder / "best.safetensors")
    assert Checkpoint.is_at(renamed) and Checkpoint.open(renamed).path == renamed
    copy = Checkpoint.open(renamed).copy_to(folder.parent / "copy")
    assert Checkpoint.open(copy.path).weights.read_bytes() == b"weights"
    with pytest.raises(CheckpointError, match=r"net/model\.safetensors does not exist"):
        Checkpoint.open(folder)


def test_weights_of_something_else_beside_a_card_are_weights_alone(folder: Path) -> None:
    other = folder / "resnet50.pth"
    other.write_bytes(b"published")
    assert not Checkpoint.is_at(other)
    with pytest.raises(CheckpointError, match=r"resnet50\.pth is damaged or another file"):
        Checkpoint.open(other)
    alone = folder.parent / "alone.pth"
    alone.write_bytes(b"published")
    assert not Checkpoint.is_at(alone)
    with pytest.raises(CheckpointError, match=r"has no card\.json"):
        Checkpoint.open(alone)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "model.safetensors").write_bytes(b"weight!"), "model.* is damaged"),
        (lambda path: (path / "vocab.txt").write_text("[PAD] "), r"vocab\.txt is damaged"),
        (lambda path: (path / "model.safetensors").unlink(), "does not exist"),
        (lambda path: (path / "vocab.txt").unlink(), r"vocab\.txt"),
        (lambda path: (path / "card.json").unlink(), r"has no card\.json"),
        (lambda path: (path / "card.json").write_text("{}"), r"card\.json is damaged"),
    ],
)
def test_files_that_are_not_those_of_the_card_are_named(
    damage: Callable[[Path], object], message: str, folder: Path
) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.open(folder)


def test_a_checkpoint_of_before_vocabularies_had_checksums_is_opened(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    del card["vocabulary_sha256"]
    (folder / "card.json").write_text(json.dumps(card))
    assert Checkpoint.open(folder).vocabulary == folder / "vocab.txt"
    (folder / "vocab.txt").unlink()
    assert Checkpoint.open(folder).vocabulary is None


def test_a_copy_has_what_opens_it_and_no_picture_and_no_list_of_images(folder: Path) -> None:
    copy = Checkpoint.open(folder).copy_to(folder.parent / "deep" / "copy")
    assert copy.folder == folder.parent / "deep" / "copy"
    assert {path.name for path in copy.folder.iterdir()} == {
        "card.json",
        "model.safetensors",
        "vocab.txt",
        "curve.jsonl",
    }
    assert Checkpoint.open(copy.folder).card == Checkpoint.open(folder).card
