"""From a name to weights: who trains a method, and what a given checkpoint must be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backbones.shared.pretraining.trainer import pretrain
from bench.cells.encoders import PretrainRequest, check_encoder, resolve_encoder
from bench.contracts import BACKBONES, PairData
from bench.core.errors import CheckpointError, DataError, PlaceBenchError, SettingError
from bench.core.progress import Silent
from tests.recorded.cells import write_data
from tests.support.checkpoints import write_checkpoint
from tests.support.pairs import make_subset, recipe


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ("", "its trainer is empty"),
        ("backbones.nowhere", "its trainer backbones.nowhere is not a module"),
        ("backbones.pretrain.deeper", "its trainer backbones.pretrain.deeper is not a module"),
        ("bench.contracts.common", "lacks Recipe, check, .*pretrain, pretrain_image_size"),
    ],
)
def test_a_trainer_that_could_not_train_is_refused_before_any_data_is_made(
    trainer: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(BACKBONES.get("place"), trainer=trainer)
    monkeypatch.setitem(BACKBONES._items, "place", spec)
    with pytest.raises(PlaceBenchError, match=f"pre-training method 'place': .*{message}"):
        check_encoder(PretrainRequest("place"))


def test_the_trainer_of_before_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(BACKBONES.get("place"), trainer="backbones.pretrain")
    monkeypatch.setitem(BACKBONES._items, "place", spec)
    check_encoder(PretrainRequest("place"))


def test_another_file_beside_a_card_is_not_taken_for_the_checkpoint(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "net")
    other = folder / "medklip.pth"
    other.write_bytes(b"published")
    wanted = PretrainRequest("medklip", profile="paper", checkpoint=other)
    assert resolve_encoder(wanted, Silent()).checkpoint == other
    trained = PretrainRequest("place", checkpoint=folder / "model.safetensors")
    assert resolve_encoder(trained, Silent()).checkpoint == folder


def test_a_test_set_with_reports_is_nothing_to_train_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    write_data(tmp_path / "data")
    wanted = PretrainRequest(
        "convirt", dataset="mimic5x200", data="real", data_root=tmp_path / "data"
    )
    with pytest.raises(DataError, match="the official split has test but no train"):
        resolve_encoder(wanted, Silent())


def given(name: str, folder: Path, **asked: Any) -> PretrainRequest:
    return PretrainRequest(name, checkpoint=folder, **asked)


def test_an_architecture_is_not_written_over_that_of_a_checkpoint(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "net")
    for named in ("", "resnet", "resnet_demo"):
        reference = resolve_encoder(given("place", folder, architecture=named), Silent())
        assert reference.architecture == "resnet_demo"
    with pytest.raises(
        SettingError, match="net of 'place' is a resnet_demo, architecture 'vit' was asked for"
    ):
        check_encoder(given("place", folder, architecture="vit"))


def test_a_family_is_enough_where_the_profile_has_another_size(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "net")
    wanted = given("place", folder, architecture="resnet", profile="paper")
    assert resolve_encoder(wanted, Silent()).architecture == "resnet_demo"


@pytest.mark.parametrize("name", ["random", "baseline:prior_mask", "timm:resnet18"])
def test_a_trained_checkpoint_is_refused_by_an_encoder_that_would_not_read_it(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match="reads no checkpoint|does not read checkpoint"):
        check_encoder(given(name, write_checkpoint(tmp_path / "net")))


LACKING = {
    "egma": (
        "mimic_cxr",
        r"method 'egma' needs reports and regions; dataset 'mimic_cxr' has labels and reports\.",
        "Use one of: egd_cxr, reflacx.",
    ),
    "convirt": (
        "siim",
        r"method 'convirt' needs reports; dataset 'siim' has labels and masks\.",
        "mimic_cxr, mimic_cxr_r2gen, reflacx.",
    ),
}


@pytest.mark.parametrize("method", LACKING)
def test_a_dataset_without_what_a_method_needs_is_refused_before_any_file_is_read(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, message, hint = LACKING[method]

    def read(*_: object) -> None:
        raise AssertionError("a file is read")

    monkeypatch.setattr("bench.data.roots.resolve_root", read)
    wanted = PretrainRequest(method, dataset=dataset, data_root=tmp_path / "nowhere")
    for refused in (resolve_encoder, lambda request, _: check_encoder(request)):
        with pytest.raises(DataError, match=message) as caught:
            refused(wanted, Silent())
        assert caught.value.hint.endswith(hint)


def test_without_gaze_egma_needs_reports_alone() -> None:
    check_encoder(PretrainRequest("egma", dataset="mimic_cxr", settings={"gaze_fraction": "0"}))
    check_encoder(PretrainRequest("egma", dataset="reflacx"))


def test_a_trainer_that_says_nothing_needs_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    from backbones.shared.pretraining import trainer

    monkeypatch.delattr(trainer, "needs")
    check_encoder(PretrainRequest("convirt", dataset="mimic_cxr"))
    with pytest.raises(DataError, match="method 'convirt' needs reports; dataset 'rsna' has"):
        check_encoder(PretrainRequest("convirt", dataset="rsna"))


# -------------------------------------------------------------------------------------- supervision
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("egma", ("gaze",)),
        ("mlip_reimpl", ("knowledge",)),
        ("convirt", ()),
        ("medklip", ("knowledge",)),
        ("medclip_r50", ("labels", "knowledge")),
        ("gloria_published", ()),
        ("torchxrayvision:densenet121-res224-all", ("labels",)),
        ("imagenet", ()),  # labels of photographs
        ("supervised", ()),  # the ceiling: its table says what it is
    ],
)
def test_encoders_declare_what_they_learned_from_beside_images_and_reports(
    name: str, expected: tuple[str, ...]
) -> None:
    assert BACKBONES.get(name).supervision == expected


def test_a_checkpoint_says_what_its_own_training_learned_from(tmp_path: Path) -> None:
    """Gaze that was not used is none; a card of before says what the method declares."""
    pairs = PairData("squares", "demo", make_subset(8, 144, 1), make_subset(4, 144, 2), "0123abcd")
    without_gaze = recipe("egma", epochs="1", gaze_fraction="0")
    folder = pretrain(without_gaze, pairs, progress=Silent(), out=tmp_path / "net")
    request = PretrainRequest("egma", checkpoint=folder)
    assert resolve_encoder(request, Silent()).supervision == ()
    path = folder / "card.json"
    card = json.loads(path.read_text())
    del card["supervision"]
    path.write_text(json.dumps(card))
    assert resolve_encoder(request, Silent()).supervision == ("gaze",)
    for wrong in (["gaze", "hearsay"], "gaze", [["gaze"]], None):
        path.write_text(json.dumps({**card, "supervision": wrong}))
        with pytest.raises(CheckpointError, match=r"card\.json is damaged: 'supervision' is"):
            resolve_encoder(request, Silent())
