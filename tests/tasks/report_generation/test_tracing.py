"""Decoder `dtrace`: losses as transcribed from the published code, what the traceback trains, that
no report is read at inference, and odd settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bench.core.errors import SettingError
from bench.core.hashing import flatten
from bench.text.observations import OBSERVATIONS
from tasks.report_generation.decoders.dtrace import DtraceSettings
from tasks.report_generation.decoding import SearchOptions, search
from tasks.report_generation.model import _language_side
from tasks.report_generation.tracing import (
    kept_count,
    label_loss,
    random_share,
    soft_labels,
    weighted_mean,
)
from tasks.report_generation.visual import VisualMemory, VisualShape
from tests.tasks.report_generation.conftest import KIND, TASK, TINY, GridEncoder, cell, run, studies

FOLDER = Path(__file__).parents[2] / "parity" / "dtrace"
TEXTS = ["there is a left pleural effusion .", "no pleural effusion . the heart is normal ."]
SMALL = {"decoder": "dtrace", "encoder_layers": "1", "text_layers": "1"}
PLAIN = {"image_mask": "0", "text_keep": "0", "tfidf": "0", "labels": "0"}


def settings(**changes: str) -> Any:
    return KIND.settings(TASK, "default", "demo", {**TINY, **SMALL, **changes})


def seeded(chosen: Any, *, learn: bool = True) -> Any:
    """Return a writer with the weights of one seed, in float64."""
    torch.manual_seed(3)
    visual = VisualMemory(VisualShape(4, (2, 3), 0, 2), chosen)
    writer = _language_side(visual, TEXTS, chosen)[0].double()
    if learn and chosen.decoder == "dtrace":
        writer.learn(TEXTS)
    return writer


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    present = torch.tensor([[True, True], [True, False]])
    patches = torch.randn(2, 2, 6, 4, generator=generator, dtype=torch.float64)
    ids = torch.tensor([[1, 5, 6, 7, 9, 2], [1, 8, 10, 2, 0, 0]])
    return {
        "patches": patches * present[:, :, None, None],
        "present": present,
        "ids": ids,
        "labels": torch.from_numpy(soft_labels(TEXTS)).double(),
    }


# -------------------------------------------------------------------------------------- transcribed
def test_word_and_label_losses_are_the_transcribed_ones() -> None:
    case = torch.load(FOLDER / "losses.pt", weights_only=True)
    hidden = case["h"]
    scores = case["log_probabilities"].clone().requires_grad_()
    losses = -scores.gather(2, case["ids"][:, :, None])[:, :, 0]
    targets = case["ids"].masked_fill(case["word_mask"] == 0, -100)
    report = (1 - hidden) * functional.cross_entropy(scores.flatten(0, 1), targets.flatten())
    rare = (1 - hidden) * weighted_mean(losses, case["tf_idf"] * case["word_mask"])
    (gradient,) = torch.autograd.grad(report + rare, scores)
    labels = (case["labels"] + 1) / 2
    every = torch.ones(labels.shape[1], dtype=torch.bool)
    image, text = (
        label_loss(case[f"{name}_probabilities"].logit(), labels, every)
        for name in ("image", "text")
    )
    wanted = case["losses"]
    found = {
        "report": report.detach(),
        "word_importance": rare.detach(),
        "image_classification": (1 - hidden) * image,
        "report_classification": hidden * text,
    }
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-9, atol=0)
    torch.testing.assert_close(gradient, case["grad_log_probabilities"], rtol=1e-9, atol=1e-12)


def test_so_many_positions_stay_as_transcribed() -> None:
    case = json.loads((FOLDER / "kept_lengths.json").read_text())
    for length, removed, count in case["rows"]:
        assert kept_count(length, 1 - removed) == count, (length, removed)


def test_a_share_is_drawn_among_what_is_there() -> None:
    present = torch.tensor([[True] * 10, [True] * 4 + [False] * 6])
    torch.manual_seed(0)
    drawn = [random_share(present, 0.5) for _ in range(20)]
    assert all(each.sum(1).tolist() == [5, 2] and not (each & ~present).any() for each in drawn)
    assert len({tuple(each[0].tolist()) for each in drawn}) > 10
    assert random_share(present, 0.0).sum(1).tolist() == [1, 1]


def test_a_rare_word_counts_by_its_frequency_and_rarity() -> None:
    writer = seeded(settings()).eval()
    ids = batch()["ids"][:1]
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 5, len(writer.vocabulary), generator=generator, dtype=torch.float64)
    losses = -logits.log_softmax(-1)[0, torch.arange(5), ids[0, 1:]]
    vocabulary = writer.vocabulary
    have = [sum(word in text.split() for text in TEXTS) for word in vocabulary.pieces([5, 6, 7, 9])]
    weights = torch.tensor([*(2 / count for count in have), 1.0], dtype=torch.float64).log() / 5
    wanted = (losses * weights).sum() / weights.sum()
    torch.testing.assert_close(writer.rare_loss(logits, ids), wanted, rtol=1e-6, atol=1e-9)


# ------------------------------------------------------------------------------------ the traceback
def traced_gradients(traceback: str) -> list[Tensor]:
    """Return the gradients of the traceback term on every weight of the writer."""
    writer = seeded(settings(traceback=traceback, image_mask="0.3", text_keep="0")).train()
    writer.losses(batch())
    terms = writer.losses(batch())
    weights = list(writer.parameters())
    anything = sum(weight.sum() for weight in weights)
    gradients = torch.autograd.grad(terms["traceback_loss"] + 0.0 * anything, weights)
    return [*gradients]


def test_the_published_traceback_trains_nothing() -> None:
    assert all(not gradient.any() for gradient in traced_gradients("argmax"))


def test_the_soft_traceback_trains_the_decoder_and_leaves_the_reader_frozen() -> None:
    writer = seeded(settings())
    names = [name for name, _ in writer.named_parameters()]
    gradients = dict(zip(names, traced_gradients("soft"), strict=True))
    assert gradients["decoder.out.weight"].abs().max() > 0
    assert gradients["decoder.layers.0.own.query.weight"].abs().max() > 0
    assert gradients["visual.patches.1.weight"].abs().max() > 0
    read = [name for name in names if name.startswith(("text.", "embedding."))]
    assert read and not any(gradients[name].any() for name in read)


def test_the_traceback_comes_every_other_batch_and_counts_anew_in_an_epoch() -> None:
    writer = seeded(settings(traceback="soft")).train()
    told = ["traceback_loss" in writer.losses(batch()) for _ in range(4)]
    assert told == [False, True, False, True]
    writer.losses(batch())
    writer.start_epoch(1)
    assert "traceback_loss" not in writer.losses(batch())


# ---------------------------------------------------------------------------------------- the whole
def test_inference_never_sees_a_report() -> None:
    writer = seeded(settings(traceback="soft")).eval()
    inputs = batch()
    options = SearchOptions(beam=2, limit=6)
    other = {**inputs, "ids": inputs["ids"].flip(0), "labels": 1 - inputs["labels"]}
    assert search(writer, inputs, 2, options) == search(writer, other, 2, options)
    with torch.no_grad():
        without = {name: inputs[name] for name in ("patches", "present")}
        assert search(writer, without, 2, options) == search(writer, inputs, 2, options)
        writer.text.head.weight.fill_(float("nan"))
        writer.embedding.weight.fill_(float("nan"))
        assert search(writer, without, 2, options) == search(writer, inputs, 2, options)


@pytest.mark.usefixtures("no_java")
def test_with_all_off_it_is_the_plain_decoder_with_joint_layers(tmp_path: Path) -> None:
    short = {"epochs": "1", "updates": "4", "encoder_layers": "1", "dropout": "0.1"}
    encoder = GridEncoder()
    plain, _ = run(cell(tmp_path / "plain", **short), encoder)
    off, _ = run(cell(tmp_path / "off", **{**SMALL, **PLAIN, **short}), encoder)
    assert plain.table["hypothesis"].tolist() == off.table["hypothesis"].tolist()
    assert plain.extra["best_metric"] == off.extra["best_metric"]


def test_terms_are_weighed_by_what_is_hidden() -> None:
    """The image is whole: its terms count in full, and the words cost what they cost the plain
    decoder; labels of the report count by what is hidden."""
    writer = seeded(settings(image_mask="0", text_keep="0")).train()
    terms = {name: float(value.detach()) for name, value in writer.losses(batch()).items()}
    plain = seeded(KIND.settings(TASK, "default", "demo", {**TINY, "encoder_layers": "1"}))
    assert terms["loss"] == float(plain.losses(batch())["loss"].detach())
    assert terms["report_label_loss"] == 0 < terms["image_label_loss"]
    hidden = seeded(settings(image_mask="0.25", text_keep="0")).train()
    share = {name: float(value.detach()) for name, value in hidden.losses(batch()).items()}
    assert share["report_label_loss"] > 0 and share["loss"] != terms["loss"]


def test_epochs_follow_the_ranges_and_the_last_goes_on() -> None:
    usual = DtraceSettings()
    assert [usual.hidden(epoch, 0.5) for epoch in (0, 1, 2, 9)] == pytest.approx(
        [0.8, 0.5, 0.075, 0.075]
    )
    assert [usual.kept(epoch, 1.0) for epoch in (0, 1, 2)] == pytest.approx([0.85, 1.0, 0.15])


@pytest.mark.usefixtures("no_java")
def test_it_learns_what_is_seen(tmp_path: Path) -> None:
    changes = {**SMALL, "traceback": "soft", "epochs": "4", "updates": "140", "beam": "2"}
    schedule = {"image_mask": "0.25,0", "text_keep": "0.5,0"}
    found, scores = run(cell(tmp_path, **changes, **schedule), test=studies(12, 3))
    assert scores["ce_f1_micro"] > 0.9, found.table["hypothesis"].tolist()


# ---------------------------------------------------------------------------------------- odd input
def test_labels_of_one_class_are_left_out_and_named() -> None:
    writer = seeded(settings())
    (remark,) = writer.learn(TEXTS)
    learnt = [name for name, told in zip(OBSERVATIONS, writer.learnt.tolist(), strict=True) if told]
    assert "Pleural Effusion" in learnt and "Pneumothorax" not in learnt
    assert "one class only" in remark and "Pneumothorax" in remark
    assert "Pleural Effusion" not in remark
    alike = seeded(settings(traceback="soft")).train()
    alike.learn(TEXTS[:1] * 2)
    terms = [alike.losses(batch()) for _ in range(2)][1]
    assert set(terms) == {"loss", "tfidf_loss"} and all(
        value.isfinite() for value in terms.values()
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_mask": "0.5-1.5"}, "'image_mask' has the range '0.5-1.5'"),
        ({"text_keep": "0.8-0.2"}, "'text_keep' has the range '0.8-0.2'"),
        ({"text_keep": "0-1,much"}, "'text_keep' has the range 'much'"),
        ({"image_mask": "nan"}, "'image_mask' has the range 'nan'"),
        ({"traceback": "hard"}, "'traceback' is 'hard'"),
        ({"traceback": "soft", "labels": "0"}, "traceback is soft and labels is 0"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        settings(**changes)


def test_its_settings_are_keyed() -> None:
    usual = flatten(settings())
    assert flatten(settings(traceback="soft")) == {**usual, "traceback": "soft"}
    with pytest.raises(SettingError, match="'traceback' is one of decoder=dtrace"):
        KIND.settings(TASK, "default", "demo", {"traceback": "soft"})
