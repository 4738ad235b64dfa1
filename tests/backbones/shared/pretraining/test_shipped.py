"""The demo encoders that come with the package: whole, small, found by a run, and strangers to every
test set."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from backbones.shared.pretraining.checkpoint import load_method
from backbones.shared.pretraining.settings import DEMO
from backbones.shared.pretraining.shipped import HOME, ship, shipped
from bench.cells.encoders import PretrainRequest, resolve_encoder, shipped_encoder
from bench.cells.seen import count_seen
from bench.contracts import BACKBONES, DATASETS, BackboneRequest, Recipe
from bench.core.cards import CARD
from bench.core.checkpoints import VOCABULARY, WEIGHTS, Checkpoint
from bench.core.errors import CheckpointError
from bench.core.hashing import file_sha256
from bench.core.progress import Silent
from bench.data.loading import prepare
from bench.data.roots import DemoSize, demo_root
from tests.support.progress import Said

METHODS = sorted(path.parent.name for path in HOME.glob(f"*/{CARD}"))
SIX_MEGABYTES = 6 * 2**20
FORTY_MEGABYTES = 40 * 2**20


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_every_method_of_a_default_table_has_one() -> None:
    trained_here = {name for name, spec in BACKBONES.items() if spec.default and spec.method}
    assert trained_here <= set(METHODS)


def test_all_together_are_small() -> None:
    assert size_of(HOME) <= FORTY_MEGABYTES


@pytest.mark.parametrize("method", METHODS)
def test_one_is_whole_small_and_loads(method: str) -> None:
    checkpoint = Checkpoint.open(HOME / method)
    assert size_of(checkpoint.folder) <= SIX_MEGABYTES
    card = checkpoint.card
    assert card["weights_precision"] == "float16"
    assert card["data"]["kind"] == "demo"
    assert card["data"]["train_pairs"] >= 20_000
    backbone = load_method(method, BackboneRequest("demo", checkpoint=checkpoint.folder))
    with torch.no_grad():
        pooled = backbone.features(torch.randn(2, 3, 128, 128)).pooled
        texts = backbone.embed_texts(["There is a small left pleural effusion.", "No effusion."])
    assert pooled.dtype == torch.float32
    assert torch.isfinite(pooled).all()
    assert float(texts[0] @ texts[1]) < 0.99


def test_all_are_trained_on_the_same_studies_with_the_same_budget_and_choice() -> None:
    cards = [Checkpoint.open(HOME / method).card for method in METHODS]
    for same in (
        lambda card: card["data"]["hash"],
        lambda card: card["rendered"],
        lambda card: card["learning_rates_tried"]["settings"],
        lambda card: sorted(card["learning_rates_tried"]["validation_rank"]),
        lambda card: {
            name: card["settings"][name]
            for name in ("epochs", "batch_size", "monitor", "patience", "amp", "max_tokens")
        },
    ):
        assert all(same(card) == same(cards[0]) for card in cards)


@pytest.mark.parametrize("method", METHODS)
def test_the_learning_rate_is_the_one_that_retrieved_best_on_validation(method: str) -> None:
    card = Checkpoint.open(HOME / method).card
    tried = card["learning_rates_tried"]["validation_rank"]
    assert card["settings"]["lr"] == float(max(tried, key=lambda rate: tried[rate]))
    assert card["settings"]["monitor"] == "rank"


@pytest.mark.parametrize("method", METHODS)
def test_no_test_image_or_patient_of_a_default_demo_was_seen(method: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(HOME / method)
    rendered = checkpoint.card["rendered"]
    assert rendered["seed"] != DemoSize().seed
    seen = checkpoint.folder / str(checkpoint.card["seen"]["file"])

    def seen_of_a_demo(seed: int) -> tuple[int, int]:
        dataset = DATASETS.get("mimic_cxr")
        root = demo_root(
            dataset,
            DemoSize(studies=6, size=rendered["size"], seed=seed),
            out=tmp_path / str(seed),
            workers=1,
        )
        prepared = prepare(dataset, root.path, size=144, workers=1)
        patients = set(prepared.index["patient_id"].astype(str))
        count = count_seen(seen, prepared.digests(), patients, dataset.name)
        return count.images, count.patients

    assert seen_of_a_demo(DemoSize().seed) == (0, 0)
    images, patients = seen_of_a_demo(rendered["seed"])
    assert images > 0  # the measure itself can see: the corpus begins with these studies
    assert patients > 0


def test_a_run_takes_it_and_says_so() -> None:
    progress = Said()
    encoder = resolve_encoder(PretrainRequest("place"), progress)
    assert encoder.checkpoint == HOME / "place"
    said = " ".join(progress.lines)
    assert "the demo encoder that comes with place-bench" in said
    assert "image-report pairs (rendered data)" in said
    assert "--set pretrain.KEY=VALUE trains one of your own" in said


@pytest.mark.parametrize(
    "request_for_another",
    [
        PretrainRequest("place", settings={"epochs": "1"}),
        PretrainRequest("place", seed=1),
        PretrainRequest("place", architecture="vit"),
        PretrainRequest("place", profile="paper"),
        PretrainRequest("place", dataset="iu_xray"),
        PretrainRequest("place", data="real"),
        PretrainRequest("place", data_root=Path("mine")),
    ],
)
def test_whatever_is_asked_for_otherwise_is_trained(request_for_another: PretrainRequest) -> None:
    assert shipped_encoder(request_for_another) is None


def test_threads_do_not_matter_to_weights_that_are_there() -> None:
    assert shipped_encoder(PretrainRequest("place", threads=7)) is not None


def test_a_damaged_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(HOME / "place", tmp_path / "place")
    weights = tmp_path / "place" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    monkeypatch.setattr("backbones.shared.pretraining.shipped.HOME", tmp_path)
    with pytest.raises(CheckpointError, match="is damaged or another file: its sha256 begins"):
        resolve_encoder(PretrainRequest("place"), Silent())


def test_a_profile_has_its_own_recipe() -> None:
    assert shipped(Recipe("place")) == HOME / "place"
    assert shipped(replace(Recipe("place"), profile="paper")) is None
    assert shipped(Recipe("no such method")) is None


def test_shipping_halves_weights_and_keeps_counters(tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    shutil.copytree(HOME / "convirt", folder)
    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    save_file(
        {"layer": torch.from_numpy(weights), "batches": torch.tensor(70_001)}, folder / WEIGHTS
    )
    card = Checkpoint.open(HOME / "convirt").card
    text = (
        (folder / CARD)
        .read_text()
        .replace(str(card["weights_sha256"]), file_sha256(folder / WEIGHTS))
    )
    (folder / CARD).write_text(text)
    copy = ship(Checkpoint.open(folder), tmp_path / "home", {"rendered": {"seed": 3}})
    tensors = load_file(copy.weights)
    assert copy.folder == tmp_path / "home" / "convirt"
    assert tensors["layer"].dtype == torch.float16
    assert np.array_equal(tensors["layer"].numpy(), weights.astype(np.float16))
    assert int(tensors["batches"]) == 70_001
    assert copy.card["rendered"] == {"seed": 3}
    assert (copy.folder / VOCABULARY).is_file()


def test_the_demo_profile_fits_what_is_shipped() -> None:
    for method in METHODS:
        card = Checkpoint.open(HOME / method).card
        for name in ("text_layers", "text_width", "batch_size", "projection_hidden"):
            assert card["settings"][name] == DEMO[name]
