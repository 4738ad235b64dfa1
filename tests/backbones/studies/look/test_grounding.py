"""Class maps of the methods against loops over words, sentences and queries."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch.nn import functional

from backbones.gloria.model import GLoRIA
from backbones.mgca.model import MGCA
from backbones.place.model import PLACE, LoadedPLACE
from backbones.shared.pretraining.vision_language import (
    GivesQueries,
    LoadedMethod,
    embed,
    project,
)
from bench.contracts import GivesGrounding
from tests.support.methods import build

TEXTS = ["There is a small pleural effusion.", "Nodule seen. No pneumothorax is seen."]


def images() -> torch.Tensor:
    return torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(5))


def made(name: str, **changes: str) -> Any:
    return build(name, **changes).eval()


@pytest.mark.parametrize("t_por", ["sentence", "query"])
@torch.no_grad()
def test_place_sums_the_maps_of_its_queries(t_por: str) -> None:
    method = cast(PLACE, made("place", t_por=t_por))
    loaded = LoadedPLACE("place", method)
    assert isinstance(loaded, GivesGrounding) and isinstance(loaded, GivesQueries)
    weights, maps = loaded.query_weights(images(), TEXTS), loaded.attention_maps(images())
    text = method.encode_text(TEXTS)
    states, observed = method.text_states(text)[0], loaded.observations(images())
    textual = method.textual_observations(states, text)
    for b in range(2):
        for t in range(2):
            if t_por == "sentence":
                own = textual[t][text.sentence_mask[t]]
                expected = torch.stack(
                    [(observed[b] @ u / method.settings.tau2).softmax(0) for u in own]
                ).mean(0)
            else:
                expected = ((observed[b] * textual[t]).sum(1) / method.settings.tau2).softmax(0)
            torch.testing.assert_close(weights[b, t], expected)
    grounded = loaded.grounding(images(), TEXTS)
    assert grounded is not None
    torch.testing.assert_close(grounded, torch.einsum("btk,bkhw->bthw", weights, maps))
    torch.testing.assert_close(grounded.sum((2, 3)), torch.ones(2, 2))
    assert int(text.sentence_mask[1].sum()) == 2


@pytest.mark.parametrize("name", ["gloria", "mgca"])
@torch.no_grad()
def test_gloria_and_mgca_average_the_cosines_of_words(name: str) -> None:
    method = made(name)
    text, features = method.encode_text(TEXTS), method.image_encoder.features(images())
    if isinstance(method, GLoRIA):
        states, mask, _ = method.words(text)
        words, shares = embed(method.word_head, states, mask), mask.float()
        patches = embed(method.region_head, features.patches)
    else:
        report = cast(MGCA, method).report(text)
        words, shares = project(method.word_head, report.words, report.mask), report.weights
        patches = project(method.patch_head, features.patches)
    found = LoadedMethod(name, method).grounding(images(), TEXTS)
    assert found is not None and found.shape == (2, 2, 8, 8)
    for b in range(2):
        for t in range(2):
            cosines = functional.cosine_similarity(words[t][:, None], patches[b][None], dim=2)
            expected = (shares[t, :, None] * cosines).sum(0) / shares[t].sum()
            torch.testing.assert_close(found[b, t].flatten(), expected)


@torch.no_grad()
def test_a_method_without_a_local_part_has_no_map() -> None:
    assert LoadedMethod("convirt", made("convirt")).grounding(images(), TEXTS) is None


@torch.no_grad()
def test_maps_keep_rows_and_columns_apart() -> None:
    method = made("gloria")
    still = torch.zeros(1, 3, 128, 128)
    changed = still.clone()
    changed[:, :, 96:, :32] = 5
    maps = [LoadedMethod("gloria", method).grounding(each, TEXTS) for each in (still, changed)]
    assert maps[0] is not None and maps[1] is not None
    row, column = divmod(int((maps[0] - maps[1])[0].abs().sum(0).argmax()), 8)
    assert row >= 4 > column
