"""GLoRIA and MGCA: words from pieces, what the published codes do otherwise, and losses against
loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from backbones.gloria.model import GLoRIA
from backbones.mgca.model import MGCA
from backbones.shared.encoders.text import sum_words
from backbones.shared.encoders.vocabulary import Vocabulary, number_words
from backbones.shared.pretraining.vision_language import (
    GivesQueries,
    VisionLanguageMethod,
    embed,
    text_batch,
)
from bench.contracts import GivesLocalSimilarity, GivesObservations
from tests.support.methods import TEXTS, build
from tests.support.pairs import PLACE_TINY, TINY, pair_loader


def batch_of(method: VisionLanguageMethod) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    text = method.encode_text(TEXTS)
    images = torch.randn(3, 3, 128, 128, generator=generator)
    fields = {"ids": text.ids, "mask": text.mask, "sentence": text.sentence, "keys": text.keys}
    return {"images": images, "image_ids": ["a", "b", "c"], **fields}


# -------------------------------------------------------------------------------------------- words
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "no", "pneumo", "##thorax", ".", "lung", "1"]


def test_pieces_are_joined_to_words() -> None:
    vocabulary = Vocabulary(PIECES)
    ids = torch.tensor([[2, 4, 5, 6, 7, 1, 3, 0], [2, 8, 3, 0, 0, 0, 0, 0]])
    mask = ids != 0
    assert vocabulary.word_numbers(ids, mask).tolist() == [
        [-1, 0, 1, 1, -1, 2, -1, -1],
        [-1, 0, -1, -1, -1, -1, -1, -1],
    ]
    everything = vocabulary.word_numbers(ids, mask, everything=True)
    assert everything.tolist() == [[0, 1, 2, 2, 3, 4, 5, -1], [0, 1, 2, -1, -1, -1, -1, -1]]
    states = torch.arange(16.0).view(2, 8, 1)
    words, real = sum_words(states, vocabulary.word_numbers(ids, mask))
    assert words[:, :, 0].tolist() == [[1, 5, 5], [9, 0, 0]]
    assert real.tolist() == [[True] * 3, [True, False, False]]


def test_a_text_without_a_word_has_none() -> None:
    none = torch.zeros(2, 3, dtype=torch.bool)
    numbers = number_words(none, none)
    words, real = sum_words(torch.ones(2, 3, 4), numbers)
    assert words.shape == (2, 1, 4) and not words.any() and not real.any()


# ------------------------------------------------------------------------------------------- gloria
def gloria_scores(words: torch.Tensor, mask: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
    """Return the local scores [T, B] as the paper has them, pair by pair."""
    scores = words.new_zeros(len(words), len(regions))
    for t, own in enumerate(words):
        for b, places in enumerate(regions):
            real = own[mask[t]]
            attention = (4 * (places @ real.T).softmax(1)).softmax(0)
            cosines = functional.cosine_similarity(attention.T @ places, real, dim=1)
            scores[t, b] = 10 * (5 * cosines).exp().sum().log()
    return scores


@pytest.mark.parametrize("architecture", ["resnet", "vit"])
@pytest.mark.parametrize("heads", ["shared", "linear"])
def test_gloria_losses_equal_the_paper(architecture: str, heads: str) -> None:
    method = build("gloria", architecture, heads=heads).eval()
    assert isinstance(method, GLoRIA)
    batch = batch_of(method)
    losses = method.losses(batch)
    features = method.image_encoder.features(batch["images"])
    words, mask, _ = method.words(text_batch(batch))
    assert mask.sum(1).tolist() == [8, 1, 11]
    words, regions = (
        embed(method.word_head, words, mask),
        embed(method.region_head, features.patches),
    )
    scores = gloria_scores(words, mask, regions)
    target = torch.arange(3)
    local = functional.cross_entropy(scores, target) + functional.cross_entropy(scores.T, target)
    torch.testing.assert_close(losses["loss_local"], local, rtol=1e-4, atol=1e-4)
    images, texts = method.embed_features(features), method.text_states(text_batch(batch))[1]
    logits = 10 * images @ texts.T
    expected = functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    torch.testing.assert_close(losses["loss_global"], expected, rtol=1e-4, atol=1e-4)


def test_gloria_quirks_count_cls_as_a_word_and_padding_into_the_mean() -> None:
    plain, quirky = (build("gloria", quirks=value).eval() for value in ("false", "true"))
    assert isinstance(plain, GLoRIA) and isinstance(quirky, GLoRIA)
    text = plain.encode_text(TEXTS)
    words, mask, sentences = quirky.words(text)
    tokens = quirky.text_encoder.layers(text)
    states = torch.stack(tokens[-4:]).sum(0)
    torch.testing.assert_close(words[:, 0], states[:, 0])  # [CLS] is the first word
    # "Nodule.": [CLS], the word and the full stop, not [SEP]; a score has no [CLS] either
    assert int(mask[1].sum()) == 3 and int(plain.words(text)[1][1].sum()) == 1
    assert quirky.words(text, scored=True)[1][1].tolist()[:4] == [False, True, True, False]
    every = torch.where(text.mask[:, :, None], states, 0.0).sum(1)
    torch.testing.assert_close(
        functional.normalize(sentences, dim=1), functional.normalize(every, dim=1)
    )
    assert not torch.allclose(plain.words(text)[2], sentences)


def spoken(name: str, **changes: str) -> VisionLanguageMethod:
    """Return a method that knows the words of `the lungs are clear`, and no other."""
    method = build(name, quirks="true", **changes).eval()
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "lungs", "are", "clear"]
    vocabulary = Vocabulary(known)
    text = method.text_encoder
    return type(method)(method.image_encoder.architecture, text, vocabulary, method.settings).eval()


@pytest.mark.parametrize(
    "report, matched",
    [("the lungs", 3), ("the xyz lungs", 3), ("xyz the lungs xyz", 3), ("the lungs are clear", 5)],
)
def test_each_unknown_word_costs_glorias_loss_the_last_one(report: str, matched: int) -> None:
    method = spoken("gloria")
    assert isinstance(method, GLoRIA)
    text = method.encode_text([report])
    mask = method.words(text)[1][0]
    assert mask.tolist() == [True] * matched + [False] * (len(mask) - matched)
    scored = method.words(text, scored=True)[1][0].tolist()
    count = len(report.split())
    assert scored == [False, *[True] * count, False]


def test_glorias_quirks_score_without_cls() -> None:
    method: Any = spoken("gloria")
    features = method.image_encoder.features(batch_of(method)["images"])
    text = method.encode_text(["the lungs"])
    with torch.no_grad():
        before = method.score(features, text), method.grounding(features, text)
        words, mask, sentences = method.words(text, scored=True)
        words[:, 0] = torch.randn(words.shape[2], generator=torch.manual_seed(0))
        method.words = lambda *_, **__: (words, mask, sentences)
        after = method.score(features, text), method.grounding(features, text)
    for one, other in zip(before, after, strict=True):
        assert one is not None and other is not None and torch.equal(one, other)


@pytest.mark.parametrize("name", ["gloria", "mgca"])
def test_quirks_read_text_as_the_published_code(name: str) -> None:
    report = "No effusion.\n1. Clear.\n2. Nodule of 1.5 cm."
    plain, quirky = (build(name, quirks=value) for value in ("false", "true"))
    assert plain.read(report) == report and plain.learns_from("Clear.")
    assert quirky.read(report) == "no effusion nodule of 5 cm"
    one, two = quirky.encode_text([report]), quirky.encode_text(["no effusion nodule of 5 cm"])
    assert one.ids.tolist() == two.ids.tolist()
    assert not quirky.learns_from("Clear. Normal.")
    # MGCA keeps a report from three words on, GLoRIA with any sentence of two.
    assert quirky.learns_from("No effusion.") is (name == "gloria")
    assert quirky.learns_from("No effusion. Clear. 1.5 cm.")


def test_gloria_scores_a_text_of_punctuation_by_the_cosine_alone() -> None:
    method = build("gloria").eval()
    features = method.image_encoder.features(batch_of(method)["images"])
    text = method.encode_text(["?!", "Nodule."])
    with torch.no_grad():
        scores = method.score(features, text)
        cosine = method.embed_features(features) @ method.text_states(text)[1].T
    torch.testing.assert_close(scores[:, 0], cosine[:, 0])
    assert bool(scores.isfinite().all()) and not torch.allclose(scores[:, 1], cosine[:, 1])


# -------------------------------------------------------------------------------------------- place
def test_place_without_pcma_has_the_global_cosine_and_no_local_part() -> None:
    alone, whole = (
        build("place", **PLACE_TINY, lambda_pcma=weight).eval() for weight in ("0", "1")
    )
    for method in (alone, whole):
        batch, text = batch_of(method), method.encode_text(TEXTS)
        features = method.image_encoder.features(batch["images"])
        with torch.no_grad():
            cosine = method.embed_features(features) @ method.text_states(text)[1].T
            assert torch.allclose(method.score(features, text), cosine) is (method is alone)
            assert (method.grounding(features, text) is None) is (method is alone)
            assert (method.attention_maps(batch["images"]) is None) is (method is alone)
    optional = (GivesLocalSimilarity, GivesObservations, GivesQueries)
    assert not any(isinstance(alone.loaded("place"), part) for part in optional)
    assert all(isinstance(whole.loaded("place"), part) for part in optional)


# --------------------------------------------------------------------------------------------- mgca
def test_mgca_quirks_make_the_text_encoder_blind_to_order() -> None:
    turned = ["nodule pneumothorax", "pneumothorax nodule"]
    for quirks, same in (("false", False), ("true", True)):
        method = build("mgca", quirks=quirks).eval()
        with torch.no_grad():
            first, second = method.text_states(method.encode_text(turned))[1]
        assert torch.allclose(first, second, atol=1e-5) is same


def test_mgca_quirks_shift_the_word_weights_and_keep_padding() -> None:
    plain, quirky = (build("mgca", quirks=value).eval() for value in ("false", "true"))
    assert isinstance(plain, MGCA) and isinstance(quirky, MGCA)
    text = plain.encode_text(TEXTS)
    own, theirs = plain.report(text), quirky.report(text)
    assert own.words.shape[1] == int(own.mask.sum(1).max()) == 11
    assert theirs.words.shape[1] == quirky.settings.max_tokens - 1
    # "Nodule.": the word alone, or the word, the full stop and [SEP]
    assert (int(own.mask[1].sum()), int(theirs.mask[1].sum())) == (1, 3)
    for report in (own, theirs):
        torch.testing.assert_close(report.weights.sum(1), torch.ones(3))
        assert not report.weights.masked_select(~report.mask).any()


@pytest.mark.parametrize("others", [[], ["the lungs are"], ["the lungs are clear"]])
def test_mgcas_quirks_give_sep_no_weight(others: list[str]) -> None:
    """Shifted by one token, [SEP] gets what [CLS] gives to padding: exactly nothing."""
    method = spoken("mgca", max_tokens="6")
    assert isinstance(method, MGCA)
    text = method.encode_text(["the lungs", *others])
    report = method.report(text)
    assert report.mask[0].tolist() == [True, True, True, False, False]
    assert report.weights[0, 2:].tolist() == [0, 0, 0]
    before = method.text_encoder.layers(text, order_blind=True)[-2]
    attention = method.text_encoder.cls_attention(before, text.mask)[0].mean(0)
    shifted = attention[2:4]  # of "lungs" and of [SEP], taken for "the" and "lungs"
    bounds = shifted.quantile(torch.tensor([0.1, 0.9]))
    expected = shifted.clamp(bounds[0], bounds[1])
    torch.testing.assert_close(report.weights[0, :2], expected / expected.sum())


@pytest.mark.parametrize(
    "report, left",
    [("the lungs are clear", 3), ("the lungs are clear the lungs", 3), ("the lungs are", 4)],
)
def test_mgcas_quirks_lose_the_end_of_a_report_that_fills_the_window(
    report: str, left: int
) -> None:
    method = spoken("mgca", max_tokens="6")
    assert isinstance(method, MGCA)
    found = method.report(method.encode_text([report, "the lungs"]))
    assert found.mask.shape == (2, 5) and found.mask[0].sum() == left
    assert found.mask[1].sum() == 3
    assert not found.words[0, left:].any()
    torch.testing.assert_close(found.weights.sum(1), torch.ones(2))


def test_cls_attention_is_the_encoders_own() -> None:
    method = build("mgca").eval()
    text = method.encode_text(TEXTS)
    method.text_encoder.model.set_attn_implementation("eager")
    found = method.text_encoder.model(
        input_ids=text.ids,
        attention_mask=text.mask.long(),
        output_attentions=True,
        output_hidden_states=True,
    )
    mine = method.text_encoder.cls_attention(found.hidden_states[-2], text.mask)
    torch.testing.assert_close(mine, found.attentions[-1][:, :, 0])


def test_patch_weights_are_the_class_tokens_attention() -> None:
    from backbones.mgca.model import _last_block_input, _patch_weights

    method = build("mgca", "vit").eval()
    model = method.image_encoder.model
    with _last_block_input(model) as seen, torch.no_grad():
        method.image_encoder.features(batch_of(method)["images"])
    weights = _patch_weights(model, seen[0])
    assert weights.shape == (3, 64) and len(seen) == 1
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    model.blocks[-1].attn.fused_attn = False
    caught: list[torch.Tensor] = []
    hook = model.blocks[-1].attn.attn_drop.register_forward_hook(
        lambda *parts: caught.append(parts[2])
    )
    with torch.no_grad():
        method.image_encoder.features(batch_of(method)["images"])
    hook.remove()
    attention = caught[0][:, :, 0, 1:].mean(1)
    bounds = attention.quantile(torch.tensor([0.1, 0.9]), dim=1, keepdim=True)
    clipped = attention.clamp(bounds[0], bounds[1])
    torch.testing.assert_close(
        weights, clipped / clipped.sum(1, keepdim=True), rtol=1e-4, atol=1e-6
    )


def test_mgca_prototypes_stand_still_in_the_first_epoch() -> None:
    method = build("mgca")
    assert isinstance(method, MGCA)
    for epoch, trained in ((0, False), (1, True)):
        method.start_epoch(epoch)
        method.zero_grad()
        sum(
            value for name, value in method.losses(batch_of(method)).items() if "loss" in name
        ).backward()  # type: ignore[union-attr]
        assert (method.prototypes.weight.grad is not None) is trained
        torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(500))


# ---------------------------------------------------------------------------------------------- all
@pytest.mark.parametrize("name", ["gloria", "mgca"])
@pytest.mark.parametrize("architecture", ["resnet", "vit"])
@pytest.mark.parametrize("quirks", ["false", "true"])
def test_every_form_has_finite_losses_and_gradients(
    name: str, architecture: str, quirks: str
) -> None:
    method = build(name, architecture, quirks=quirks)
    losses = method.losses(batch_of(method))
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(bool(value.isfinite()) for value in losses.values())
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients) and len(gradients) > 20


@pytest.mark.parametrize("name", ["convirt", "place", "gloria", "mgca", "medtrim"])
def test_training_lowers_the_loss(name: str) -> None:
    method = build(name, **(PLACE_TINY if name == "place" else TINY))
    loader = pair_loader(method)
    optimizer, seen = torch.optim.AdamW(method.parameters(), 1e-3), []
    for _ in range(6):
        torch.manual_seed(0)
        batch = next(loader.batches(np.random.default_rng(0)))
        loss = torch.stack(
            [value for key, value in method.losses(batch).items() if "loss" in key]
        ).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
    assert seen[-1] < seen[0]
