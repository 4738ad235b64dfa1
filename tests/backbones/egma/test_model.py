"""EGMA: gaze on any grid, the method without gaze, reports of one sentence, and what it gives at
inference."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from backbones.egma.losses import GazeRule, pooling_losses
from backbones.egma.model import EGMA, read_gaze
from backbones.egma.settings import EGMASettings
from backbones.shared.pretraining.declare import method_settings
from backbones.shared.pretraining.regions import region_maps
from backbones.shared.pretraining.trainer import pretrain
from backbones.shared.pretraining.vision_language import text_batch
from bench.contracts import BACKBONES, REGION_SIDE, BackboneRequest, GivesLocalSimilarity, PairData
from bench.core.errors import DataError, SettingError
from bench.core.progress import Silent
from bench.data.annotations import Regions, Reports
from tests.support.methods import TEXTS
from tests.support.pairs import images, make_subset, pair_loader, recipe, with_regions
from tests.support.tiny import tiny


def egma(architecture: str = "resnet", **changes: str) -> EGMA:
    method = tiny("egma", architecture, **changes)
    assert isinstance(method, EGMA)
    return method


def first_batch(method: EGMA, regions: float | None = 1.0) -> dict[str, Any]:
    return next(pair_loader(method, regions=regions).batches(np.random.default_rng(0)))


def square(**batch: Any) -> PairData:
    train, val = with_regions(make_subset(8, 144, 1)), make_subset(4, 144, 2)
    return PairData("squares", "demo", train, val, "0123abcd", **batch)


# ------------------------------------------------------------------------------------------- losses
@pytest.mark.parametrize("rule", "12345")
@pytest.mark.parametrize("architecture", ["resnet", "vit"])
def test_every_rule_trains_with_gaze(architecture: str, rule: str) -> None:
    method = egma(architecture, gaze_rule=rule)
    losses = method.losses(first_batch(method))
    assert set(losses) == {
        *("loss_ita", "loss_instance", "loss_egf", "loss_egm"),
        *("gaze", "single_sentence"),
    }
    torch.stack([value for name, value in losses.items() if "loss" in name]).sum().backward()
    gradients = {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
    assert all(bool(value.isfinite().all()) for value in gradients.values())
    assert {"logit_scale", "patch_head.0.weight", "sentence_head.0.weight"} <= gradients.keys()


@pytest.mark.parametrize("size", [112, 128, 224])
def test_any_grid_runs_with_gaze(size: int) -> None:
    """Patches of 16 px: grids of 7, 8 and 14."""
    method = egma("vit")
    batch = first_batch(method)
    batch["images"] = functional.interpolate(batch["images"], (size, size))
    assert method.image_encoder.features(batch["images"]).grid == (size // 16, size // 16)
    losses = method.losses(batch)
    assert all(bool(value.isfinite()) for value in losses.values())
    assert float(losses["loss_egf"].detach()) > 0


@pytest.mark.parametrize("infonce", ["1", "0"])
def test_texts_are_read_once(infonce: str) -> None:
    method = egma(infonce=infonce)
    reads: list[object] = []
    method.text_encoder.model.register_forward_hook(lambda *_: reads.append(1))
    batch = first_batch(method)
    method.losses(batch)
    assert len(reads) == 1
    text = text_batch(batch)
    method.text_states(text)
    method.eval().score(method.image_encoder.features(batch["images"]), text)
    assert len(reads) == 3


def test_the_published_instance_loss_leaves_the_pooling_loss_as_it_is() -> None:
    terms = []
    for instance in ("corrected", "published"):
        method = egma(instance=instance, gaze_rule="2")
        terms.append(method.losses(first_batch(method)))
    assert torch.equal(terms[0]["loss_egm"], terms[1]["loss_egm"])
    assert not torch.equal(terms[0]["loss_instance"], terms[1]["loss_instance"])


def test_a_sentence_without_gaze_has_that_of_the_study() -> None:
    method = egma()
    batch = first_batch(method)
    mask = text_batch(batch).sentence_mask
    gaze = read_gaze(batch, mask, (8, 8))
    has_study = batch["study_region"].flatten(1).any(1)
    assert has_study.any() and not has_study.all()
    assert gaze.seen[:, :3].all() and torch.equal(gaze.seen[:, 3], has_study)
    window, study = batch["region_window"], batch["study_region"]
    expected = region_maps(study, window, (8, 8), "bilinear").flatten(1)
    torch.testing.assert_close(gaze.weights[:, 3], expected)
    areas = region_maps(batch["regions"], window, (8, 8), "area").flatten(2)
    assert torch.equal(gaze.labels[:, :3], areas[:, :3] > 0)


def test_a_map_that_the_crop_leaves_out_is_empty() -> None:
    method = egma()
    batch = first_batch(method)
    batch["regions"] = torch.zeros_like(batch["regions"])
    batch["regions"][:, 0, :2] = 255  # the upper edge, cropped off
    batch["study_region"] = torch.zeros_like(batch["study_region"])
    batch["region_window"][:, 0] = 16 / 144
    gaze = read_gaze(batch, text_batch(batch).sentence_mask, (8, 8))
    assert not gaze.seen.any() and not gaze.labels.any()
    losses = method.losses(batch)
    assert float(losses["loss_egf"].detach()) == 0 == float(losses["gaze"])


def test_a_report_of_one_sentence_has_no_pooling_loss_and_is_counted() -> None:
    method = egma().eval()
    batch = first_batch(method)
    text = method.encode_text(["Clear lungs.", "Small nodule here.", "No.", TEXTS[0]])
    fields = {"ids": text.ids, "mask": text.mask, "sentence": text.sentence, "keys": text.keys}
    count = text.keys.shape[1]
    cut = {name: batch[name][:, :count] for name in ("regions", "has_region")}
    losses = method.losses({**batch, **fields, **cut})
    assert float(losses["single_sentence"]) == 0.75
    patches = method.patches(method.image_encoder.features(batch["images"]))
    sentences, mask = method.sentences(method.report(text))
    assert mask.sum(1).tolist() == [1, 1, 1, 2], "a report of short sentences is one sentence"
    each = pooling_losses(patches, sentences, mask, method.scale, GazeRule())
    assert each[:3].tolist() == [0, 0, 0] and float(each[3].detach()) > 0


def test_a_report_without_a_long_sentence_is_read_whole() -> None:
    method = egma(min_words="4").eval()
    with torch.no_grad():
        texts = [method.encode_text([text]) for text in ("No. Yes.", "Yes.")]
        one, two = (method.sentences(method.report(text)) for text in texts)
    assert one[1].tolist() == [[True]] and not torch.allclose(one[0], two[0])
    torch.testing.assert_close(one[0].norm(dim=-1), torch.ones(1, 1))


# -------------------------------------------------------------------------------------- without gaze
def test_no_gaze_is_the_method_without_regions_bit_for_bit(tmp_path: Path) -> None:
    plain = replace(square(), train=make_subset(8, 144, 1))
    own = recipe("egma", gaze_fraction="0")
    folders = [
        pretrain(own, data, progress=Silent(), out=tmp_path / name)
        for name, data in (("regions", square()), ("plain", plain))
    ]
    curve, weights = (
        [(folder / name).read_bytes() for folder in folders]
        for name in ("curve.jsonl", "model.safetensors")
    )
    assert curve[0] == curve[1] and weights[0] == weights[1]
    card = json.loads((folders[0] / "card.json").read_text())
    assert "train_pairs_with_regions" not in card["data"]


def test_the_card_counts_who_kept_gaze() -> None:
    counts = []
    for fraction in ("1", "0.5", "0.01"):
        folder = pretrain(recipe("egma", gaze_fraction=fraction), square(), progress=Silent())
        card = json.loads((folder / "card.json").read_text())
        counts.append(card["data"]["train_pairs_with_regions"])
    assert counts[0] == 8 > counts[1] > counts[2] == 0


def test_what_it_needs_depends_on_its_settings() -> None:
    needs = [
        [type(need) for need in method_settings("egma", "demo", {"gaze_fraction": share}).needs()]
        for share in ("1", "0.1", "0")
    ]
    assert needs == [[Reports, Regions], [Reports, Regions], [Reports]]
    with pytest.raises(DataError, match="these images have no regions"):
        pretrain(recipe("egma"), replace(square(), train=make_subset(8, 144, 1)), progress=Silent())


@pytest.mark.parametrize(
    "changes", [{"gaze_rule": 6}, {"gaze_fraction": 1.5}, {"alpha": -0.1}, {"threshold": 2.0}]
)
def test_impossible_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(changes))):
        EGMASettings(**changes)


# ---------------------------------------------------------------------------------------- inference
@pytest.mark.parametrize("infonce", ["1", "0"])
def test_scores_and_maps_at_inference(infonce: str) -> None:
    pairs = square()
    folder = pretrain(recipe("egma", infonce=infonce), pairs, progress=Silent())
    encoder: Any = BACKBONES.get("egma").build(BackboneRequest("demo", checkpoint=folder))
    with torch.no_grad():
        whole = encoder.similarity(images(pairs), TEXTS)
        local = encoder.local_similarity(images(pairs), TEXTS)
        cosine = encoder.embed_images(images(pairs)) @ encoder.embed_texts(TEXTS).T
        maps = encoder.grounding(images(pairs), TEXTS)
        alone = torch.cat([encoder.similarity(images(pairs), [text]) for text in TEXTS], 1)
    expected = (cosine + local) / 2 if infonce == "1" else local
    torch.testing.assert_close(whole, expected)
    torch.testing.assert_close(whole, alone, atol=1e-5, rtol=1e-4)
    assert maps.shape == (4, 3, 8, 8)
    # For a text of one sentence the mean over patches is what the local score has of patches.
    one = TEXTS.index("There is a 1.5 cm nodule in the right lung.")
    both = (maps[:, one].mean((1, 2)) + maps[:, one].amax((1, 2))) / 2
    torch.testing.assert_close(local[:, one], both)
    assert isinstance(encoder, GivesLocalSimilarity)


def test_regions_lie_on_the_square_of_the_cache() -> None:
    assert first_batch(egma())["regions"].shape[-2:] == (REGION_SIDE, REGION_SIDE)
