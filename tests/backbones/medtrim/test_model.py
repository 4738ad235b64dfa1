"""MedTrim as a method: which triplets a batch has, every switch, and what a batch without one
gives."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from backbones.medtrim.losses import Views, triplet_losses
from backbones.medtrim.model import MedTrim
from backbones.medtrim.settings import MedTrimSettings
from backbones.shared.alignment.kernels import symmetric_info_nce
from backbones.shared.pretraining.declare import method_settings
from backbones.shared.pretraining.pairs import PairLoader, encode_reports
from backbones.shared.pretraining.vision_language import text_batch
from bench.core.errors import SettingError
from bench.text.attributes import WEIGHTS, attribute_similarity
from tests.support.methods import build
from tests.support.pairs import TINY, make_subset

REPORTS = [
    "Small left pleural effusion. No pneumothorax.",
    "There is a large left effusion.",
    "Right pneumothorax and small effusion.",
    "NO PLEURAL EFFUSION. LARGE RIGHT PNEUMOTHORAX.",
    "Normal.",
    "",
]


def medtrim(**changes: str) -> MedTrim:
    method = build("medtrim", **{**TINY, **changes})
    assert isinstance(method, MedTrim)
    return method.eval()


def test_its_weights_are_those_of_the_similarity() -> None:
    """The settings are read without numpy, which the similarity needs."""
    assert MedTrimSettings().weights == WEIGHTS


def batch_of(method: MedTrim, reports: list[str]) -> dict[str, Any]:
    text = method.encode_text(reports)
    images = torch.randn(len(reports), 3, 128, 128, generator=torch.manual_seed(1))
    return {
        "images": images,
        "image_ids": [str(n) for n in range(len(reports))],
        "reports": reports,
        "ids": text.ids,
        "mask": text.mask,
        "sentence": text.sentence,
        "keys": text.keys,
    }


def views_of(method: MedTrim, batch: dict[str, Any]) -> Views:
    images = method.embed_features(method.image_encoder.features(batch["images"]))
    return Views(images, method.text_states(text_batch(batch))[1])


def test_losses_are_those_of_the_triplets_among_the_reports_of_the_batch() -> None:
    method = medtrim()
    batch = batch_of(method, REPORTS)
    losses = method.losses(batch)
    views = views_of(method, batch)
    triplets = method.mine(method.attributes(REPORTS))
    # The two normal studies are alike (.85), and all others are their negatives.
    assert dict(zip(triplets.anchors.tolist(), triplets.positives.tolist(), strict=True)) == {
        0: 1, 1: 0, 2: 0, 3: 2, 4: 5, 5: 4,
    }  # fmt: skip
    roles = [
        views.take(torch.from_numpy(rows))
        for rows in (triplets.anchors, triplets.positives, triplets.negatives)
    ]
    image, text = triplet_losses(roles[0], roles[1], roles[2], margin=0.3)
    torch.testing.assert_close(losses["loss_image"], image)
    torch.testing.assert_close(losses["loss_text"], text)
    assert losses["anchors_used"].item() == 1
    assert set(losses) == {"loss_image", "loss_text", "anchors_used"}


def test_anchors_without_a_triplet_are_left_out_and_their_share_is_told() -> None:
    method = medtrim()
    reports = ["Effusion.", "Small effusion.", "Fracture.", "Edema."]
    triplets = method.mine(method.attributes(reports))
    assert triplets.anchors.tolist() == [0, 1]
    assert method.losses(batch_of(method, reports))["anchors_used"].item() == 0.5


MANY = "effusion , nodule , edema , fracture and pneumonia seen ."
SWITCHED = [
    "small left effusion seen .",
    "large left effusion seen .",
    "small right effusion seen .",
    "there is a nodule with small left effusion .",
    "no effusion seen . nodule seen .",
    "edema seen .",
    MANY,
]


@pytest.mark.parametrize(
    ("changes", "reports"),
    [
        ({"margin": "0.9"}, SWITCHED),
        ({"own_pair": "true"}, SWITCHED),
        ({"upper": "0.95"}, [*SWITCHED[:3], "edema seen ."]),
        ({"lower": "0.05"}, [*SWITCHED[:2], SWITCHED[3], MANY]),
        ({"weights": "0.5,0.1,0.4"}, SWITCHED),
        ({"entities": "published"}, SWITCHED),
        ({"infonce": "0.5"}, SWITCHED),
    ],
)
def test_every_switch_changes_the_loss_and_trains(
    changes: dict[str, str], reports: list[str]
) -> None:
    batch = batch_of(medtrim(), reports)
    totals = [
        torch.stack([v for k, v in medtrim(**each).losses(batch).items() if "loss" in k]).sum()
        for each in ({}, changes)
    ]
    assert not torch.equal(*totals)
    totals[1].backward()


def test_infonce_is_beside_the_triplets() -> None:
    method = medtrim(infonce="0.5")
    batch = batch_of(method, REPORTS)
    views = views_of(method, batch)
    expected = 0.5 * symmetric_info_nce(views.images, views.texts, tau=method.settings.tau1)
    torch.testing.assert_close(method.losses(batch)["loss_ita"], expected)


@pytest.mark.parametrize("report", ["Normal.", "Small left effusion."])
def test_a_batch_of_like_studies_has_loss_0_and_warns_with_their_number(
    report: str, caplog: pytest.LogCaptureFixture
) -> None:
    method = medtrim()
    with caplog.at_level(logging.WARNING):
        losses = method.losses(batch_of(method, [report] * 4))
        method.losses(batch_of(method, [report] * 4))
    (record,) = caplog.records
    assert "none of the 4 studies" in record.getMessage()
    assert losses["loss_image"].item() == losses["loss_text"].item() == 0
    assert losses["anchors_used"].item() == 0
    (losses["loss_image"] + losses["loss_text"]).backward()
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    assert gradients and all(not bool(gradient.any()) for gradient in gradients)
    method.start_epoch(1)
    with caplog.at_level(logging.WARNING):
        method.losses(batch_of(method, [report] * 4))
    assert len(caplog.records) == 2


def test_a_report_without_a_sentence_is_a_normal_study() -> None:
    method = medtrim()
    empty, normal = (method.attributes([text]) for text in ("", "The lungs are clear."))
    assert attribute_similarity(empty, normal) == 0.85


def loader_of(method: MedTrim, studies: int) -> PairLoader:
    subset, spec = make_subset(studies, 144, 1), method.image_encoder.architecture.input
    encoded = encode_reports(subset.index["report"].tolist(), method.vocabulary, method.settings)
    return PairLoader(subset, encoded, method.vocabulary, spec, 8, arrange=method.arrange)


def test_a_pool_gives_batches_more_triplets_than_chance_does() -> None:
    used = {}
    for pool in ("none", "64"):
        method = medtrim(pool=pool, weights="1,0,0", upper="0.3", lower="0.2")
        batches = list(loader_of(method, 64).batches(np.random.default_rng(0)))
        assert len(batches) == 8
        mined = [len(method.mine(method.attributes(batch["reports"]))) for batch in batches]
        used[pool] = sum(mined)
    assert used["64"] > used["none"]


def test_a_pool_no_larger_than_the_batch_is_the_batch() -> None:
    orders = []
    for pool in ("none", "8", "2"):
        batches = loader_of(medtrim(pool=pool), 16).batches(np.random.default_rng(0))
        orders.append([batch["image_ids"] for batch in batches])
    assert orders[0] == orders[1] == orders[2]


def test_the_profile_of_the_paper_mines_in_a_pool_and_the_demo_in_its_batch() -> None:
    assert method_settings("medtrim", "paper").pool == 512  # type: ignore[attr-defined]
    assert method_settings("medtrim", "demo").pool is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lower": "0.7"}, "lower=0.7 is not below upper=0.6"),
        ({"weights": "0,1,1"}, "findings count nothing"),
        ({"weights": "1,1"}, "weights"),
        ({"margin": "3"}, "margin"),
        ({"entities": "theirs"}, "entities"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        method_settings("medtrim", "demo", changes)
