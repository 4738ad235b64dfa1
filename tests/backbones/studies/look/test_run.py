"""The command on tiny untrained encoders: what it writes, what it says of rendered data, what it
refuses."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from backbones.place.losses import pairwise_cosine
from backbones.place.model import LoadedPLACE
from backbones.shared.pretraining.vision_language import LoadedMethod
from backbones.studies.look import __main__ as command
from backbones.studies.look import reading, run
from backbones.studies.look.lesions import find_lesions
from backbones.studies.look.request import parse
from bench.contracts import DEMO_NOTE, Backbone, Subset
from bench.core.errors import SettingError, UnknownNameError
from bench.core.progress import Silent
from bench.core.registry import discover
from bench.data.annotations import Boxes, BoxRows
from bench.encoding.features import to_input
from tests.support.methods import build

NAMES = ("Nodule/Mass", "Pleural effusion")


@pytest.fixture(autouse=True)
def _declared() -> None:
    discover()


def subset(count: int, seed: int) -> Subset:
    """Noise at 144 px; every other image has a box of one finding or the other, image 0 of both."""
    generator = np.random.default_rng(seed)
    boxes = [
        np.array([[20, 30, 70, 80, row % 4 // 2]] if row % 2 == 0 else np.empty((0, 5)), np.float32)
        for row in range(count)
    ]
    boxes[0] = np.array([[20, 30, 70, 80, 0], [90, 90, 130, 120, 1]], np.float32)
    names = [f"i{row}" for row in range(count)]
    table = pd.DataFrame({"image_id": names, "patient_id": names})
    images = generator.integers(0, 255, (count, 144, 144), dtype=np.uint8)
    return Subset(table, np.arange(count), images, {Boxes: BoxRows(tuple(boxes), NAMES)})


def plan(kind: str) -> Any:
    """What the command reads of a TaskPlan; `kind`: real or demo."""
    index = pd.DataFrame({"split": ["train", "test"]})
    parts = {"train": subset(6, 1), "test": subset(9, 2)}
    return SimpleNamespace(
        task=SimpleNamespace(name="vindr_det", title="Detection"),
        kind=SimpleNamespace(needs="boxes"),
        dataset=SimpleNamespace(name="vindr", box_classes=NAMES),
        root=SimpleNamespace(kind=kind),
        index=index,
        data_hash="0123",
        prepared=SimpleNamespace(subset=lambda rows: parts[rows["split"].iloc[0]]),
    )


def loaded(name: str) -> Backbone:
    kind = LoadedPLACE if name == "place" else LoadedMethod
    return kind(name, build(name).eval())


def looked(
    names: list[str], kind: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, set[str]]:
    """Run the command; return its table and the pictures that were stamped."""
    stamped: set[str] = set()
    monkeypatch.setattr(run, "plan_task", lambda *_: plan(kind))
    monkeypatch.setattr(run, "_load", lambda name, *_: loaded(name))
    monkeypatch.setattr(run, "stamp", lambda path, text: stamped.add(path.name))
    look = parse([*names, "--out", str(out), "--images", "2", "--device", "cpu"])
    return run.run(look, Silent()).read_text(encoding="utf-8"), stamped


def test_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, stamped = looked(["place,convirt", "gloria"], "demo", tmp_path, monkeypatch)
    pictures = {"place_attention.png", "place_cosine.png", "gloria_attention.png", "embedding.png"}
    assert {path.name for path in tmp_path.iterdir()} == pictures | {"pointing.md", "pointing.csv"}
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert DEMO_NOTE in table and stamped == pictures
    assert "`convirt`: no local map." in table and 'asked for by "There is [finding]."' in table
    with (tmp_path / "pointing.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    counts = {row["finding"]: int(row["images"]) for row in rows}
    assert counts == {"Nodule/Mass": 3, "Pleural effusion": 3, "mean of the findings": 5}
    assert {row["method"] for row in rows} == {"chance", "centre prior", "place", "gloria"}


def test_real_data_carry_no_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, stamped = looked(["convirt"], "real", tmp_path, monkeypatch)
    assert DEMO_NOTE not in table and not stamped
    assert ",real," in (tmp_path / "pointing.csv").read_text(encoding="utf-8")


def test_a_reading_has_a_map_per_lesion_and_the_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BATCH", 4)
    test, backbone = subset(9, 2), loaded("place")
    assert isinstance(backbone, LoadedPLACE)
    lesions = find_lesions(subset(6, 1), test, NAMES, backbone.input)
    found = reading.read(
        backbone, test, lesions, ["There is nodule.", "There is effusion."], "cpu", Silent()
    )
    pixels = to_input(test.images(np.arange(9)), backbone.input)
    with torch.no_grad():
        grounded = backbone.grounding(pixels, ["There is nodule.", "There is effusion."])
        expected = float(pairwise_cosine(backbone.observations(pixels)))
    assert found.maps is not None and grounded is not None and found.embeddings.shape == (9, 16)
    np.testing.assert_allclose(
        found.maps, grounded[lesions.rows, lesions.classes].numpy(), atol=1e-5
    )
    cosine = found.cosines["V-PORs"]
    mean = (cosine.sum() - np.trace(cosine)) / (3 * 2)
    assert mean == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(np.diag(found.cosines["maps of V-PORs"]), 1, atol=1e-5)


def test_queries_are_shown_by_their_weight() -> None:
    backbone, test = loaded("place"), subset(4, 3)
    shown = reading.query_maps(backbone, test, 1, "There is nodule.", "cpu")
    weights = [float(title.split(": ")[1]) for title in shown]
    assert (
        len(shown) == 3
        and weights == sorted(weights, reverse=True)
        and sum(weights) == pytest.approx(1, abs=0.02)
    )
    assert reading.query_maps(loaded("gloria"), test, 1, "There is nodule.", "cpu") == {}


def test_the_prompt_and_other_words_for_a_finding() -> None:
    look = parse(["place", "--prompt", "Signs of {}.", "--say", "ILD=interstitial lung disease"])
    assert look.prompts(["ILD", "Nodule/Mass"]) == [
        "Signs of interstitial lung disease.",
        "Signs of nodule or mass.",
    ]
    assert look.request.settings["image_size"] == "144"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["plase"], UnknownNameError, "place"),
        (["place", "--task", "vindr_cls"], SettingError, "vindr_det"),
        (["place", "--prompt", "x"], SettingError, "needs {}"),
        (["place", "--images", "0"], SettingError, "at least 1"),
        (["place", "--checkpoint", "mgca=x"], SettingError, "not among the backbones"),
    ],
)
def test_what_is_refused(arguments: list[str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        parse(arguments)


def test_help_teaches_without_torch() -> None:
    script = (
        "import sys, runpy; sys.argv = ['look', '--help']\n"
        "try: runpy.run_module('backbones.studies.look', run_name='__main__')\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert (
        "pointing.md" in shown
        and "--say" in shown
        and "place gloria mgca convirt" in shown
        and shown.endswith("False\n")
    )


def test_an_error_is_one_sentence_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["look", "place", "--task", "vindr_cls"])
    assert command.main() == 2
    assert capsys.readouterr().err.startswith("look: task 'vindr_cls' has neither boxes nor masks.")
