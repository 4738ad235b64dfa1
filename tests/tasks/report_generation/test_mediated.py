"""Decoder `vlci` as a whole: both switches off is the plain decoder, the search writes what training
reads, dropout has no say in the chosen patches, and odd settings are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.core.errors import SettingError
from tasks.report_generation.decoder import TrainedReporter
from tasks.report_generation.decoders.vlci import VlciSettings
from tasks.report_generation.decoding import SearchOptions, search
from tasks.report_generation.mediated import MediatedReporter
from tasks.report_generation.model import _language_side
from tasks.report_generation.visual import VisualMemory, VisualShape
from tests.tasks.report_generation.conftest import (
    KIND,
    SHORT,
    TASK,
    TINY,
    GridEncoder,
    SeeingEncoder,
    cell,
    run,
    studies,
)

TEXTS = ["there is a left pleural effusion .", "no pleural effusion . the heart is normal ."]
ARMS = [("true", "true"), ("true", "false"), ("false", "true")]


def seeded(**changes: str) -> Any:
    """Return a writer for images of 2 x 3 patches with the weights of one seed, in float64."""
    return seeded_on((2, 3), changes)


def seeded_on(grid: tuple[int, int], changes: dict[str, str]) -> Any:
    """Return a writer for images of a grid of patches, in eval mode."""
    small = {"top_k": "3", **changes} if changes.get("decoder") == "vlci" else changes
    settings = KIND.settings(TASK, "default", "demo", {**TINY, **small})
    torch.manual_seed(3)
    visual = VisualMemory(VisualShape(4, grid, 0, 2), settings)
    return _language_side(visual, TEXTS, settings)[0].double().eval()


def batch(length: int = 6, tokens: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    present = torch.tensor([[True, True], [True, False]])
    patches = torch.randn(2, 2, tokens, 4, generator=generator, dtype=torch.float64)
    ids = torch.randint(4, 14, (2, length), generator=generator)
    return {"patches": patches * present[:, :, None, None], "present": present, "ids": ids}


@pytest.mark.usefixtures("no_java")
def test_both_switches_off_is_the_plain_decoder_bit_for_bit(tmp_path: Path) -> None:
    layers = {"encoder_layers": "2", **SHORT}
    plain = cell(tmp_path / "plain", **layers)
    off = cell(tmp_path / "off", decoder="vlci", vdm="false", ldm="false", **layers)
    encoder = GridEncoder()
    (first, scores), (second, others) = run(plain, encoder), run(off, encoder)
    assert first.table["hypothesis"].tolist() == second.table["hypothesis"].tolist()
    assert scores == others and first.extra["parameters"] == second.extra["parameters"]
    np.testing.assert_array_equal(first.arrays["look:maps"], second.arrays["look:maps"])


def test_both_switches_off_has_weights_and_losses_of_the_plain_decoder_in_training_too() -> None:
    off = {"decoder": "vlci", "vdm": "false", "ldm": "false"}
    layers = {"encoder_layers": "2", "dropout": "0.3"}
    writers = [seeded(**layers).train(), seeded(**layers, **off).train()]
    assert all(type(writer) is TrainedReporter for writer in writers)
    states = [writer.state_dict() for writer in writers]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    losses = []
    for writer in writers:
        torch.manual_seed(7)
        with torch.no_grad():
            losses.append(writer.losses(batch())["loss"])
    assert torch.equal(losses[0], losses[1])


@pytest.mark.parametrize(("vdm", "ldm"), ARMS)
@pytest.mark.parametrize(
    "extra", [{}, {"scale": "true", "norm": "published", "causal_layers": "2"}]
)
@torch.no_grad()
def test_the_search_reads_words_as_training_does(vdm: str, ldm: str, extra: dict[str, str]) -> None:
    """Word by word with what is kept, reordered and dropped, as from the whole beginning."""
    writer = seeded(decoder="vlci", vdm=vdm, ldm=ldm, **extra)
    inputs = batch()
    seen = writer.seen(inputs)
    words = writer._words(inputs["ids"], seen.mediator)
    whole = writer.decoder.read(words, seen.tokens, seen.mask)
    state = writer.start(inputs, 2)
    for place in range(3):
        logits = writer.step(inputs["ids"][:, place].repeat_interleave(2), state)
        state.reorder(torch.tensor([1, 0, 3, 2]))
        torch.testing.assert_close(logits[::2], whole[:, place], rtol=1e-9, atol=1e-9)
    state.keep(torch.tensor([1]))
    for place in range(3, 6):
        logits = writer.step(inputs["ids"][1:, place].repeat_interleave(2), state)
        torch.testing.assert_close(logits[1], whole[1, place], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("vdm", "ldm"), ARMS)
@torch.no_grad()
def test_what_is_written_does_not_depend_on_words_that_come_later(vdm: str, ldm: str) -> None:
    writer = seeded(decoder="vlci", vdm=vdm, ldm=ldm)
    inputs = batch()
    seen = writer.seen(inputs)
    changed = inputs["ids"].clone()
    changed[:, 4:] = 5
    logits = [
        writer.decoder.read(writer._words(ids, seen.mediator), seen.tokens, seen.mask)
        for ids in (inputs["ids"], changed)
    ]
    torch.testing.assert_close(logits[0][:, :4], logits[1][:, :4], rtol=1e-12, atol=1e-12)


def test_dropout_does_not_change_which_patches_are_chosen() -> None:
    writer = seeded(decoder="vlci", dropout="0.5", visual_dropout="0.5", encoder_layers="2")
    inputs = batch()
    quiet = writer.chosen(inputs, *writer._with_first(inputs))
    writer.train()
    frozen = writer.decoder.encoder.layers[0].eval()
    for _ in range(3):
        assert torch.equal(writer.chosen(inputs, *writer._with_first(inputs)), quiet)
    assert writer.training and writer.visual.training and not frozen.training
    with torch.no_grad():
        assert not torch.equal(*(writer.losses(inputs)["loss"] for _ in range(2)))


@torch.no_grad()
def test_the_whole_equals_its_parts_written_out() -> None:
    """h + FD(h, m), normalised; m of the chosen patches and the pooled ones, absent images unread."""
    writer = seeded(decoder="vlci", ldm="false", encoder_layers="2")
    inputs = batch()
    tokens, mask = writer._with_first(inputs)
    h = writer.decoder.encoder.layers[0](tokens, src_key_padding_mask=~mask)
    h = writer.decoder.encoder.layers[1](h, src_key_padding_mask=~mask)
    rows = writer.chosen(inputs, tokens, mask)
    study = 1
    chosen = torch.cat([h[study, :1], h[study, 1:][rows[study]]])[None]
    local = writer.local.layers[0](chosen)[:, 1:]
    whole = writer.whole(h[study : study + 1, 1:7])
    mediator = writer.seen_mediator(local, whole)[0]
    there = h[study, :7]
    through = (mediator @ there.T).softmax(-1) @ there
    changed = there + (there @ mediator.T).softmax(-1) @ through
    wanted = writer.decoder.encoder.norm(changed)
    found = writer.seen(inputs).tokens[study, :7]
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    assert int(rows[study].max()) < 6


def test_no_gradient_reaches_the_vocabulary_of_the_mediator() -> None:
    writer = seeded(decoder="vlci", vdm="false")
    mediator = writer.seen(batch()).mediator
    (gradient,) = torch.autograd.grad(
        mediator.square().sum(), writer.decoder.embedding.weight, allow_unused=True
    )
    assert gradient is None


def test_every_weight_of_the_mediators_is_trained() -> None:
    writer = seeded(decoder="vlci")
    writer.losses(batch())["loss"].backward()
    idle = [name for name, weight in writer.named_parameters() if weight.grad is None]
    assert not idle


@pytest.mark.parametrize(("vdm", "ldm"), [("true", "true")])
@pytest.mark.usefixtures("no_java")
def test_it_learns_what_is_seen(tmp_path: Path, vdm: str, ldm: str) -> None:
    changes = {"decoder": "vlci", "vdm": vdm, "ldm": ldm, "encoder_layers": "1", "top_k": "2"}
    context = cell(tmp_path, **changes, updates="100", beam="2")
    found, scores = run(context, SeeingEncoder(), test=studies(12, 3))
    assert scores["ce_f1_micro"] > 0.9, found.table["hypothesis"].tolist()
    assert found.arrays["look:maps"].shape[2:] == (2, 2, 2)


def test_a_study_of_fewer_images_is_written_as_if_alone() -> None:
    writer = seeded(decoder="vlci")
    assert type(writer) is MediatedReporter
    inputs = batch()
    alone = {name: value[1:] for name, value in inputs.items()}
    options = SearchOptions(beam=2, limit=5)
    assert search(writer, inputs, 2, options)[1] == search(writer, alone, 1, options)[0]


@pytest.mark.parametrize(
    ("changes", "grid", "message"),
    [
        ({"top_k": "7"}, (2, 3), "top_k is 7, and an image has 6 patches"),
        ({"top_k": "1"}, (1, 1), "chooses among patches, and this encoder has one"),
        ({"encoder_layers": "0"}, (2, 3), "encoder_layers is 0 with decoder=vlci"),
    ],
)
def test_what_cannot_be_mediated_names_the_plain_decoder(
    changes: dict[str, str], grid: tuple[int, int], message: str
) -> None:
    with pytest.raises(SettingError, match=message) as refused:
        seeded_on(grid, {"decoder": "vlci", **changes})
    assert "decoder=transformer" in str(refused.value)
    off = {"decoder": "vlci", "vdm": "false", "ldm": "false"}
    assert type(seeded_on(grid, {**off, **changes})) is TrainedReporter


def test_no_encoder_layers_are_refused_before_an_encoder_is_read() -> None:
    with pytest.raises(SettingError, match="encoder_layers is 0 with decoder=vlci"):
        KIND.settings(TASK, "default", "demo", {"decoder": "vlci", "encoder_layers": "0"})


def test_its_encoder_layers_are_the_published_three() -> None:
    assert VlciSettings().encoder_layers == 3 and VlciSettings().top_k == 6
