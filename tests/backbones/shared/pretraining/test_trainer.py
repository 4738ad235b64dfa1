"""Pre-training end to end on squares: checkpoint, card, resume, use; and every checkpoint that must
be refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from backbones.place.model import LoadedPLACE
from backbones.place.settings import PLACESettings
from backbones.shared.pretraining.declare import method_settings
from backbones.shared.pretraining.keys import (
    Recipe,
    check,
    checkpoint_folder,
    checkpoint_key,
    is_complete,
    pretrain_image_size,
)
from backbones.shared.pretraining.pairs import (
    PairLoader,
    encode_reports,
    learnable,
)
from backbones.shared.pretraining.settings import resolve_settings
from backbones.shared.pretraining.trainer import build_method, pretrain
from backbones.shared.weights.coverage import fill
from backbones.shared.weights.reading import read_weights, state_dict_of
from bench.cells.encoders import PretrainRequest, train_encoder
from bench.cells.seen import check_seen, count_seen
from bench.contracts import BACKBONES, BackboneRequest, InputSpec, PairData, has_text_side
from bench.core.errors import CheckpointError, DataError, MissingDependencyError, SettingError
from bench.core.hashing import file_sha256
from bench.core.progress import Silent
from tests.support.pairs import TINY, images, make_subset, recipe
from tests.support.progress import Said
from tests.tasks.datasets.fakes import write_mimic


@pytest.fixture
def pairs() -> PairData:
    return PairData("squares", "demo", make_subset(8, 144, 1), make_subset(4, 144, 2), "0123abcd")


def _maps(method: str) -> str:
    return "attention.png" if method == "place" else ""


@pytest.mark.parametrize("method", ["convirt", "place", "gloria", "mgca", "medtrim"])
def test_checkpoint_card_and_use(method: str, pairs: PairData) -> None:
    folder = pretrain(recipe(method), pairs, progress=Silent())
    assert is_complete(folder) and folder == checkpoint_folder(recipe(method), pairs.data_hash)
    written = {"card.json", "curve.jsonl", "curve.png", "model.safetensors", "vocab.txt"} | (
        {"attention.png"} & {_maps(method)}
    )
    assert {path.name for path in folder.iterdir() if path.name != ".lock"} == written
    card = json.loads((folder / "card.json").read_text())
    assert (card["method"], card["architecture"], card["epochs"]) == (method, "resnet_demo", 2)
    assert card["data"] == {
        "name": "squares",
        "kind": "demo",
        "hash": "0123abcd",
        "train_pairs": 8,
        "val_pairs": 4,
    }
    assert card["settings"]["batch_size"] == 4 and card["provenance"]["git_revision"]
    assert card["weights_sha256"] == file_sha256(folder / "model.safetensors")
    assert len((folder / "curve.jsonl").read_text().splitlines()) == 2
    loaded = BACKBONES.get(method).build(BackboneRequest("demo", checkpoint=folder))
    assert has_text_side(loaded)
    texts = ["There is a pneumothorax.", "Normal.", "No nodule. No pleural effusion."]
    with torch.no_grad():
        scores = loaded.similarity(images(pairs), texts)
        assert scores.shape == (4, 3) and bool(scores.isfinite().all())
        assert float(scores.abs().max()) <= 1.001
        for embedded in (loaded.embed_images(images(pairs)), loaded.embed_texts(texts)):
            torch.testing.assert_close(embedded.norm(dim=1), torch.ones(len(embedded)))
        alone = torch.cat([loaded.similarity(images(pairs), [text]) for text in texts], 1)
    torch.testing.assert_close(scores, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("quirks, kept", [("false", 8), ("true", 6)])
def test_mgcas_quirks_train_on_reports_from_three_words_on(
    quirks: str, kept: int, pairs: PairData
) -> None:
    index = pairs.train.index.copy()
    index.loc[[1, 5], "report"] = ["Clear. Normal. Stable.", "No nodule."]
    changed, said = replace(pairs, train=replace(pairs.train, index=index)), Said()
    folder = pretrain(recipe("mgca", quirks=quirks, epochs="1"), changed, progress=said)
    card = json.loads((folder / "card.json").read_text())
    assert card["data"]["train_pairs"] == kept
    counted = [line for line in said.lines if "too short" in line]
    assert counted == (["2 of 8 reports are too short for mgca: left out"] if kept < 8 else [])


def test_pairs_left_out_take_their_images_along() -> None:
    method = build_method(
        recipe("mgca", quirks="true"),
        method_settings("mgca", "demo", {**TINY, "quirks": "true"}),
        ["There is a nodule."] * 2,
    )
    subset = make_subset(4, 144, 1)
    reports = ["No nodule at all.", "Clear.", "There is a nodule.", "Normal. Stable."]
    left, read = learnable(subset, reports, method)
    assert read == ["no nodule at all", "there is a nodule"]
    assert left.index["image_id"].tolist() == ["s1-0", "s1-2"]
    np.testing.assert_array_equal(left.images(slice(None)), subset.images([0, 2]))


def test_attention_maps_and_observations(pairs: PairData) -> None:
    loaded = BACKBONES.get("place").build(
        BackboneRequest("demo", checkpoint=pretrain(recipe(), pairs, progress=Silent()))
    )
    assert isinstance(loaded, LoadedPLACE)
    with torch.no_grad():
        maps, observed = loaded.attention_maps(images(pairs)), loaded.observations(images(pairs))
    assert maps.shape == (4, 3, 8, 8) and observed.shape == (4, 3, 16)
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(4, 3))


def test_pictures_are_drawn(pairs: PairData, tmp_path: Path) -> None:
    from backbones.shared.pretraining.pictures import draw_attention, plot_curve

    folder = pretrain(recipe(), pairs, progress=Silent())
    loaded = BACKBONES.get("place").build(BackboneRequest("demo", checkpoint=folder))
    assert isinstance(loaded, LoadedPLACE)
    for path in (
        plot_curve(folder / "curve.jsonl", tmp_path / "curve.png"),
        draw_attention(
            loaded,
            loaded.input,
            pairs.val.images(np.arange(2))[:, 8:136, 8:136],
            tmp_path / "maps.png",
            ["a", "b"],
        ),
    ):
        assert path is not None and path.read_bytes().startswith(b"\x89PNG")


def test_killed_pretraining_ends_with_the_same_weights(
    pairs: PairData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain(recipe(), pairs, progress=Silent(), out=tmp_path / "whole")
    original, calls = PairLoader.batch, [0]

    def dies(self: PairLoader, rows: np.ndarray, corners: np.ndarray) -> dict[str, torch.Tensor]:
        calls[0] += 1
        if calls[0] == 4:  # epoch 1: two batches and a validation
            raise KeyboardInterrupt
        return original(self, rows, corners)

    monkeypatch.setattr(PairLoader, "batch", dies)
    with pytest.raises(KeyboardInterrupt):
        pretrain(recipe(), pairs, progress=Silent(), out=tmp_path / "cut")
    assert (
        not is_complete(tmp_path / "cut") and (tmp_path / "cut" / "work" / "epoch_1.pth").is_file()
    )
    monkeypatch.undo()
    torch.manual_seed(77)
    resumed = pretrain(recipe(), pairs, progress=Silent(), out=tmp_path / "cut")
    first, second = (read_state_dict(folder / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert (whole / "curve.jsonl").read_text() == (resumed / "curve.jsonl").read_text()


def test_finished_checkpoint_is_kept_unless_forced(pairs: PairData) -> None:
    folder = pretrain(recipe("convirt"), pairs, progress=Silent())
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    assert pretrain(recipe("convirt"), pairs, progress=Silent()) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == stamp
    pretrain(recipe("convirt"), pairs, progress=Silent(), force=True)
    assert (folder / "model.safetensors").stat().st_mtime_ns != stamp


@pytest.mark.parametrize(
    "changes",
    [
        {"t_por": "query"},
        {"cce_target": "pixel"},
        {"cce_loss": "pearson"},
        {"duplicate_cosine": "none"},
        {"lambda_pcma": "0"},
        {"lambda_ita": "0"},
        {"text_pooling": "cls"},
    ],
)
def test_every_switch_trains_and_changes_the_loss(changes: dict[str, str], pairs: PairData) -> None:
    def first_losses(own: Recipe) -> dict[str, torch.Tensor]:
        settings = resolve_settings(PLACESettings, "demo", own.settings)
        reports = pairs.train.index["report"].tolist()
        method = build_method(own, settings, reports)
        loader = PairLoader(
            pairs.train,
            encode_reports(reports, method.vocabulary, settings),
            method.vocabulary,
            InputSpec(128, 144),
            4,
        )
        torch.manual_seed(0)
        losses = method.losses(next(loader.batches(np.random.default_rng(0))))
        sum(losses.values()).backward()  # type: ignore[union-attr]
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in method.parameters())
        return {name: value.detach() for name, value in losses.items()}

    plain, changed = first_losses(recipe()), first_losses(recipe(**changes))
    assert all(bool(value.isfinite()) for value in changed.values())
    if changes != {"duplicate_cosine": "none"}:
        assert plain.keys() != changed.keys() or any(
            not torch.equal(plain[name], changed[name]) for name in plain
        )


def test_the_key_changes_with_everything_the_weights_depend_on() -> None:
    base = recipe()
    others = [
        replace(base, seed=1),
        replace(base, architecture="vit"),
        replace(base, method="convirt", settings=TINY),
        recipe(tau2="0.2"),
    ]
    keys = [
        checkpoint_key(base, "a"),
        checkpoint_key(base, "b"),
        *(checkpoint_key(other, "a") for other in others),
    ]
    assert len(set(keys)) == len(keys)
    assert checkpoint_key(recipe(tau2="0.1"), "a") == checkpoint_key(base, "a")
    assert (pretrain_image_size(base), pretrain_image_size(replace(base, profile="paper"))) == (
        144,
        256,
    )


def test_impossible_recipes_are_refused_before_any_work() -> None:
    with pytest.raises(SettingError, match="tau2"):
        check(recipe(tau_2="0.1"))
    with pytest.raises(MissingDependencyError, match="text_model=PATH"):
        check(Recipe("place", "paper"))


def test_pairs_whose_report_has_no_word_are_left_out_and_counted(pairs: PairData) -> None:
    index = pairs.train.index.copy()
    for row, report in ((1, "  "), (3, None), (6, " ?! ___. ")):
        index.loc[row, "report"] = report
    said = Said()
    given = replace(pairs, train=replace(pairs.train, index=index))
    folder = pretrain(recipe("convirt"), given, progress=said)
    card = json.loads((folder / "card.json").read_text())
    assert "3 of 8 reports have no word: left out" in said.lines
    assert card["left_out"]["without_words"] == {"train": 3, "val": 0}
    assert card["data"]["train_pairs"] == 5

    rows = [0, 2, 4, 5, 7]
    whole = replace(
        pairs.train,
        index=pairs.train.index.iloc[rows].reset_index(drop=True),
        positions=pairs.train.positions[rows],
    )
    same = pretrain(
        recipe("convirt"), replace(pairs, train=whole), progress=Silent(), out=folder / "same"
    )
    first, second = (read_state_dict(f / "model.safetensors") for f in (folder, same))
    assert all(torch.equal(value, second[name]) for name, value in first.items())

    index["report"] = ""
    with pytest.raises(DataError, match="'squares': none of 8 reports has a word"):
        pretrain(recipe("mgca"), given, progress=Silent())


def test_the_card_keeps_digests_of_what_was_trained_on(pairs: PairData) -> None:
    index = pairs.train.index.copy()
    index.loc[0, "report"] = ""  # not trained on, so not seen
    images = [*index["image_id"], *pairs.val.index["image_id"]]
    digests = {image: f"{number + 1:032x}"[::-1] for number, image in enumerate(images)}
    given = replace(pairs, train=replace(pairs.train, index=index), digests=digests)
    folder = pretrain(recipe("convirt"), given, progress=Silent())
    entry = json.loads((folder / "card.json").read_text())["seen"]
    assert (entry["images"], entry["patients"]) == (7, 7)
    path = check_seen(folder, entry)
    assert path is not None and path.stat().st_size < 1000
    count = count_seen(path, digests, index["patient_id"], "squares")
    assert (count.images, count.test_images, count.patients, count.test_patients) == (7, 12, 7, 8)
    elsewhere = count_seen(path, digests, index["patient_id"], "circles")
    assert (elsewhere.images, elsewhere.patients) == (7, 0)
    assert "s1-" not in path.read_bytes().decode("latin-1")  # ids of patients stay private
    path.write_bytes(b"another file")
    with pytest.raises(CheckpointError, match="is not the file that its card.json names"):
        check_seen(folder, entry)
    path.unlink()
    with pytest.raises(CheckpointError, match="is missing: it says which images"):
        check_seen(folder, entry)


def test_bad_pairs_are_named(pairs: PairData) -> None:
    with pytest.raises(DataError, match="160 px.*144 px"):
        pretrain(recipe(), replace(pairs, train=make_subset(8, 160, 1)), progress=Silent())
    with pytest.raises(DataError, match="no reports"):
        unread = replace(
            pairs.train, index=pd.DataFrame({"image_id": pairs.train.index["image_id"]})
        )
        pretrain(recipe(), replace(pairs, train=unread), progress=Silent())
    with pytest.raises(DataError, match="1 training pairs"):
        pretrain(recipe(), replace(pairs, train=make_subset(1, 144, 1)), progress=Silent())


# ------------------------------------------------------------------------------ refused checkpoints
def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    return state_dict_of(read_weights(path), path)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04half a zip"])
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} (is damaged|holds more than tensors)"):
        read_state_dict(tmp_path / name)


def test_missing_file_and_file_without_tensors(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        read_state_dict(tmp_path / "none.pth")
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    torch.save([torch.zeros(1)], tmp_path / "b.pth")
    for name in ("a.pth", "b.pth"):
        with pytest.raises(CheckpointError, match="no tensors"):
            read_state_dict(tmp_path / name)


def test_containers_are_unpacked(tmp_path: Path) -> None:
    weights = nn.Linear(3, 2).state_dict()
    for number, content in enumerate(({"state_dict": weights}, {"model": weights}, weights)):
        torch.save(content, tmp_path / f"{number}.pth")
        assert read_state_dict(tmp_path / f"{number}.pth").keys() == weights.keys()


def test_one_weight_of_another_shape_is_refused_by_name() -> None:
    module = nn.Sequential(*(nn.Linear(4, 4) for _ in range(10)))
    weights = dict(module.state_dict())
    weights["head.weight"] = torch.zeros(3)
    assert fill(module, weights, Path("file"), "it").fraction == 1.0
    weights["3.weight"] = torch.zeros(5, 5)
    with pytest.raises(CheckpointError, match=r"file fills 92% of it: 1 tensor.*3\.weight"):
        fill(module, weights, Path("file"), "it")


def test_checkpoints_that_do_not_fit_are_refused(pairs: PairData, tmp_path: Path) -> None:
    folder = pretrain(recipe("convirt"), pairs, progress=Silent())
    build = {name: BACKBONES.get(name).build for name in ("convirt", "place")}
    with pytest.raises(CheckpointError, match="'resnet_demo', wanted is 'vit_demo'"):
        build["convirt"](BackboneRequest("demo", "vit", checkpoint=folder))
    with pytest.raises(CheckpointError, match="trained with 'convirt', not 'place'"):
        build["place"](BackboneRequest("demo", checkpoint=folder))
    with pytest.raises(CheckpointError, match="has no checkpoint"):
        build["place"](BackboneRequest("demo"))
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match="damaged"):
        build["convirt"](BackboneRequest("demo", checkpoint=folder / "model.safetensors"))
    (folder / "card.json").unlink()
    with pytest.raises(CheckpointError, match=r"no card\.json"):
        build["convirt"](BackboneRequest("demo", checkpoint=folder))


def test_imagenet_never_falls_back_to_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    build = BACKBONES.get("imagenet").build
    with pytest.raises(MissingDependencyError, match="no ImageNet weights for 'resnet_demo'"):
        build(BackboneRequest("demo"))
    with pytest.raises(CheckpointError, match="does not exist"):
        build(BackboneRequest("demo", settings={"weights": str(tmp_path / "none.pth")}))
    with pytest.raises(SettingError, match="weight"):
        build(BackboneRequest("demo", settings={"wieghts": "x"}))
    from backbones.shared.encoders.architectures import ARCHITECTURES
    from backbones.shared.encoders.image import build_encoder

    weights = build_encoder(ARCHITECTURES["resnet_demo"], seed=9).model.state_dict()
    torch.save(weights, tmp_path / "own.pth")
    loaded = build(BackboneRequest("demo", settings={"weights": str(tmp_path / "own.pth")}))
    assert torch.equal(loaded.module.model.layer4[0].conv1.weight, weights["layer4.0.conv1.weight"])  # type: ignore[union-attr,index]
    assert loaded.input.mean == (0.485, 0.456, 0.406)


def test_pretraining_leaves_out_and_lists_a_bad_picture_where_asked(tmp_path: Path) -> None:
    root = tmp_path / "data" / "mimic_cxr"
    root.mkdir(parents=True)
    write_mimic(root, studies=16)
    broken = sorted(root.rglob("*-PA.jpg"))[0]
    broken.write_bytes(broken.read_bytes()[:40])
    request = PretrainRequest(
        "convirt",
        settings={**TINY, "epochs": "1"},
        data="real",
        data_root=tmp_path / "data",
        out=tmp_path / "net",
    )
    with pytest.raises(DataError, match=broken.name):
        train_encoder(request, Silent())
    encoder = train_encoder(replace(request, on_error="skip"), Silent())
    (listed,) = (tmp_path / "net").glob("skipped-mimic_cxr-*.csv")
    assert encoder.checkpoint == tmp_path / "net" and broken.name in listed.read_text()
