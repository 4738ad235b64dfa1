"""`mlip_reimpl` as a method: MGCA with all switches off, each switch its own term, and what bad
settings and odd reports give."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from backbones.mlip_reimpl.knowledge import TERMS
from backbones.mlip_reimpl.model import MLIP, DivergenceEncoder
from backbones.mlip_reimpl.settings import MLIPSettings
from backbones.shared.pretraining.declare import method_settings
from backbones.shared.pretraining.keys import Recipe, check, checkpoint_key
from backbones.shared.pretraining.pairs import PairLoader, encode_reports
from backbones.shared.pretraining.retrieval import retrieval_scores
from backbones.shared.pretraining.trainer import build_method, pretrain
from backbones.shared.pretraining.vision_language import VisionLanguageMethod
from bench.contracts import PairData, Subset
from bench.core.errors import SettingError
from bench.core.progress import Silent
from tests.support.methods import build
from tests.support.pairs import TINY, make_subset, recipe
from tests.support.tiny import tiny

OFF = {"divergence": "0", "knowledge": "false", "category": "false", "matching": "0", "swap": "0"}
REPORTS = [
    "Small left pleural effusion. No pneumothorax.",
    "Right pneumothorax and small effusion.",
    "There is a nodule in the left upper lobe.",
    "Mild cardiomegaly. Edema.",
    "The lungs are clear.",
    "Normal.",
]


def mlip(architecture: str = "resnet", **changes: str) -> MLIP:
    method = build("mlip_reimpl", architecture, **{**TINY, **changes})
    assert isinstance(method, MLIP)
    return method


def batch_of(method: VisionLanguageMethod, reports: list[str]) -> dict[str, Any]:
    text = method.encode_text(reports)
    images = torch.randn(len(reports), 3, 128, 128, generator=torch.manual_seed(1))
    fields = {"ids": text.ids, "mask": text.mask, "sentence": text.sentence, "keys": text.keys}
    names = [str(number) for number in range(len(reports))]
    return {"images": images, "image_ids": names, "reports": reports, **fields}


def losses_of(
    method: VisionLanguageMethod, reports: list[str] = REPORTS
) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return method.losses(batch_of(method, reports))


# ----------------------------------------------------------------------------------------- switches
@pytest.mark.parametrize("architecture", ["resnet", "vit"])
def test_with_all_switches_off_losses_and_weights_are_those_of_mgca(architecture: str) -> None:
    ours, mgca = mlip(architecture, **OFF), tiny("mgca", architecture)
    assert ours.state_dict().keys() == mgca.state_dict().keys()
    found, expected = losses_of(ours), losses_of(mgca)
    assert found.keys() == expected.keys() == {"loss_ita", "loss_cta", "loss_cpa"}
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize(
    ("switch", "term"),
    [
        ("divergence", "loss_div"),
        ("knowledge", "loss_cta"),
        ("category", "loss_cpa"),
        ("matching", "loss_matching"),
        ("swap", "loss_swap"),
    ],
)
def test_every_switch_alone_changes_its_own_term_and_no_other(switch: str, term: str) -> None:
    off = losses_of(mlip(**OFF))
    method = mlip(**{**OFF, switch: "1"})
    found = losses_of(method)
    assert found.keys() == off.keys() | {term}
    for name, value in found.items():
        is_same = name in off and torch.equal(value, off[name])
        assert is_same is (name != term), name
    found[term].backward()
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    assert gradients and all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("name", ["divergence", "matching", "swap"])
def test_a_term_is_weighted(name: str) -> None:
    term = {"divergence": "loss_div"}.get(name, f"loss_{name}")
    one, two = (losses_of(mlip(**{**OFF, name: weight}))[term] for weight in ("1", "2"))
    torch.testing.assert_close(2 * one, two)


@pytest.mark.parametrize("name", ["beta", "delta"])
def test_what_a_version_that_stays_near_costs_can_be_set(name: str) -> None:
    one, other = (
        losses_of(mlip(**{**OFF, "divergence": "1", name: value})) for value in ("0.1", "0.5")
    )
    assert not torch.equal(one["loss_div"], other["loss_div"])


def test_the_divergence_encoder_starts_near_the_identity() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(50, 128), dim=1)
    encoder = DivergenceEncoder(128, 0.1)
    cosines = (encoder(vectors) * vectors).sum(1)
    assert bool((cosines > 0.99).all()) and not bool((cosines == 1).all())


# ---------------------------------------------------------------------------------- definitions
def test_definitions_are_read_once_an_epoch_without_gradient_and_leave_no_trace() -> None:
    method = mlip().train()
    before = {name: value.clone() for name, value in method.named_buffers()}
    vectors = method.definitions()
    assert vectors.shape == (len(TERMS), method.settings.embed_dim) and not vectors.requires_grad
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(TERMS)))
    assert all(torch.equal(value, before[name]) for name, value in method.named_buffers())
    assert method.text_encoder.training and method.definitions() is vectors
    with torch.no_grad():
        method.text_encoder.model.embeddings.word_embeddings.weight += torch.randn(
            method.text_encoder.model.embeddings.word_embeddings.weight.shape
        )
    assert method.definitions() is vectors
    method.start_epoch(1)
    assert not torch.allclose(method.definitions(), vectors)


def test_a_training_goes_on_with_the_definitions_that_it_began_with(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"Edema": "Water."}))
    method = mlip(definitions=str(path))
    vectors = method.definitions()
    path.write_text(json.dumps({"Edema": "The lungs are wet."}))
    method.start_epoch(1)
    assert torch.equal(method.definitions(), vectors)


def test_definitions_of_an_untrained_encoder_differ() -> None:
    vectors = mlip(embed_dim="64").definitions()
    cosines = (vectors @ vectors.T - torch.eye(len(TERMS))).abs()
    assert float(cosines.mean()) < 0.5


def test_a_report_that_names_nothing_keeps_its_words() -> None:
    method = mlip(**{**OFF, "knowledge": "true"}).eval()
    batch = batch_of(method, REPORTS)
    pairs = method._pairs(batch)
    plain = method._words(pairs.report)
    words = method.contrasted_words(batch, pairs.report)
    same = [torch.equal(one, other) for one, other in zip(words, plain, strict=True)]
    assert same == [False, False, False, False, True, True]


def test_reports_that_name_nothing_give_mgcas_words_and_no_category() -> None:
    reports = ["The lungs are clear.", "Normal.", "Unremarkable.", ""]
    off = losses_of(mlip(**OFF), reports)
    found = losses_of(mlip(matching="1", swap="1"), reports)
    assert torch.equal(found["loss_cta"], off["loss_cta"])
    assert found["loss_cpa"].item() == found["loss_swap"].item() == 0
    assert all(bool(value.isfinite()) for value in found.values())


def test_studies_without_a_finding_are_left_out_of_the_categories() -> None:
    """What is denied is no finding: other images for such studies change nothing."""
    method = mlip(**{**OFF, "category": "true", "lambda_ita": "0", "lambda_cta": "0"}).eval()
    batch = batch_of(method, [*REPORTS[:4], "No effusion.", "Normal."])
    other = {**batch, "images": batch["images"].clone()}
    other["images"][4:] += 1
    assert torch.equal(method.losses(batch)["loss_cpa"], method.losses(other)["loss_cpa"])
    other["images"][0] += 1
    assert not torch.equal(method.losses(batch)["loss_cpa"], method.losses(other)["loss_cpa"])


def test_a_report_with_the_same_words_is_no_negative() -> None:
    method = mlip(**{**OFF, "matching": "1"}).eval()
    batch = batch_of(method, ["Normal."] * 4)
    logits = method.matching_head(*_embedded(method, batch))
    expected = torch.nn.functional.softplus(-logits).mean()
    torch.testing.assert_close(method.losses(batch)["loss_matching"], expected)


def _embedded(method: MLIP, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = method._pairs(batch)
    return pairs.images, pairs.texts


# ------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lambda_cta": "0"}, "knowledge=true changes a term that lambda_cta=0 leaves out"),
        ({"lambda_cpa": "0"}, "category=true changes a term that lambda_cpa=0 leaves out"),
        ({"quirks": "true"}, "quirks=true takes the ends of sentences"),
        ({**OFF, "definitions": "mine.json"}, r"definitions=mine\.json is read by nothing"),
        ({"delta": "2"}, "delta"),
        ({"swap": "-1"}, "swap"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        method_settings("mlip_reimpl", "demo", changes)


def test_a_file_of_definitions_is_checked_before_data_is_read_and_is_in_the_key(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.json"
    own = Recipe("mlip_reimpl", "demo", settings={"definitions": str(path)})
    with pytest.raises(SettingError, match="there is no such file"):
        check(own)
    keys = set()
    for sentence in ("Water.", "Much water."):
        path.write_text(json.dumps({"Edema": sentence}))
        check(own)
        keys.add(checkpoint_key(own, "0"))
    assert len(keys) == 2
    path.write_text(json.dumps({"Oedema": "Water."}))
    with pytest.raises(SettingError, match=r"defines 'Oedema', which is no finding"):
        check(own)


def test_a_checkpoint_is_read_where_its_definitions_are_no_more(tmp_path: Path) -> None:
    from backbones.shared.pretraining.checkpoint import load_method
    from bench.contracts import BackboneRequest

    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"Edema": "Water."}))
    data = PairData("squares", "demo", make_subset(8, 144, 1), make_subset(4, 144, 2), "0123")
    own = recipe("mlip_reimpl", epochs="1", definitions=str(path), swap="1")
    folder = pretrain(own, data, progress=Silent(), out=tmp_path / "net")
    card = json.loads((folder / "card.json").read_text())
    assert card["supervision"] == ["knowledge"]
    path.unlink()
    encoder = load_method("mlip_reimpl", BackboneRequest("demo", checkpoint=folder))
    assert encoder.embed_texts(["Edema."]).shape == (1, 16)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("knowledge",)),
        ({"knowledge": "false"}, ("knowledge",)),  # its categories are definitions too
        ({"knowledge": "false", "category": "false"}, ()),
    ],
)
def test_what_it_learned_from_is_knowledge_where_definitions_are_read(
    changes: dict[str, str], expected: tuple[str, ...]
) -> None:
    settings = method_settings("mlip_reimpl", "demo", changes)
    assert settings.saw(("knowledge",)) == expected


def test_the_recipe_is_mgcas() -> None:
    ours, mgca = (method_settings(name, "paper") for name in ("mlip_reimpl", "mgca"))
    assert isinstance(ours, MLIPSettings)
    for name in ("lr", "weight_decay", "batch_size", "epochs", "max_tokens"):
        assert getattr(ours, name) == getattr(mgca, name)
    assert (ours.lr, ours.batch_size, ours.epochs, ours.max_tokens) == (2e-5, 144, 50, 112)


# ------------------------------------------------------------------------------------------ swap
def sided(count: int, seed: int) -> Subset:
    """Return noise with a bright square on the side of the image that the report names, on both
    sides as often: who looks at no image is right in half of the cases."""
    subset = make_subset(count, 144, seed)
    generator = np.random.default_rng(seed)
    images = generator.integers(40, 80, (count, 144, 144), dtype=np.uint8)
    reports = []
    for row, image in enumerate(images):
        side = ("right", "left")[row % 2]
        left = 20 if side == "right" else 84  # the patient's left is on the right of the image
        image[50:90, left : left + 40] += 150
        reports.append(f"There is a large {side} effusion.")
    index = pd.DataFrame({**subset.index, "report": reports})
    return replace(subset, index=index, image_store=images)


def test_exchanged_sides_are_told_on_images_that_were_not_trained_on() -> None:
    train, val = sided(64, 1), sided(64, 2)
    sizes = {**TINY, "embed_dim": "32", "projection_hidden": "64"}
    alone = {**OFF, "swap": "1", "lambda_cta": "0", "lambda_cpa": "0"}
    own = recipe("mlip_reimpl", **sizes, **alone)
    settings = method_settings("mlip_reimpl", "demo", own.settings)
    torch.manual_seed(0)
    method = build_method(own, settings, train.index["report"].tolist())
    loaders = [
        PairLoader(
            subset,
            encode_reports(subset.index["report"].tolist(), method.vocabulary, settings),
            method.vocabulary,
            method.image_encoder.architecture.input,
            8,
        )
        for subset in (train, val)
    ]
    optimizer = torch.optim.AdamW(method.parameters(), 1e-3)
    generator = np.random.default_rng(0)
    for _ in range(7):
        for batch in loaders[0].batches(generator):
            optimizer.zero_grad()
            torch.stack(list(method.losses(batch).values())).sum().backward()
            optimizer.step()
    accuracy = retrieval_scores(method.eval(), loaders[1], "cpu")["side_accuracy"]
    assert accuracy > 0.5 + 3 * 0.5 / 64**0.5
