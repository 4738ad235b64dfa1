"""Where PLACE's queries look: places on the image, and observations of what was read alone."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from backbones.place.attention import Anchors, CrossAttention, ObservationExtractor
from backbones.place.model import PLACE
from backbones.place.settings import PLACESettings
from backbones.shared.pretraining.checkpoint import load_method, save_method
from bench.contracts import BackboneRequest
from bench.core.cards import CARD
from bench.core.checkpoints import WEIGHTS
from bench.core.hashing import file_sha256
from bench.core.settings import before, keyed
from tests.support.methods import build


def test_anchors_fall_off_like_a_gaussian_from_the_places_of_a_grid() -> None:
    anchors = Anchors(6).double()
    nearness = anchors((4, 5)).detach()
    for query in range(6):
        row = (query // 3 + 0.5) / 2
        column = (query % 3 + 0.5) / 3
        for patch in range(20):
            distance = math.hypot((patch // 5 + 0.5) / 4 - row, (patch % 5 + 0.5) / 5 - column)
            expected = -(distance**2) / (2 * (1 / 3) ** 2)
            assert float(nearness[query, patch]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("queries", [1, 2, 5, 16, 32])
def test_every_query_has_a_place_inside_the_image(queries: int) -> None:
    places = Anchors(queries).places
    assert places.shape == (queries, 2)
    assert bool(((places > 0) & (places < 1)).all())
    assert len({tuple(place) for place in places.tolist()}) == queries


@pytest.mark.parametrize("competing", [False, True])
def test_nearness_is_added_to_the_logits(competing: bool) -> None:
    torch.manual_seed(0)
    cross = CrossAttention(8, 2, competing).double().eval()
    queries = torch.randn(1, 3, 8, dtype=torch.float64)
    context = torch.randn(1, 3, 8, dtype=torch.float64)
    only = torch.full((3, 3), -1e9, dtype=torch.float64)
    only[[0, 1, 2], [2, 0, 1]] = 0
    read, maps = cross(queries, context, maps=True, nearness=only)
    assert maps is not None
    assert maps[0].argmax(1).tolist() == [2, 0, 1]
    for query, token in enumerate((2, 0, 1)):
        alone = cross(queries[:, query : query + 1], context[:, token : token + 1])[0]
        assert torch.allclose(read[:, query], alone[:, 0], atol=1e-9)


def test_an_anchored_place_reads_different_places_from_the_start() -> None:
    def mean_cosine(anchored: bool) -> float:
        method = build("place", "resnet", anchored=str(anchored).lower(), queries="16").eval()
        with torch.no_grad():
            maps = method.attention_maps(torch.randn(2, 3, 128, 128))
        assert maps is not None
        flat = torch.nn.functional.normalize(maps.flatten(2), dim=2)
        count = flat.shape[1]
        total = (flat @ flat.transpose(1, 2)).sum((1, 2)) - count
        return float(total.mean()) / (count * (count - 1))

    assert mean_cosine(False) > 0.9
    assert mean_cosine(True) < 0.5


def test_read_only_observations_are_equal_where_the_same_is_read() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(2, 1, 8)  # one token: every query reads it, and nothing else

    def spread(read_only: bool) -> float:
        extractor = ObservationExtractor(8, 16, 4, 2, 4, read_only=read_only).eval()
        return float(extractor(tokens)[0].std(1).max().detach())

    assert spread(True) < 1e-5
    assert spread(False) > 0.1


def test_places_are_learned() -> None:
    method = build("place", "resnet", anchored="true")
    assert isinstance(method, PLACE)
    assert method.anchors is not None
    features = method.image_encoder.features(torch.randn(3, 3, 128, 128))
    observations = method.visual_observations(features)[0]
    (observations * torch.randn_like(observations)).sum().backward()
    for parameter in (method.anchors.places, method.anchors.log_widths):
        assert parameter.grad is not None
        assert bool((parameter.grad != 0).any())


def test_checkpoints_of_before_are_read_as_they_were_trained() -> None:
    of_before = before(PLACESettings())
    assert of_before == {"anchored": False, "read_only": False}
    assert not of_before.keys() & keyed(replace(PLACESettings(), **of_before)).keys()
    assert of_before.keys() <= keyed(PLACESettings()).keys()


def test_a_card_that_knows_no_places_is_of_a_place_without(tmp_path: Path) -> None:
    method = build("place", "resnet", anchored="false", read_only="false")
    save_method(method, tmp_path)
    settings = {
        name: value
        for name, value in asdict(method.settings).items()
        if name not in before(PLACESettings())
    }
    card = {
        "method": "place",
        "architecture": "resnet_demo",
        "settings": settings,
        "text_encoder": method.text_encoder.config(),
        "data": {"name": "squares", "kind": "demo", "train_pairs": 9},
        "weights_sha256": file_sha256(tmp_path / WEIGHTS),
    }
    (tmp_path / CARD).write_text(json.dumps(card))
    loaded = load_method("place", BackboneRequest("demo", checkpoint=tmp_path)).method
    assert isinstance(loaded, PLACE)
    assert loaded.anchors is None
    assert not loaded.visual.read_only
