"""The registry of decoders: those of the project write as before, and one in a file is declared,
run, keyed and refused like them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.commands.listing import rows
from bench.core.errors import PlaceBenchError, SettingError, UnknownNameError
from bench.core.hashing import flatten
from tasks.report_generation.decoders import DECODERS, Decoder, decoder
from tasks.report_generation.model import _language_side
from tasks.report_generation.settings import ReportSettings
from tasks.report_generation.visual import VisualMemory, VisualShape
from tests.support.plugins import loaded
from tests.tasks.report_generation.conftest import (
    KIND,
    SHORT,
    TASK,
    TINY,
    GridEncoder,
    cell,
    language_model,
    run,
    studies,
)

FILE = Path(__file__).parents[3] / "docs" / "examples" / "decoder.py"
TEXTS = ["there is a left pleural effusion .", "no pleural effusion . the heart is normal ."]
IDS = [[1, 5, 6, 7, 2], [1, 9, 8, 2, 0]]


def settings(protocol: str = "default", **changes: str) -> ReportSettings:
    resolved: ReportSettings = KIND.settings(TASK, protocol, "demo", {**TINY, **changes})
    return resolved


def seeded(chosen: ReportSettings) -> Any:
    """Return a writer with the weights of one seed."""
    torch.manual_seed(3)
    visual = VisualMemory(VisualShape(4, (2, 2), 0, 2), chosen)
    return _language_side(visual, TEXTS, chosen)[0].eval()


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    patches = torch.randn(2, 2, 4, 4, generator=generator)
    present = torch.tensor([[True, True], [True, False]])
    return {"patches": patches, "present": present, "ids": torch.tensor(IDS)}


# ----------------------------------------------------------------------------------- as they were
@pytest.mark.parametrize(
    ("protocol", "changes", "loss", "weights"),
    [
        ("default", {}, 2.7698066234588623, 1221.0647842094372),
        (
            "default",
            {"encoder_layers": "1", "layers": "2"},
            2.8125500679016113,
            2953.4967564928215,
        ),
        ("r2gen", {"encoder_layers": "1"}, 2.5180232524871826, 7398.862226767103),
        ("default", {"decoder": "causal_lm"}, 2.485607147216797, 653.138755100867),
    ],
)
def test_seeded_decoders_are_those_of_before_the_registry(
    protocol: str, changes: dict[str, str], loss: float, weights: float, tmp_path: Path
) -> None:
    """Loss and weights were taken from the code that chose decoders by a chain of conditions."""
    if changes.get("decoder") == "causal_lm":
        changes = {**changes, "causal_lm": str(language_model(tmp_path / "lm"))}
    model = seeded(settings(protocol, **changes))
    total = sum(float(value.double().abs().sum()) for value in model.state_dict().values())
    with torch.no_grad():
        assert float(model.losses(batch())["loss"]) == pytest.approx(loss, rel=1e-5)
    assert total == pytest.approx(weights, rel=1e-6)


def test_settings_that_moved_to_their_decoder_stand_in_keys_as_before() -> None:
    usual = flatten(settings())
    moved = {"causal_lm": "", "causal_lm_trained": False, "memory_slots": 3}
    assert moved.items() <= usual.items()
    r2gen = flatten(settings("r2gen"))
    assert moved.items() <= r2gen.items() and usual.keys() == r2gen.keys()
    assert flatten(settings("r2gen", memory_slots="4")) == {**r2gen, "memory_slots": 4}


@pytest.mark.parametrize(
    "changes",
    [
        {"decoder": "vlci", "encoder_layers": "1", "top_k": "2"},
        {"decoder": "dtrace", "encoder_layers": "1", "text_layers": "1", "traceback": "soft"},
    ],
)
def test_an_encoder_is_trained_with_the_newer_decoders_too(
    changes: dict[str, str], tmp_path: Path
) -> None:
    encoder = GridEncoder()
    before = encoder.module.weight.clone()
    context = cell(tmp_path, encoder="finetune", dropout="0.1", **SHORT, **changes)
    fitted = KIND.fit(encoder, studies(16, 1), studies(8, 2), context)
    trained = fitted.writer.model.visual.encoder.weight
    assert torch.equal(encoder.module.weight, before) and not torch.equal(trained, before)


# ------------------------------------------------------------------------------------- in one file
@pytest.fixture
def gru() -> Iterator[None]:
    """Load the example of the how-to page, as `--plugin` does."""
    with loaded(FILE):
        yield


@pytest.mark.usefixtures("gru", "no_java")
def test_a_decoder_in_one_file_learns_what_is_seen(tmp_path: Path) -> None:
    context = cell(tmp_path, decoder="gru", units="32", updates="60", tokenizer="cleaned")
    found, scores = run(context, test=studies(12, 3))
    assert scores["ce_f1_micro"] > 0.9, found.table["hypothesis"].tolist()


@pytest.mark.usefixtures("gru")
def test_its_settings_are_checked_and_keyed() -> None:
    usual = flatten(settings(decoder="gru"))
    assert usual == {**flatten(settings()), "decoder": "gru", "units": 256}
    assert flatten(settings(decoder="gru", units="8")) == {**usual, "units": 8}
    with pytest.raises(SettingError, match="'units' is 0"):
        settings(decoder="gru", units="0")


@pytest.mark.usefixtures("gru")
def test_its_search_keeps_hypotheses_apart() -> None:
    """Beams of one study that wrote the same words have the same scores, whatever else is there."""
    model = seeded(settings(decoder="gru"))
    with torch.no_grad():
        state = model.start(batch(), 2)
        model.step(torch.tensor([5, 6, 7, 8]), state)
        state.reorder(torch.tensor([1, 1, 2, 3]))
        scores = model.step(torch.tensor([9, 9, 9, 9]), state)
        assert torch.equal(scores[0], scores[1]) and not torch.equal(scores[2], scores[3])
        state.keep(torch.tensor([1]))
        assert state.units.shape[0] == 2


# -------------------------------------------------------------------------------------- named, refused
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory_slots": "4"}, "'memory_slots' is one of decoder=r2gen, and decoder is transf"),
        (
            {"decoder": "r2gen", "causal_lm": "x"},
            "'causal_lm' is one of decoder=causal_lm, and decoder is r2gen",
        ),
    ],
)
def test_a_setting_of_another_decoder_is_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        settings(**changes)


def test_the_decoder_of_a_protocol_has_its_settings_and_may_be_another() -> None:
    assert type(settings("r2gen")).__name__ == "R2GenSettings"
    other = settings("r2gen", decoder="transformer")
    assert type(other) is ReportSettings and other.words_read == other.max_words
    with pytest.raises(SettingError, match="'memory_slots' is one of decoder=r2gen"):
        settings("r2gen", decoder="transformer", memory_slots="4")


def test_an_unknown_decoder_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown decoder 'r2gem'.*Did you mean r2gen"):
        settings(decoder="r2gem")


def test_a_wrong_declaration_is_refused_where_it_is_made() -> None:
    wrong: Any = "build"
    with pytest.raises(PlaceBenchError, match="decoder 'mine': build is 'build'"):
        decoder("mine", title="mine")(wrong)
    no_settings: Any = dict
    with pytest.raises(PlaceBenchError, match="derives from ReportSettings"):
        decoder("mine", no_settings, title="mine")(print)
    no_decoder: Any = print
    with pytest.raises(PlaceBenchError, match=r"Write @decoder\(name, settings, title\)"):
        DECODERS.add("mine", no_decoder)
    assert "mine" not in DECODERS


def test_a_decoder_that_builds_no_writer_and_settings_of_another_are_named() -> None:
    DECODERS.add("mine", Decoder("mine", lambda *_: torch.nn.Linear(1, 1)))
    try:
        with pytest.raises(SettingError, match="decoder 'mine' builds Linear"):
            seeded(settings(decoder="mine"))
    finally:
        del DECODERS._items["mine"]


def test_decoders_are_listed_with_the_settings_that_only_they_have() -> None:
    listed = {row["name"]: row for row in rows("choices") if row["setting"] == "decoder"}
    assert set(listed) == set(DECODERS.names())
    assert listed["transformer"]["settings"] == []
    assert listed["causal_lm"]["settings"] == ["causal_lm", "causal_lm_trained"]
    assert all(row["kind"] == "report_generation" and row["title"] for row in listed.values())
